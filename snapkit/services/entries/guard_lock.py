"""A guard keeps its backup from being dropped while its command runs, by a lock of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from snapkit.core.inventory.entry import Entry
from snapkit.errors import NOTHING_CHANGED, BusyError
from snapkit.postgres.catalog import databases
from snapkit.postgres.connection.server import Connection, Server
from snapkit.postgres.connection.spare_sessions import Reserve
from snapkit.postgres.connection.sqlstates import SERVER_ERRORS, server_errors
from snapkit.postgres.sql.entry_locks import Use, is_taken, release_entry, take_entry, user_of


def check_no_guard_lock(connection: Connection, entry: Entry) -> None:
    """Raise BusyError if a guard would roll back to an entry at this moment."""
    if is_taken(connection, entry.database.oid, Use.WAY_BACK):
        raise _held_by_a_guard(connection, entry)


def _held_by_a_guard(connection: Connection, entry: Entry) -> BusyError:
    return BusyError(
        f"{entry.name!r} is what a snapkit guard rolls back to{user_of(connection, entry.database.oid, Use.WAY_BACK)}.",
        state=NOTHING_CHANGED,
        hint="Wait for that guard to end, and run the command again.",
    )


@contextmanager
def to_be_dropped(connection: Connection, entry: Entry) -> Iterator[None]:
    """Keep guards away from an entry that is dropped in the block; raise BusyError if one would roll back to it."""
    oid = entry.database.oid
    if not take_entry(connection, oid, Use.WAY_BACK):
        raise _held_by_a_guard(connection, entry)
    try:
        yield
    finally:
        with suppress(*SERVER_ERRORS):  # it goes with the connection
            release_entry(connection, oid, Use.WAY_BACK)


@contextmanager
def guard_lock(server: Server, entry: Entry) -> Iterator[Reserve]:
    """Keep other runs from dropping an entry until the block ends. Its source's lock is held when it begins.

    It is the lock of a session, which goes with it: should the server be restarted meanwhile, it is taken again within
    seconds. That session is the first of a reserve, which is yielded. Raises BusyError if the entry is gone.
    """
    oid = entry.database.oid

    def claim(session: Connection) -> None:
        with server_errors(NOTHING_CHANGED):
            if not take_entry(session, oid, Use.WAY_BACK) or databases.name_of(session, oid) != entry.name:
                raise BusyError(f"{entry.name!r} has been dropped by somebody else.")

    def let_go(session: Connection) -> None:  # closing alone would let go of it a moment later
        release_entry(session, oid, Use.WAY_BACK)

    with server.in_reserve(claim, let_go) as reserve:
        yield reserve
