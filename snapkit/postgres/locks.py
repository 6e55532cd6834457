"""One run at a time for each source: a session-level advisory lock, on the very connection that runs the DDL.

The server finishes a CREATE DATABASE whose client has died, and holds the lock until it has.
https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from sqlalchemy import ColumnElement, Connection, and_, func, select
from sqlalchemy.exc import DBAPIError

from snapkit.errors import BusyError
from snapkit.postgres.catalog import (
    SESSION_COLUMNS,
    pg_database,
    pg_locks,
    pg_stat_activity,
)
from snapkit.postgres.errors import LOCK_NOT_AVAILABLE, is_connection_loss, sqlstate_of
from snapkit.postgres.execution import limit_lock_wait
from snapkit.postgres.server import LOCK_TIMEOUT


def lock_key(source: str) -> int:
    """Return the 64-bit key of a source's lock."""
    return int.from_bytes(hashlib.sha256(b"snapkit:" + source.encode()).digest()[:8], "big", signed=True)


@contextmanager
def source_lock(connection: Connection, source: str, wait: timedelta) -> Iterator[None]:
    """Hold the source's lock; wait for it at most ``wait``, then raise BusyError naming who has it."""
    key = lock_key(source)
    if not _acquire(connection, key, wait):
        raise BusyError(
            f"Another snapkit run is at work on {source!r}{_holder(connection, key)}.",
            state="Nothing was changed.",
            hint="Wait for it to end and run the command again, or wait longer with --lock-wait 5m.",
        )
    try:
        yield
    finally:
        _release(connection, key)


def _acquire(connection: Connection, key: int, wait: timedelta) -> bool:
    if wait <= timedelta(0):
        return bool(connection.execute(select(func.pg_try_advisory_lock(key))).scalar_one())
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
    """Release the lock; a connection that is gone has released it already."""
    if connection.invalidated or connection.closed:
        return
    try:
        connection.execute(select(func.pg_advisory_unlock(key)))
    except DBAPIError as error:
        if not is_connection_loss(error):
            raise


def end_lost_session(connection: Connection, source: str, pid: int) -> None:
    """End the session ``pid`` of ours, whose connection was lost, if it still has the source's lock.

    The server may not have heard of the loss, and would let it hold the lock until its keepalive notices.
    """
    connection.execute(
        select(func.pg_terminate_backend(pg_locks.c.pid)).where(_is_held(lock_key(source)), pg_locks.c.pid == pid)
    ).all()


def _is_held(key: int) -> ColumnElement[bool]:
    """Whether a row of pg_locks is this lock of ours, granted; the locks of each database are its own."""
    here = select(pg_database.c.oid).where(pg_database.c.datname == func.current_database()).scalar_subquery()
    unsigned = key % 2**64
    return and_(
        pg_locks.c.locktype == "advisory",
        pg_locks.c.classid == unsigned >> 32,
        pg_locks.c.objid == unsigned & 0xFFFFFFFF,
        pg_locks.c.objsubid == 1,
        pg_locks.c.granted,
        pg_locks.c.database == here,
    )


def _holder(connection: Connection, key: int) -> str:
    """Say in a few words which session has the lock; an empty text if it has just gone."""
    row = connection.execute(
        select(*SESSION_COLUMNS)
        .join_from(pg_locks, pg_stat_activity, pg_locks.c.pid == pg_stat_activity.c.pid)
        .where(_is_held(key))
    ).first()
    if row is None:
        return ""
    pid, user, application, client, _, since = row
    where = f" from {client}" if client else ""
    started = f", since {since:%Y-%m-%d %H:%M:%S %Z}" if since else ""
    return f" (server process {pid}, user {user}, {application or 'no application name'}{where}{started})"
