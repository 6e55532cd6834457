"""What the connected role may do."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Boolean, ColumnElement, Connection, Text, column, false, func, or_, select

from snapkit.core.checks.preconditions import RoleRights
from snapkit.core.server.version import grants_parameters, grants_set_role_apart
from snapkit.postgres.catalog.tables import catalog_table, pg_roles
from snapkit.postgres.connection.driver import server_version

current_role = func.current_user(type_=Text)


def is_superuser() -> ColumnElement[bool]:
    me = pg_roles.alias("me")
    return select(me.c.rolsuper).where(me.c.rolname == current_role).scalar_subquery()


def may_set(connection: Connection, parameters: Collection[str]) -> bool:
    """Whether the role may set all of these parameters for its own session, as a superuser or by GRANT SET too."""
    context = catalog_table("pg_settings", column("name", Text), column("context", Text))
    version = server_version(connection)
    granted: ColumnElement[bool] = (
        func.has_parameter_privilege(context.c.name, "SET", type_=Boolean) if grants_parameters(version) else false()
    )
    allowed = or_(is_superuser(), context.c.context.in_(("user", "backend")), granted)
    number = select(func.count()).where(context.c.name.in_(parameters), allowed)
    return int(connection.execute(number).scalar_one()) == len(parameters)


def role_rights(connection: Connection, owner: str) -> RoleRights:
    """Return whether the role has CREATEDB, and whether it may give a new database to ``owner``.

    For that it must be able to SET ROLE to the owner. From PostgreSQL 16 on, that is granted apart from membership.

    https://www.postgresql.org/docs/current/sql-createdatabase.html, .../sql-grant.html
    """
    version = server_version(connection)
    may_create = or_(pg_roles.c.rolsuper, pg_roles.c.rolcreatedb)
    may_act = func.pg_has_role(owner, "SET" if grants_set_role_apart(version) else "MEMBER")
    row = connection.execute(
        select(pg_roles.c.rolname, pg_roles.c.rolinherit, may_create, may_act).where(pg_roles.c.rolname == current_role)
    ).one()
    return RoleRights(*row)


def sees_sessions(connection: Connection) -> bool:
    """Whether this role sees the type of other roles' sessions in pg_stat_activity."""
    return bool(connection.execute(select(func.pg_has_role("pg_read_all_stats", "USAGE"))).scalar_one())
