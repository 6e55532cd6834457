"""What cannot be dropped because an entry depends on it: roles and tablespaces.

PostgreSQL does not drop a role that owns anything, or was granted anything, in any database of the server. It does not
drop a tablespace in which any database has files. https://www.postgresql.org/docs/current/catalog-pg-shdepend.html
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, bindparam, column, exists, func, not_, or_, select, true
from sqlalchemy.dialects.postgresql import ARRAY, OID

from snapkit.core.server.dependents import Dependents
from snapkit.postgres.catalog.tables import PG_DATABASE_OID, catalog_table, pg_roles, pg_tablespace

_depends = catalog_table(
    "pg_shdepend",
    column("dbid", OID),
    column("classid", OID),
    column("objid", OID),
    column("refclassid", OID),
    column("refobjid", OID),
)
_PG_AUTHID, _PG_AUTH_MEMBERS = 1260, 1261


def kept_by_entries_alone(connection: Connection, entries: Collection[int]) -> Dependents:
    """Return the roles and tablespaces that only these databases need, given their OIDs.

    A migration that drops a role's other objects, and then the role, fails because of these databases.
    """
    ours = bindparam("ours", list(entries), ARRAY(OID))
    roles = connection.execute(
        select(pg_roles.c.rolname)
        .where(_role_is_needed(_is_of(ours)), not_(_role_is_needed(not_(_is_of(ours)))))
        .order_by(pg_roles.c.rolname)
    ).scalars()
    using = func.pg_tablespace_databases(pg_tablespace.c.oid).table_valued(column("oid", OID), name="using")
    spaces = connection.execute(
        select(pg_tablespace.c.spcname)
        .where(
            pg_tablespace.c.spcname.not_in(("pg_default", "pg_global")),
            exists(select(true()).select_from(using).where(using.c.oid == func.any(ours))),
            not_(exists(select(true()).select_from(using).where(using.c.oid != func.all(ours)))),
        )
        .order_by(pg_tablespace.c.spcname)
    ).scalars()
    return Dependents(tuple(roles), tuple(spaces))


def _role_is_needed(by: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists(
        select(true())
        .select_from(_depends)
        .where(
            _depends.c.refclassid == _PG_AUTHID,
            _depends.c.refobjid == pg_roles.c.oid,
            _depends.c.classid != _PG_AUTH_MEMBERS,  # DROP ROLE drops memberships too
            by,
        )
    )


def _is_of(ours: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether the dependent object is one of the databases, or is in one of them."""
    itself = and_(_depends.c.dbid == 0, _depends.c.classid == PG_DATABASE_OID, _depends.c.objid == func.any(ours))
    return or_(_depends.c.dbid == func.any(ours), itself)
