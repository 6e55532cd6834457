"""Read the properties of a database as of one moment, though they are in several shared catalogs.

Each query has its own snapshot of the catalogs. So the versions of the rows are read before and after, and everything
is read again if they differ.
https://www.postgresql.org/docs/current/ddl-system-columns.html
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import (
    ColumnClause,
    ColumnElement,
    Connection,
    ScalarSelect,
    TableClause,
    Text,
    bindparam,
    column,
    func,
    literal,
    select,
    true,
    union,
)
from sqlalchemy.dialects.postgresql import ARRAY, OID, aggregate_order_by

from snapkit.core.copying.moment import Moment, Versions
from snapkit.core.plans.identity import LOOK_AGAIN
from snapkit.errors import BusyError
from snapkit.postgres.catalog import databases
from snapkit.postgres.catalog.tables import PG_DATABASE_OID, catalog_table, pg_db_role_setting, pg_roles

_ATTEMPTS = 10


def _with_version(name: str, *columns: ColumnClause[Any]) -> TableClause:
    return catalog_table(name, *columns, column("ctid"), column("xmin"))


_database = _with_version("pg_database", column("oid", OID), column("datdba", OID), column("datacl"))
_setting = _with_version("pg_db_role_setting", column("setdatabase", OID))
_comment = _with_version("pg_shdescription", column("objoid", OID), column("classoid", OID))
_label = _with_version("pg_shseclabel", column("objoid", OID), column("classoid", OID))


def read_moment(connection: Connection, oid: int, state: str) -> Moment | None:
    """Return the properties of a database at one moment; None if it is gone.

    Raises BusyError, with ``state``, if it changes so often that it cannot be read.
    """
    name = ""
    for _ in range(_ATTEMPTS):
        before, roles = versions_of(connection, oid), _roles_of(connection, oid)
        database = databases.database_of(connection, oid)
        if before is None or database is None:
            return None
        name = database.name
        comment, properties = databases.comment_of(connection, oid), databases.read_properties(connection, oid)
        if (before, roles) == (versions_of(connection, oid), _roles_of(connection, oid)):
            return Moment(database, comment, properties, before, roles)
    raise BusyError(f"Somebody changes {name!r} again and again.", state=state, hint=LOOK_AGAIN)


def versions_of(connection: Connection, oid: int) -> Versions | None:
    """Return the versions of a database's rows, by one query; None if it is gone."""
    row = connection.execute(
        select(
            _version(_database),
            _versions(_setting, _setting.c.setdatabase == oid),
            _versions(_comment, _comment.c.objoid == oid, _comment.c.classoid == PG_DATABASE_OID),
            _versions(_label, _label.c.objoid == oid, _label.c.classoid == PG_DATABASE_OID),
        ).where(_database.c.oid == oid)
    ).one_or_none()
    return None if row is None else Versions(*row)


def _version(rows: TableClause) -> ColumnElement[str]:
    return func.concat(rows.c.xmin, rows.c.ctid, type_=Text)


def _versions(rows: TableClause, *conditions: ColumnElement[bool]) -> ScalarSelect[Any]:
    in_order = aggregate_order_by(literal(" "), rows.c.ctid)
    return select(func.string_agg(_version(rows), in_order, type_=Text)).where(*conditions).scalar_subquery()


def _roles_of(connection: Connection, oid: int) -> Mapping[str, int]:
    """Return the OIDs of the roles that a database's properties name, by name."""
    item = (
        func.aclexplode(_database.c.datacl).table_valued(column("grantor", OID), column("grantee", OID)).lateral("item")
    )
    items = select(_database).where(_database.c.oid == oid).join_from(_database, item, true())
    named = union(
        select(_database.c.datdba).where(_database.c.oid == oid),
        items.with_only_columns(item.c.grantor),
        items.with_only_columns(item.c.grantee),
        select(pg_db_role_setting.c.setrole).where(pg_db_role_setting.c.setdatabase == oid),
    )
    rows = connection.execute(select(pg_roles.c.rolname, pg_roles.c.oid).where(pg_roles.c.oid.in_(named)))
    return {row.rolname: row.oid for row in rows}


def names_of_roles(connection: Connection, oids: Collection[int]) -> Mapping[int, str]:
    """Return the present names of roles by OID, without roles that are gone."""
    wanted = bindparam("oids", sorted(oids), ARRAY(OID))
    rows = connection.execute(select(pg_roles.c.oid, pg_roles.c.rolname).where(pg_roles.c.oid == func.any(wanted)))
    return {row.oid: row.rolname for row in rows}
