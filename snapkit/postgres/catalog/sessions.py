"""Who is connected to which database, and what they wait for; and prepared transactions."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Text,
    and_,
    bindparam,
    column,
    exists,
    func,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY, OID

from snapkit.core.client_session import ClientSession
from snapkit.core.outage.workers import Worker
from snapkit.postgres.catalog.roles import is_superuser
from snapkit.postgres.catalog.tables import (
    PG_DATABASE_OID,
    catalog_table,
    pg_locks,
    pg_prepared_xacts,
    pg_roles,
    pg_stat_activity,
)


def may_terminate() -> ColumnElement[bool]:
    """Whether this role may end the session, as pg_signal_backend() in PostgreSQL's source decides it.

    https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-ADMIN-SIGNAL
    """
    target = pg_roles.alias("target")
    target_is_superuser = select(target.c.rolsuper).where(target.c.oid == pg_stat_activity.c.usesysid).scalar_subquery()
    return or_(
        is_superuser(),
        and_(
            func.coalesce(target_is_superuser, False).is_(False),
            or_(
                func.pg_has_role(pg_stat_activity.c.usesysid, "USAGE"),
                func.pg_has_role("pg_signal_backend", "USAGE"),
            ),
        ),
    )


SESSION_COLUMNS = (
    pg_stat_activity.c.pid,
    pg_stat_activity.c.usename,
    pg_stat_activity.c.application_name,
    func.host(pg_stat_activity.c.client_addr, type_=Text),
    pg_stat_activity.c.state,
    pg_stat_activity.c.state_change,
    pg_stat_activity.c.backend_start,
)


def is_inside(oids: Collection[int]) -> ColumnElement[bool]:
    """Sessions inside these databases, except this one and autovacuum workers, which PostgreSQL ends by itself.

    An autovacuum worker is known by having no user: a role may not see the type of other roles' sessions.
    """
    return and_(
        pg_stat_activity.c.datid == func.any(bindparam("oids", list(oids), ARRAY(OID))),
        pg_stat_activity.c.pid != func.pg_backend_pid(),
        pg_stat_activity.c.usesysid.is_not(None),
    )


def sessions_inside(connection: Connection, oids: Collection[int]) -> list[ClientSession]:
    """Return the sessions inside these databases."""
    rows = connection.execute(
        select(*SESSION_COLUMNS, may_terminate()).where(is_inside(oids)).order_by(pg_stat_activity.c.pid)
    )
    return [ClientSession(*row) for row in rows]


def wait_event(connection: Connection, pid: int) -> str | None:
    """Return what a session of this role waits for at this moment; None while it works.

    https://www.postgresql.org/docs/current/monitoring-stats.html#WAIT-EVENT-TABLE
    """
    event: str | None = connection.execute(
        select(pg_stat_activity.c.wait_event).where(pg_stat_activity.c.pid == pid)
    ).scalar_one_or_none()
    return event


def blockers(connection: Connection, pid: int) -> list[ClientSession]:
    """Return the sessions that hold a lock for which the session ``pid`` waits."""
    blocking = func.pg_blocking_pids(pid, type_=ARRAY(Integer))
    rows = connection.execute(
        select(*SESSION_COLUMNS, may_terminate()).where(pg_stat_activity.c.pid == func.any(blocking))
    )
    return [ClientSession(*row) for row in rows]


def waits_for_its_client(connection: Connection, pid: int) -> bool:
    """Whether the session ``pid`` of this role has answered its last statement, or is gone."""
    idle = func.coalesce(pg_stat_activity.c.state.like("idle%"), False)
    found = connection.execute(select(idle).where(pg_stat_activity.c.pid == pid)).scalar_one_or_none()
    return found is not False


def is_vacuumed(connection: Connection, oid: int) -> bool:
    """Whether an autovacuum worker is inside a database, or another process of the server that has no user."""
    here = and_(pg_stat_activity.c.datid == oid, pg_stat_activity.c.usesysid.is_(None))
    return bool(connection.execute(select(exists().where(here))).scalar_one())


def sessions_entering(connection: Connection, oid: int) -> list[int]:
    """Return the process IDs of the sessions that are starting up in a database.

    pg_stat_activity does not show them yet. A session that starts up locks the database, checks its name and whether it
    may connect, appears in pg_stat_activity, and only then releases the lock (InitPostgres in PostgreSQL's source). So
    a session that is not found here, and afterwards not among the sessions inside either, does not get in any
    more. No statement takes a lock of this mode on a database. A weaker lock can be held by every role for as long as
    it likes (``ALTER ROLE CURRENT_USER IN DATABASE``).
    """
    return list(
        connection.execute(
            select(pg_locks.c.pid)
            .where(
                pg_locks.c.locktype == "object",
                pg_locks.c.classid == PG_DATABASE_OID,
                pg_locks.c.objid == oid,
                pg_locks.c.mode == "RowExclusiveLock",
            )
            .order_by(pg_locks.c.pid)
        ).scalars()
    )


def prepared_transactions(connection: Connection, databases: Collection[str]) -> Mapping[str, list[str]]:
    """Return the identifiers of the prepared transactions by database. They block a clone and a rename."""
    rows = connection.execute(
        select(pg_prepared_xacts.c.database, pg_prepared_xacts.c.gid).where(pg_prepared_xacts.c.database.in_(databases))
    )
    found: dict[str, list[str]] = {}
    for database, gid in rows:
        found.setdefault(database, []).append(gid)
    return found


def is_there(connection: Connection, pid: int) -> bool:
    """Whether a session with this process ID still exists."""
    return bool(connection.execute(select(exists().where(pg_stat_activity.c.pid == pid))).scalar_one())


def keep_awake(connection: Connection) -> None:
    """Send a query, so that the server does not end this session for being idle."""
    connection.execute(select(true()))


_activity_by_kind = catalog_table(
    "pg_stat_activity", column("pid", Integer), column("datid", OID), column("backend_type", Text)
)


_NO_BACKGROUND_WORKERS = ("client backend", "autovacuum worker", "parallel worker", "walsender")


def background_workers(connection: Connection, oid: int) -> tuple[Worker, ...]:
    """Return the background workers inside a database, as far as the role may see the sessions' types."""
    activity = _activity_by_kind
    rows = connection.execute(
        select(activity.c.pid, activity.c.backend_type)
        .where(activity.c.datid == oid, activity.c.backend_type.not_in(_NO_BACKGROUND_WORKERS))
        .order_by(activity.c.pid)
    )
    return tuple(Worker(*row) for row in rows)
