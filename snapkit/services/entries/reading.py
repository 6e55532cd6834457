"""Read entries, and give way to a rollback, an undo or a guard that needs one.

An entry is opened, to its owner alone, for the moment in which the sessions of the command get in. Then it is sealed
again, and they stay inside. So nobody else can write to it meanwhile, and nothing is left open if the command dies.
Several commands may read one entry. Nobody waits for them: who rolls back ends their sessions, as it would any.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from threading import RLock
from typing import NoReturn

from snapkit.core import values
from snapkit.core.comparison.writes import Rows
from snapkit.core.inventory.entry import Entry
from snapkit.core.reporting import Caution, Observe, unobserved
from snapkit.errors import NOTHING_CHANGED, BusyError, ConnectionFailedError, SnapkitError
from snapkit.postgres.catalog import databases, sessions
from snapkit.postgres.connection.safe_settings import READING, set_settings
from snapkit.postgres.connection.server import Connection, Server
from snapkit.postgres.connection.sqlstates import SERVER_ERRORS, is_connection_loss, server_errors
from snapkit.postgres.probe.write_counters import statistics_written
from snapkit.postgres.sql.entry_locks import (
    Use,
    is_taken,
    say_who,
    share_entry,
    stay_idle,
    take_entry,
    unshare_entry,
)
from snapkit.postgres.sql.locks import holder_of, lock_key
from snapkit.postgres.sql.reading_session import ReadingSession
from snapkit.postgres.sql.stall_watch import watching_for_stalls
from snapkit.processes.deadline import wait_until
from snapkit.services.entries.opening import (
    check_openable,
    noted_before_opening,
    open_entry,
    opened_by_us,
    seal_again,
)
from snapkit.services.entries.seal import (
    Staying,
    check_not_open,
    need_sealed,
    open_elsewhere,
    released_afterwards,
    sealed_caution,
)
from snapkit.services.run.interruption import InterruptionState, interruptions
from snapkit.services.run.preconditions import check_rights
from snapkit.services.run.probe import await_end
from snapkit.services.run.source_lock import locked
from snapkit.services.run.survey import ServerState, altered_cautions, chosen, gather, need_live

SESSIONS = 2
"""So many are let into each entry at once; for more, it has to be opened once more."""

_AUTOVACUUM = timedelta(seconds=5)
"""How long it is waited for an autovacuum worker to leave an entry before it is opened: what it has written when the
first session gets in would count as written by somebody else."""

Shielded = Callable[[], AbstractContextManager[None]]


@dataclass
class _Admitted:
    """An entry, as it is while sealed, and the sessions inside: all, and those that nobody uses."""

    entry: Entry
    all: list[ReadingSession] = field(default_factory=list)
    free: list[ReadingSession] = field(default_factory=list)
    noted: tuple[ReadingSession, Rows] | None = None
    """The first that got in since the entry was opened, and what autovacuum had written by then."""

    def excused(self) -> Rows:
        """Return what autovacuum has written since then. Of a database that was live it may be at work all the time."""
        if self.noted is None:
            return Rows()
        session, before = self.noted
        self.noted = None
        with suppress(*SERVER_ERRORS):
            return statistics_written(session.connection).since(before)
        return Rows()


@values.dataclass(frozen=True, slots=True)
class _Manner:
    """How entries are opened: for which command, how long the lock of the source is waited for, and so on."""

    command: str
    lock_wait: timedelta
    observe: Observe
    shielded: Shielded


class Reading:
    """Entries that can be read, until the block of ``reading_entries`` ends.

    ``state`` is what was on the server when it began, ``entries`` are the wanted ones in their order. ``cautions`` are
    what is to be said of it.
    """

    state: ServerState

    def __init__(self, server: Server, manner: _Manner, keeper: Connection, until: ExitStack) -> None:
        self.server = server
        self.entries: tuple[Entry, ...] = ()
        self.cautions: list[Caution] = []
        self._manner = manner
        self._keeper = keeper
        self._until = until
        self._admitted: dict[int, _Admitted] = {}
        self._in_turn = RLock()
        """Who uses the keeper, or takes a session."""

    # --- sessions ---

    @contextmanager
    def enter(self, entry: Entry) -> Iterator[Connection]:
        """Lend a session inside one of the entries, to any thread; it is used again later.

        The session has the safe settings. Its transactions are read-only. A table with row-level security that holds
        for the role is an error. Statements may take as long as they need. Do not make temporary tables: they would be
        written to the catalogs of the entry.

        If all sessions are in use, the entry is opened for one more, which may have to wait for the lock of its source.
        Raises BusyError if the entry was taken.
        """
        session = self._free(entry.database.oid) or self._one_more(entry.database.oid)
        try:
            yield session.connection
        finally:
            if session.made_ready():
                self._admitted[entry.database.oid].free.append(session)

    def _free(self, oid: int) -> ReadingSession | None:
        with self._in_turn:
            free = self._admitted[oid].free
            return free.pop() if free else None

    def _one_more(self, oid: int) -> ReadingSession:
        with self._in_turn, self._opening() as (connection, standing):
            gathered = gather(connection, self.server.source).inventory
            entry = next((each for each in gathered.of_source(self.server.source) if each.database.oid == oid), None)
            if entry is None:
                raise self._taken(connection) or _no_longer(self._admitted[oid].entry.name)
            self.admit(connection, entry, standing, number=1)
            return self._admitted[oid].free.pop()

    @contextmanager
    def enter_live(self) -> Iterator[Connection]:
        """Open a session like that inside the live database; raise NotFoundError if there is none."""
        live = need_live(self.state, self.server.source)
        with self._opened_inside(live.name, live.oid) as connection:
            yield connection

    @contextmanager
    def _opened_inside(self, name: str, oid: int) -> Iterator[Connection]:
        with self.server.enter(name, self.state.facts.quiet) as connection:
            with server_errors(NOTHING_CHANGED):
                set_settings(connection, READING)
                found = databases.own_database(connection)
            if found != oid:
                raise _no_longer(name)
            with watching_for_stalls(connection):
                yield connection

    # --- opening ---

    @contextmanager
    def _opening(self) -> Iterator[tuple[Connection, InterruptionState]]:
        """Hold the lock of the source, to open entries."""
        manner = self._manner
        with (
            interruptions(NOTHING_CHANGED) as standing,
            locked(self.server, manner.lock_wait, manner.observe) as connection,
            server_errors(NOTHING_CHANGED),
        ):
            yield connection, standing

    def admit_to(self, wanted: Sequence[str | None]) -> None:
        """Let sessions into the ``wanted`` entries; None is the newest ready backup."""
        source = self.server.source
        with self._opening() as (connection, standing):
            self.state = gather(connection, source)
            chosen_ones = [chosen(self.state, source, each) for each in wanted]
            for entry in chosen_ones:
                check_openable(entry)
                check_rights(connection, entry.database, createdb=False)
                check_not_open(connection, entry)
            for entry in chosen_ones:
                if entry.database.oid not in self._admitted:
                    self.admit(connection, entry, standing, number=SESSIONS)
            self.entries = tuple(self._admitted[each.database.oid].entry for each in chosen_ones)

    def admit(self, connection: Connection, entry: Entry, standing: InterruptionState, *, number: int) -> None:
        """Let ``number`` sessions into an entry; the lock of its source is held."""
        oid, keeper, manner = entry.database.oid, self._keeper, self._manner
        if entry.opened is not None:
            entry = need_sealed(connection, entry)
            self.cautions.append(sealed_caution(entry))
        if not take_entry(keeper, oid):
            raise open_elsewhere(entry)
        with released_afterwards(keeper, oid):
            is_read = is_taken(connection, oid, Use.READ)  # then those inside do so: nobody else gets in
            readers = {each.pid for each in sessions.sessions_inside(connection, [oid])} if is_read else set()
            if oid not in self._admitted:
                share_entry(keeper, oid)
                self._admitted[oid] = _Admitted(entry)
            admitted = self._admitted[oid]
            wait_until(lambda: not sessions.is_vacuumed(connection, oid), _AUTOVACUUM, every=0.02)
            ours = opened_by_us(entry, noted_before_opening(connection, entry, manner.command))
            try:
                self.cautions += open_entry(
                    self.server, connection, entry, ours.document, standing=standing, observe=manner.observe
                )
                ours = replace(ours, was_open=True)
                for _ in range(number):
                    self._let_in(admitted)
            finally:
                with manner.shielded():
                    staying = Staying(frozenset(readers | {each.pid for each in admitted.all}), admitted.excused)
                    sealed, said = seal_again(self.server, keeper, ours, staying)
            self.cautions += (*said, *altered_cautions(sealed))
            admitted.entry = sealed[0] if sealed else entry

    def _let_in(self, admitted: _Admitted) -> None:
        name, oid = admitted.entry.name, admitted.entry.database.oid
        connection = self._until.enter_context(self._opened_inside(name, oid))
        session = ReadingSession(connection)
        admitted.noted = admitted.noted or (session, statistics_written(connection))
        admitted.all.append(session)
        admitted.free.append(session)

    def leave(self) -> None:
        """Count no longer among those who read the entries, now that the sessions inside are closed."""
        with suppress(SnapkitError, *SERVER_ERRORS):  # closing does the same, a moment later
            for oid, admitted in self._admitted.items():
                for session in admitted.all:
                    await_end(self._keeper, session.pid)
                unshare_entry(self._keeper, oid)

    # --- giving way ---

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
        with self._in_turn, ExitStack() as stack:
            try:
                databases.own_database(self._keeper)
                connection = self._keeper
            except SERVER_ERRORS:
                connection = stack.enter_context(self.server.connect())
            with server_errors(NOTHING_CHANGED):
                yield connection

    def _taken(self, connection: Connection) -> BusyError | None:
        for oid, admitted in self._admitted.items():
            name = databases.name_of(connection, oid)
            if name != admitted.entry.name or any(each.is_lost(connection) for each in admitted.all):
                return self._gave_way(connection, admitted.entry.name, name)
        live = self.state.live
        if live is not None and databases.name_of(connection, live.oid) != live.name:
            return BusyError(
                f"The live database {live.name!r} was replaced or renamed meanwhile{self._who(connection)}.",
                state=NOTHING_CHANGED,
                hint=_AGAIN,
            )
        return None

    def _gave_way(self, connection: Connection, name: str, now: str | None) -> BusyError:
        message = f"Another command needed {name!r}{self._who(connection)}, and this one gave way."
        if now == self.server.source:
            message += f" A rollback or an undo has made it the live database {now!r}."
        return BusyError(message, state=NOTHING_CHANGED, hint=_AGAIN)

    def _who(self, connection: Connection) -> str:
        """Name the run that works on the source, in brackets; it is done already if there is none."""
        return holder_of(connection, lock_key(self.server.source), anywhere=True)

    def raise_instead(self, error: Exception) -> NoReturn:
        """Raise BusyError if the error came of another command, else the error itself."""
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
        who = self._who(connection)
        if not who or not (isinstance(error, ConnectionFailedError) or is_connection_loss(error)):
            return None
        return BusyError(
            f"Another run of snapkit is working on {self.server.source!r}{who}, and has disconnected this one.",
            state=NOTHING_CHANGED,
            hint="Wait for it to end, and run the command again.",
        )


_AGAIN = "See what there is (snapkit list), and run the command again."


def _no_longer(name: str) -> BusyError:
    return BusyError(
        f"{name!r} is no longer the same database: it was renamed or replaced meanwhile.",
        state=NOTHING_CHANGED,
        hint=_AGAIN,
    )


@contextmanager
def reading_entries(
    server: Server,
    wanted: Sequence[str | None],
    lock_wait: timedelta,
    observe: Observe = unobserved,
    *,
    command: str,
    shielded: Shielded = nullcontext,
) -> Iterator[Reading]:
    """Let sessions into entries, to read them; they are closed when the block ends.

    ``wanted`` are the entries' names, None for the newest ready backup; ``command`` is the word of the one that reads,
    such as ``diff``. An entry is sealed again under ``shielded``, which holds Ctrl-C back. If snapkit is killed while
    one is open, the next run that changes something seals it.

    Raises BusyError if a shell has one open, or if another command took one or disconnected the sessions of the block:
    then in the place of the error that came of that.
    """
    with server.connect() as keeper, ExitStack() as until:
        with server_errors(NOTHING_CHANGED):
            stay_idle(keeper)
            say_who(keeper, command)
        reading = Reading(server, _Manner(command, lock_wait, observe, shielded), keeper, until)
        until.callback(reading.leave)
        reading.admit_to(wanted)
        try:
            yield reading
        except (SnapkitError, *SERVER_ERRORS) as error:
            reading.raise_instead(error)
