"""One run at a time for each source: a session-level advisory lock, on the very connection that runs the DDL.

If the client dies during CREATE DATABASE, its session holds the lock until it ends. That takes a second on Linux, where
the server checks for its client. Elsewhere it ends when the clone is complete.
https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select, true
from sqlalchemy.exc import DBAPIError

from snapkit.core.client_session import ClientSession
from snapkit.core.utc import utc_text
from snapkit.errors import NOTHING_CHANGED, BusyError
from snapkit.postgres.catalog.sessions import SESSION_COLUMNS, may_terminate
from snapkit.postgres.catalog.tables import pg_database, pg_locks, pg_stat_activity
from snapkit.postgres.connection.safe_settings import LOCK_TIMEOUT
from snapkit.postgres.connection.sqlstates import LOCK_NOT_AVAILABLE, SERVER_ERRORS, sqlstate_of
from snapkit.postgres.sql.execution import limit_lock_wait
from snapkit.processes.deadline import Deadline

FORGOTTEN = timedelta(seconds=10)
"""A run that is alive never leaves its working connection idle for so long."""

_LOOK_AGAIN = timedelta(seconds=2)


def lock_key(source: str) -> int:
    """Return the 64-bit key of a source's lock."""
    return int.from_bytes(hashlib.sha256(b"snapkit:" + source.encode()).digest()[:8], "big", signed=True)


@contextmanager
def source_lock(
    connection: Connection, source: str, wait: timedelta, announce: Callable[[str], None] = lambda holder: None
) -> Iterator[tuple[ClientSession, ...]]:
    """Hold the source's lock. Yield the abandoned sessions of ours that had to be ended for it.

    Waits at most ``wait``, and calls ``announce`` with whom it waits for. Then raises BusyError, which names the
    holder.
    """
    key = lock_key(source)
    ended: dict[int, ClientSession] = {}
    deadline = Deadline(wait)
    acquired = bool(connection.execute(select(func.pg_try_advisory_lock(key))).scalar_one())
    while not acquired:
        ended |= {session.pid: session for session in _end_forgotten(connection, key)}
        holder = holder_of(connection, key)
        if deadline.is_over:
            raise BusyError(
                f"Another run of snapkit is working on {source!r}{holder}.",
                state=NOTHING_CHANGED,
                hint="Wait for it to end and run the command again, or wait longer with --lock-wait 5m.",
            )
        announce(f"Waiting for another run of snapkit on {source}{holder}")
        acquired = _acquire(connection, key, min(timedelta(seconds=deadline.left), _LOOK_AGAIN))
    try:
        yield tuple(ended.values())
    finally:
        _release(connection, key)


def _acquire(connection: Connection, key: int, wait: timedelta) -> bool:
    limit_lock_wait(connection, wait)
    try:
        connection.execute(select(func.pg_advisory_lock(key)))
    except DBAPIError as error:
        if sqlstate_of(error) != LOCK_NOT_AVAILABLE:
            raise
        return False
    finally:
        if not connection.invalidated and not connection.closed:
            limit_lock_wait(connection, LOCK_TIMEOUT)
    return True


def _release(connection: Connection, key: int) -> None:
    """Release the lock. A connection that is gone has released it already."""
    if connection.invalidated or connection.closed:
        return
    with suppress(*SERVER_ERRORS):  # else it is released when the connection is closed, which is next
        connection.execute(select(func.pg_advisory_unlock(key)))


def _end_forgotten(connection: Connection, key: int) -> list[ClientSession]:
    """End the sessions that hold the lock and have been idle too long: their run is dead.

    The server itself ends them a little later: see idle_session_timeout in ``safe_settings``.
    """
    idle_for = func.clock_timestamp() - pg_stat_activity.c.state_change
    rows = connection.execute(
        select(*SESSION_COLUMNS, may_terminate(), func.pg_terminate_backend(pg_stat_activity.c.pid))
        .join_from(pg_locks, pg_stat_activity, pg_locks.c.pid == pg_stat_activity.c.pid)
        .where(_is_held(key), _is_here(), pg_stat_activity.c.state.like("idle%"), idle_for > FORGOTTEN, may_terminate())
    )
    return [ClientSession(*row[:-1]) for row in rows]


def others_at_work(connection: Connection, source: str, besides: int | None = None) -> bool:
    """Whether another session has the source's lock, in any maintenance database: a run that may be making a clone.

    ``besides`` is the session of this very run that has the lock. It does not count.
    """
    return others_hold(connection, lock_key(source), besides=besides)


def others_hold(connection: Connection, *keys: int, besides: int | None = None) -> bool:
    """Whether another session than ``besides`` has one of these advisory locks, in any database."""
    own = (func.pg_backend_pid(), *(() if besides is None else (besides,)))
    held = select(true()).where(or_(*map(_is_held, keys)), pg_locks.c.pid.not_in(own)).limit(1)
    return connection.execute(held).first() is not None


def end_lost_session(connection: Connection, source: str, pid: int) -> None:
    """End the session ``pid`` of ours, whose connection was lost, if it still has the source's lock.

    The server may not know of the loss. It would keep the lock until TCP keepalives notice.
    """
    end_holder_of(connection, lock_key(source), pid)


def end_holder_of(connection: Connection, key: int, pid: int) -> None:
    """End the session ``pid`` of this database, if it has this advisory lock."""
    connection.execute(
        select(func.pg_terminate_backend(pg_locks.c.pid)).where(_is_held(key), _is_here(), pg_locks.c.pid == pid)
    ).all()


def _is_held(key: int) -> ColumnElement[bool]:
    """Whether a row of pg_locks is this lock of ours, granted, in any database."""
    unsigned = key % 2**64
    return and_(
        pg_locks.c.locktype == "advisory",
        pg_locks.c.classid == unsigned >> 32,
        pg_locks.c.objid == unsigned & 0xFFFFFFFF,
        pg_locks.c.objsubid == 1,
        pg_locks.c.granted,
    )


def _is_here() -> ColumnElement[bool]:
    """Whether a row of pg_locks belongs to this database. Each database has advisory locks of its own."""
    here = select(pg_database.c.oid).where(pg_database.c.datname == func.current_database()).scalar_subquery()
    return pg_locks.c.database == here


def holder_of(connection: Connection, key: int, *, anywhere: bool = False) -> str:
    """Say in a few words which session has the lock; an empty text if it has just been released.

    With ``anywhere`` sessions in other maintenance databases count too.
    """
    row = connection.execute(
        select(*SESSION_COLUMNS, may_terminate())
        .join_from(pg_locks, pg_stat_activity, pg_locks.c.pid == pg_stat_activity.c.pid)
        .where(_is_held(key), true() if anywhere else _is_here())
    ).first()
    if row is None:
        return ""
    session = ClientSession(*row)
    where = "" if session.client else ", from the server's own machine"
    started = f", since {utc_text(session.backend_start)} UTC" if session.backend_start else ""
    return f" ({session.describe()}{where}{started})"
