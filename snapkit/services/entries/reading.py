"""Open entries for a command that only reads them, and gives way to a rollback, an undo or a guard that needs one.

Such an entry is open to its owner alone, read-only, as in a shell. Several commands may read one entry: the first opens
it, and the last seals it. Nobody waits for them: who rolls back seals the entry, which ends their sessions inside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from datetime import timedelta
from threading import Lock
from typing import NoReturn

from snapkit.core.inventory import metadata as comments
from snapkit.core.inventory.database import Unsealed
from snapkit.core.inventory.entry import Entry
from snapkit.core.reporting import Caution, Observe, unobserved
from snapkit.core.server.replication import at_work_while_open
from snapkit.errors import NOTHING_CHANGED, BusyError, ConnectionFailedError, SnapkitError
from snapkit.postgres.catalog import databases
from snapkit.postgres.catalog.replication import replication_of
from snapkit.postgres.connection.driver import answers_within
from snapkit.postgres.connection.safe_settings import READING, set_settings
from snapkit.postgres.connection.server import Connection, Server
from snapkit.postgres.connection.sqlstates import SERVER_ERRORS, is_connection_loss, server_errors
from snapkit.postgres.sql.entry_locks import has_readers, join_readers, stay_idle, take_entry
from snapkit.postgres.sql.locks import holder_of, lock_key
from snapkit.processes.deadline import wait_until
from snapkit.services.entries.opening import (
    OpenedByUs,
    check_openable,
    noted_before_opening,
    open_entry,
    opened_by_us,
    seal_again,
)
from snapkit.services.entries.seal import (
    as_it_is_now,
    as_sealed,
    check_no_shell,
    open_elsewhere,
    released_afterwards,
    seal,
    sealed_caution,
)
from snapkit.services.run.interruption import InterruptionState, interruptions
from snapkit.services.run.preconditions import check_rights
from snapkit.services.run.source_lock import locked
from snapkit.services.run.survey import ServerState, altered_cautions, chosen, gather, need_live

_LEAVES_SOON = timedelta(seconds=10)
"""How long a command that ends its reading may take to seal the entry."""


class Reading:
    """Entries that are open to be read, until the block of ``reading_entries`` ends.

    ``state`` is what was on the server when they were opened, ``entries`` are the wanted ones in their order, as they
    are while sealed. ``cautions`` are what is to be said of the opening, and once it is over also of the sealing.
    """

    def __init__(self, server: Server, state: ServerState, keeper: Connection) -> None:
        self.server = server
        self.state = state
        self.entries: tuple[Entry, ...] = ()
        self.cautions: list[Caution] = []
        self._keeper = keeper
        self._opened: dict[int, OpenedByUs] = {}
        self._turn = Lock()

    @contextmanager
    def enter(self, entry: Entry) -> Iterator[Connection]:
        """Open a session inside one of the entries, as often as you like, from any thread.

        The session has the safe settings. Its transactions are read-only, a table with row-level security that holds
        for the role is an error, and statements may take as long as they need. Raises BusyError if the entry was taken.
        """
        with self._inside(entry.name, entry.database.oid) as connection:
            yield connection

    @contextmanager
    def enter_live(self) -> Iterator[Connection]:
        """Open a session inside the live database, as ``enter`` does; raise NotFoundError if there is none."""
        live = need_live(self.state, self.server.source)
        with self._inside(live.name, live.oid) as connection:
            yield connection

    @contextmanager
    def _inside(self, name: str, oid: int) -> Iterator[Connection]:
        with self.server.enter(name, self.state.facts.quiet) as connection:
            with server_errors(NOTHING_CHANGED):
                set_settings(connection, READING)
                found = databases.own_database(connection)
            if found != oid:
                raise BusyError(
                    f"{name!r} is no longer the same database: it was renamed or replaced meanwhile.",
                    state=NOTHING_CHANGED,
                    hint="See what there is: snapkit list",
                )
            with answers_within(connection, None):
                yield connection

    def open(
        self, connection: Connection, entry: Entry, command: str, standing: InterruptionState, observe: Observe
    ) -> Entry:
        """Open an entry, or join those who read it; the lock of its source is held. Return it as it is while sealed."""
        oid, keeper = entry.database.oid, self._keeper
        if not wait_until(lambda: take_entry(keeper, oid), _LEAVES_SOON, every=0.02):
            raise open_elsewhere(entry)
        with released_afterwards(keeper, oid):
            now = as_it_is_now(connection, entry)
            if now.opened is not None and has_readers(connection, oid, now.opened):
                join_readers(keeper, oid, now.opened)
                self._opened[oid] = OpenedByUs(oid, now.name, now.opened, now.database.document or "", was_open=True)
                return as_sealed(now)
            if now.opened is not None:
                now = seal(keeper, now)
                self.cautions.append(sealed_caution(now))
            ours = opened_by_us(now, noted_before_opening(connection, now, command))
            join_readers(keeper, oid, ours.opened)
            self._opened[oid] = ours
            self.cautions += open_entry(self.server, connection, now, ours.document, standing=standing, observe=observe)
            self._opened[oid] = replace(ours, was_open=True)
            self.cautions += at_work_while_open(replication_of(connection, [oid]))
            return now

    def close(self, oid: int, shielded: Callable[[], AbstractContextManager[None]]) -> None:
        """Seal an entry that was opened, unless others still read it; raise if it could not be sealed."""
        ours = self._opened.pop(oid, None)
        if ours is not None:
            with shielded():
                sealed, said = seal_again(self.server, self._keeper, ours)
                self.cautions += (*said, *altered_cautions(sealed))

    def check(self) -> None:
        """Raise BusyError if another command has taken an entry, or replaced the live database; from any thread.

        A command that is busy with what it has read calls this now and then. Where its sessions are at work it need
        not: they end, and then ``reading_entries`` raises this error in the place of theirs.
        """
        with self._asking() as connection:
            error = self._taken(connection)
        if error is not None:
            raise error

    @contextmanager
    def _asking(self) -> Iterator[Connection]:
        """Lend the session that keeps the locks; if that is lost, another one."""
        with self._turn, ExitStack() as stack:
            try:
                databases.own_database(self._keeper)
                connection = self._keeper
            except SERVER_ERRORS:
                connection = stack.enter_context(self.server.connect())
            with server_errors(NOTHING_CHANGED):
                yield connection

    def _taken(self, connection: Connection) -> BusyError | None:
        for ours in self._opened.values():
            found = databases.unsealed_state(connection, ours.oid)
            if found is None or not _is_open(found, ours):
                return self._gave_way(connection, ours, found)
        live = self.state.live
        if live is not None and databases.name_of(connection, live.oid) != live.name:
            return BusyError(
                f"The live database {live.name!r} was replaced or renamed meanwhile{self._who(connection)}.",
                state=NOTHING_CHANGED,
                hint="See what there is (snapkit list), and run the command again.",
            )
        return None

    def _gave_way(self, connection: Connection, ours: OpenedByUs, found: Unsealed | None) -> BusyError:
        became = ""
        if found is None:
            became = " It is gone."
        elif found.name == self.server.source:
            became = f" A rollback or an undo has made it the live database {self.server.source!r}."
        return BusyError(
            f"Another command needed {ours.name!r}{self._who(connection)}, and this one gave way.{became}",
            state=NOTHING_CHANGED,
            hint="See what there is (snapkit list), and run the command again.",
        )

    def _who(self, connection: Connection) -> str:
        """Name the run that works on the source, in brackets; it is done already if there is none."""
        return holder_of(connection, lock_key(self.server.source), anywhere=True)

    def raise_instead(self, error: Exception) -> NoReturn:
        """Raise BusyError if the error came from another command, else the error itself."""
        reason = None
        try:
            with self._asking() as connection:
                reason = self._taken(connection) or self._disconnected(connection, error)
        except (SnapkitError, *SERVER_ERRORS):
            raise error from None
        if reason is None:
            raise error
        raise reason from error

    def _disconnected(self, connection: Connection, error: Exception) -> BusyError | None:
        """Return the error for sessions inside the live database that a backup or a rollback has ended."""
        if not (isinstance(error, ConnectionFailedError) or is_connection_loss(error)):
            return None
        who = self._who(connection)
        if not who:
            return None
        return BusyError(
            f"Another run of snapkit is working on {self.server.source!r}{who}, and has disconnected this one.",
            state=NOTHING_CHANGED,
            hint="Wait for it to end, and run the command again.",
        )


def _is_open(found: Unsealed, ours: OpenedByUs) -> bool:
    """Whether an entry is open still, as this run has opened it or found it."""
    document = comments.decode(found.comment)
    return found.allow_connections and isinstance(document, comments.Metadata) and document.opened == ours.opened


@contextmanager
def reading_entries(
    server: Server,
    wanted: Sequence[str | None],
    lock_wait: timedelta,
    observe: Observe = unobserved,
    *,
    command: str,
    shielded: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Iterator[Reading]:
    """Open entries, to read them; seal them when the block ends, however it ends, unless others still read them.

    ``wanted`` are their names, None for the newest ready backup; ``command`` is the word of the one that reads, such as
    ``diff``. The sealing runs under ``shielded``, which holds Ctrl-C back. If snapkit is killed, the next run that
    changes something seals them.

    Raises BusyError if a shell has one open, or if another command took one or disconnected the sessions of the block:
    then in the place of the error that came of that.
    """
    with server.connect() as keeper, ExitStack() as sealing:
        with (
            interruptions(NOTHING_CHANGED) as standing,
            locked(server, lock_wait, observe) as connection,
            server_errors(NOTHING_CHANGED),
        ):
            stay_idle(keeper)
            reading = Reading(server, gather(connection, server.source), keeper)
            entries = [chosen(reading.state, server.source, each) for each in wanted]
            for entry in entries:
                check_openable(entry)
                check_rights(connection, entry.database, createdb=False)
                check_no_shell(connection, entry)
            opened: dict[int, Entry] = {}
            for entry in entries:
                if entry.database.oid not in opened:
                    sealing.callback(reading.close, entry.database.oid, shielded)
                    opened[entry.database.oid] = reading.open(connection, entry, command, standing, observe)
            reading.entries = tuple(opened[each.database.oid] for each in entries)
        try:
            yield reading
        except (SnapkitError, *SERVER_ERRORS) as error:
            reading.raise_instead(error)
