"""While the command of a guard runs, a lock keeps its backup from being dropped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta

from snapkit.core.inventory.entry import Entry
from snapkit.core.reporting import Caution, Observe
from snapkit.core.values import dataclass
from snapkit.errors import NOTHING_CHANGED, BusyError
from snapkit.postgres.catalog import databases
from snapkit.postgres.connection.server import Connection, Server
from snapkit.postgres.connection.spare_sessions import Reserve
from snapkit.postgres.connection.sqlstates import SERVER_ERRORS, server_errors
from snapkit.postgres.sql.entry_locks import Use, is_taken, release_entry, take_entry, user_of
from snapkit.services.entries.seal import check_not_read
from snapkit.services.run.interruption import interruptions
from snapkit.services.run.retry import Persistence


def check_no_guard_lock(connection: Connection, entry: Entry) -> None:
    """Raise BusyError if a guard may have to roll back to this entry."""
    if is_taken(connection, entry.database.oid, Use.GUARD):
        raise _held_by_a_guard(connection, entry)


def _held_by_a_guard(connection: Connection, entry: Entry) -> BusyError:
    return BusyError(
        f"{entry.name!r} is the backup that a running snapkit guard rolls back "
        f"to{user_of(connection, entry.database.oid, Use.GUARD)}.",
        state=NOTHING_CHANGED,
        hint="Wait for that guard to end, and run the command again.",
    )


@contextmanager
def to_be_dropped(connection: Connection, entry: Entry) -> Iterator[None]:
    """Hold the guard's lock while an entry is dropped, so that no guard takes it; raise BusyError if one has it.

    Raise it also if commands are reading the entry.
    """
    oid = entry.database.oid
    if not take_entry(connection, oid, Use.GUARD, nor=(Use.READ,)):
        check_not_read(connection, entry)
        raise _held_by_a_guard(connection, entry)
    try:
        yield
    finally:
        with suppress(*SERVER_ERRORS):  # it goes with the connection
            release_entry(connection, oid, Use.GUARD)


@contextmanager
def guard_lock(server: Server, entry: Entry) -> Iterator[Reserve]:
    """Keep other runs from dropping an entry until the block ends; the lock of its source is held when it begins.

    The lock belongs to a session. If that session is lost, as in a restart of the server, the lock is taken again
    within seconds. The session is the first of the reserve that is yielded. Raises BusyError if the entry is gone.
    """
    oid = entry.database.oid

    def claim(session: Connection) -> None:
        with server_errors(NOTHING_CHANGED):
            if not take_entry(session, oid, Use.GUARD) or databases.name_of(session, oid) != entry.name:
                raise BusyError(f"Somebody has dropped {entry.name!r}.")

    def let_go(session: Connection) -> None:  # closing alone would let go of it a moment later
        release_entry(session, oid, Use.GUARD)

    with server.in_reserve(claim, let_go) as reserve:
        yield reserve


_NEEDED = 2
"""Sessions that a rollback takes at one time: one does it, another sends clients out."""


_READY_WITHIN = timedelta(seconds=10)
"""How long it is tried to have these before the command is run: a slot that the backup took may not be free yet."""


def keep_from_others(server: Server, entry: Entry, until: ExitStack) -> Kept:
    """Keep other runs from dropping the backup until the stack is closed; the lock of its source is held.

    If snapkit works from template1, this is not done, and a warning says so: a session there would block every CREATE
    DATABASE. Raises SnapkitError if it fails.
    """
    with interruptions(f"The backup {entry.name!r} is complete; the command was not run."):
        if server.works_from_template:
            return Kept(
                None,
                Caution(
                    "not_kept",
                    "While the command runs, other runs may drop the backup, and no session is kept ready for a "
                    "rollback, because snapkit works from the database 'template1', where no session may stay. "
                    "Name another database with --maintenance-db.",
                ),
            )
        return Kept(until.enter_context(guard_lock(server, entry)))


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept ready for the rollback of a guard: sessions, one of which holds the lock."""

    reserve: Reserve | None
    caution: Caution | None = None

    def make_ready(self, observe: Observe) -> None:
        """Open all sessions that the rollback needs, before the command is run; raises SnapkitError."""
        reserve = self.reserve
        if reserve is not None:
            Persistence(_READY_WITHIN).through(lambda: reserve.fill(_NEEDED), "for the sessions of a rollback", observe)

    def let_go(self) -> None:
        """Let others drop the backup again."""
        if self.reserve is not None:
            self.reserve.unclaim()
