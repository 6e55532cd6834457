"""Compare what a plan assumes with what is there, inside the transaction that acts.

The comparison is sound if nobody else can change what is compared before our transaction ends. On PostgreSQL 14 to 18,
for every role:

- ``GRANT`` and ``ALTER DATABASE``, with any options or with none (``FreezeDatabase``), write the row of pg_database.
  Then nobody else can change name, owner, access list, flags and limit.
- ``COMMENT`` takes ShareUpdateExclusiveLock on the database. Then nobody else can change its name and comment.
- ``RENAME`` takes AccessExclusiveLock, and writes the row. Then nobody else can change any of these, nor the settings.

So a transaction first freezes the databases that it names, then compares, and only then does what cannot be rolled
back; or it does what can be rolled back, compares, and commits. A transaction does not see the rows that it has written
over. Another session sees them, as they were committed last.
https://www.postgresql.org/docs/current/explicit-locking.html
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import ColumnElement, Connection, Text, and_, bindparam, func, select
from sqlalchemy.dialects.postgresql import ARRAY, OID

from snapkit.core.plans.identity import EVERYTHING, ROLLED_BACK, Facts, check_facts_found, check_names_found
from snapkit.postgres.catalog.databases import access
from snapkit.postgres.catalog.tables import PG_DATABASE_OID, pg_database, pg_roles, pg_shdescription
from snapkit.postgres.connection.server import beside


def check_names(asked: Connection, names: Mapping[int, str], state: str = ROLLED_BACK) -> None:
    """Raise BusyError unless each database has the expected name, by OID.

    The session ``asked`` is the one that sees its own renames. ``state`` is what the error says of the databases.
    """
    rows = asked.execute(select(pg_database.c.oid, pg_database.c.datname).where(_is_one_of(names)))
    check_names_found(names, {row.oid: row.datname for row in rows}, state)


def check_overwritten(
    ddl: Connection, assumed: Mapping[int, Facts], state: str = ROLLED_BACK, only: Collection[str] = EVERYTHING
) -> None:
    """Raise unless the rows that the transaction of ``ddl`` has written over were as ``assumed``, by OID.

    Another session is asked. BusyError if a name belongs to another database, AlteredMeanwhileError if it is the same
    database, but was altered. ``only`` says which facts count besides the name.
    """
    with beside(ddl) as another:
        check_facts_found(assumed, read_facts(another, assumed), state, only)


def read_facts(asked: Connection, oids: Collection[int]) -> Mapping[int, Facts]:
    """Return the facts of databases by OID, as the session ``asked`` sees them, without those that are gone."""
    rows = asked.execute(
        select(
            pg_database.c.oid,
            pg_database.c.datname,
            func.coalesce(pg_roles.c.rolname, "", type_=Text),
            pg_database.c.datallowconn,
            pg_database.c.datconnlimit,
            pg_database.c.datistemplate,
            pg_shdescription.c.description,
            access(),
        )
        .outerjoin_from(pg_database, pg_roles, pg_roles.c.oid == pg_database.c.datdba)
        .outerjoin(pg_shdescription, _is_its_comment())
        .where(_is_one_of(oids))
    )
    return {oid: Facts(*facts) for oid, *facts in rows}


def _is_its_comment() -> ColumnElement[bool]:
    return and_(pg_shdescription.c.objoid == pg_database.c.oid, pg_shdescription.c.classoid == PG_DATABASE_OID)


def _is_one_of(oids: Collection[int]) -> ColumnElement[bool]:
    return pg_database.c.oid == func.any(bindparam("oids", list(oids), ARRAY(OID)))
