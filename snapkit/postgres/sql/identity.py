"""Hold what a plan takes for granted against what is there, inside the transaction that acts.

A comparison is sound once nobody else can change what is compared before our transaction ends. On PostgreSQL 14 to 18,
for whatever role:

- ``ALTER DATABASE`` with whatever options, or with none (``FreezeDatabase``), and ``GRANT``, write the row of
  pg_database: name, owner, access list, flags and limit are frozen.
- ``COMMENT`` takes ShareUpdateExclusiveLock on the database: its name and its comment are frozen.
- ``RENAME`` takes AccessExclusiveLock, and writes the row: all of these are frozen, and the settings too.

So a transaction freezes what it names, asks here, and only then does what it could do to another database; or it does
all that can be rolled back, asks, and commits. What it has itself written it no longer sees as it was: another session
does, for which the rows are those that were committed last.
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
    """Raise BusyError unless each database, by OID, has its name for the session ``asked``, which sees its own renames.

    ``state`` is what the error says of the databases.
    """
    rows = asked.execute(select(pg_database.c.oid, pg_database.c.datname).where(_is_one_of(names)))
    check_names_found(names, {row.oid: row.datname for row in rows}, state)


def check_overwritten(
    ddl: Connection, assumed: Mapping[int, Facts], state: str = ROLLED_BACK, only: Collection[str] = EVERYTHING
) -> None:
    """Raise unless what the transaction of ``ddl`` has written over was as it is ``assumed``, by OID.

    A session beside it is asked. BusyError where a name belongs to another database, AlteredMeanwhileError where it is
    the same, but was altered; ``only`` says which facts count besides the name.
    """
    with beside(ddl) as another:
        check_facts_found(assumed, read_facts(another, assumed), state, only)


def read_facts(asked: Connection, oids: Collection[int]) -> Mapping[int, Facts]:
    """Return what databases, by OID, are for the session ``asked``; those that are gone are left out."""
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
