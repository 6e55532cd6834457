"""Note the end of a guarded command: which rows were written since the backup by then, and how they were left.

It is done beside the health check, and holds nobody up. One snapshot of the live database is kept meanwhile, so that
all tables are seen as of one moment; vacuum cannot remove what is dead since then, until it is done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime, timedelta
from functools import partial
from threading import Event, Thread

from snapkit.core.comparison.lineage import Boundary
from snapkit.core.comparison.row_changes import Relation
from snapkit.core.inventory.entry import Entry
from snapkit.errors import BusyError, SnapkitError, unexpected
from snapkit.postgres.carrying.boundary_snapshot import exported_snapshot, take_snapshot
from snapkit.postgres.catalog import databases
from snapkit.postgres.catalog.boundary import present_boundary
from snapkit.postgres.catalog.server_facts import server_facts
from snapkit.postgres.comparison import reading as readers
from snapkit.postgres.connection.server import Connection, Server
from snapkit.postgres.connection.sqlstates import SERVER_ERRORS, server_errors
from snapkit.processes.deadline import wait_until
from snapkit.services.carrying.knowledge import NothingKnown, TouchedRows
from snapkit.services.carrying.request import CarryRequest
from snapkit.services.carrying.touched import note_touched
from snapkit.services.comparison.kinship import kinship_of
from snapkit.services.comparison.sides import Sides
from snapkit.services.entries.reading import Reading, reading_entries
from snapkit.services.run.survey import need_live

_LOCK_WAIT = timedelta(seconds=10)

_SETTLES = timedelta(seconds=2)
"""How long transactions may take to end that were open when the command ended: they may be the command's."""


class BoundaryScan:
    """A look at the live database when the command has ended. From ``begin`` on it runs beside what comes next."""

    def __init__(self, server: Server, backup: Entry) -> None:
        self._server = server
        self._backup = backup
        self._touched = TouchedRows()
        self._keeping = ExitStack()
        """The session that keeps the snapshot."""
        self._boundary: Boundary | None = None
        self._unsettled: tuple[int, ...] = ()
        self._problem: str | None = None
        self._stop = Event()
        self._thread: Thread | None = None

    def begin(self) -> None:
        """Take the snapshot, and begin to read. Nothing is raised."""
        try:
            with server_errors(""):
                keeper = self._enter()
                first = _settled(keeper)
                snapshot, self._boundary = self._keeping.enter_context(exported_snapshot(keeper))
                self._unsettled = tuple(first.intersection(self._boundary.in_progress))
        except SnapkitError as error:
            self._problem = error.message
            return
        self._thread = Thread(target=self._run, args=(keeper, snapshot), name="boundary", daemon=True)
        self._thread.start()

    def _enter(self) -> Connection:
        with self._server.connect() as connection:
            quiet = server_facts(connection).quiet
        keeper = self._keeping.enter_context(self._server.enter(self._server.source, quiet))
        readers.settle(keeper)
        return keeper

    def end(self, within: timedelta) -> CarryRequest:
        """Wait until all is read, at most that long, and return what is known by then. Nothing is raised."""
        if self._thread is not None:
            self._thread.join(within.total_seconds())
        self._halt()
        if self._boundary is None or self._problem is not None:
            return CarryRequest(NothingKnown(f"the end of the command could not be noted: {self._problem}"))
        return CarryRequest(self._touched, self._boundary, self._unsettled)

    def close(self) -> None:
        """End it at once, and forget what was found."""
        self._halt()
        self._touched.close()

    def _halt(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        with suppress(*SERVER_ERRORS):
            self._keeping.close()

    def _run(self, keeper: Connection, snapshot: str) -> None:
        def beat() -> None:
            if self._stop.is_set():
                raise _StoppedError
            present_boundary(keeper)  # a session that does nothing for long would be ended

        try:
            with reading_entries(self._server, [self._backup.name], _LOCK_WAIT, command="guard") as reading:
                self._look(reading, keeper, snapshot, beat)
        except _StoppedError:
            pass
        except Exception as error:
            self._problem = (error if isinstance(error, SnapkitError) else unexpected(error)).message

    def _look(self, reading: Reading, keeper: Connection, snapshot: str, beat: Callable[[], None]) -> None:
        with ExitStack() as stack, server_errors(""):
            live = stack.enter_context(reading.enter_live())
            before = stack.enter_context(reading.enter(reading.entries[0]))
            asked = stack.enter_context(self._server.connect())
            database = need_live(reading.state, self._server.source)
            if databases.own_database(keeper) != database.oid:
                raise BusyError(f"{database.name!r} was replaced when the command had ended.")
            kinship = kinship_of(asked, reading.state, reading.entries[0].database, database)
            sides = SidesAtBoundary(before, live, beat, snapshot)
            stack.callback(sides.close)
            note_touched(sides, kinship, self._touched, beat)


def _settled(connection: Connection) -> set[int]:
    """Wait a moment until the transactions have ended that write now: one of them may be the command's.

    A later boundary is safe: what they wrote is not late then. Those that begin meanwhile are the clients'. Returns the
    transactions that were waited for.
    """
    first = set(present_boundary(connection).in_progress)
    wait_until(lambda: first.isdisjoint(present_boundary(connection).in_progress), _SETTLES, every=0.01)
    return first


class _StoppedError(Exception):
    """Nobody waits for what is being done any more."""


class SidesAtBoundary(Sides):
    """A backup, and the live database as a snapshot shows it that another session keeps."""

    def __init__(self, before: Connection, after: Connection, beat: Callable[[], None], snapshot: str) -> None:
        super().__init__(before, after, beat)
        self._name = snapshot

    @contextmanager
    def snapshot(self, before: Relation | None = None, after: Relation | None = None) -> Iterator[datetime]:
        with ExitStack() as stack:
            stack.enter_context(readers.snapshot(self.before, before))
            take = partial(take_snapshot, self.after, self._name)
            yield stack.enter_context(readers.snapshot(self.after, after, take))
