"""Note the end of a guarded command: which rows were written since the backup by then, and how they were left.

It is done beside the health check, and holds nobody up. One snapshot of the live database is kept meanwhile, so that
all tables are seen as of one moment; vacuum cannot remove what is dead since then, until it is done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from functools import partial
from threading import Event, Thread

from snapkit.core.comparison.lineage import Boundary, Kinship
from snapkit.core.comparison.pairing import pair_tables
from snapkit.core.comparison.row_changes import Method, Pair, Relation
from snapkit.core.inventory.entry import Entry
from snapkit.errors import SnapkitError, unexpected
from snapkit.postgres.carrying.boundary_snapshot import exported_snapshot, take_snapshot
from snapkit.postgres.catalog.boundary import present_boundary
from snapkit.postgres.comparison import reading as readers
from snapkit.postgres.comparison.relations import relations
from snapkit.postgres.connection.server import Connection, Server
from snapkit.postgres.connection.sqlstates import SERVER_ERRORS, server_errors
from snapkit.processes.deadline import wait_until
from snapkit.services.carrying.knowledge import NothingKnown, TouchedRows
from snapkit.services.carrying.request import CarryRequest
from snapkit.services.comparison.kinship import kinship_of
from snapkit.services.comparison.rows import compare_rows
from snapkit.services.comparison.sides import Sides
from snapkit.services.comparison.values import values_of
from snapkit.services.entries.reading import Reading, reading_entries
from snapkit.services.run.survey import need_live

_LOCK_WAIT = timedelta(seconds=10)

_SETTLES = timedelta(seconds=10)
"""How long transactions may take to end that were open when the command ended: they may be the command's."""


class BoundaryScan:
    """A look at the live database when the command has ended. It runs beside what comes next, from ``begin`` on."""

    def __init__(self, server: Server, backup: Entry, touched: TouchedRows) -> None:
        self._server = server
        self._backup = backup
        self._touched = touched
        self._boundary: Boundary | None = None
        self._problem: str | None = None
        self._stop = Event()
        self._thread = Thread(target=self._run, name="boundary", daemon=True)

    def begin(self) -> None:
        self._thread.start()

    def end(self, within: timedelta) -> CarryRequest:
        """Wait for it to end, at most that long, and return what is known by then. Nothing is raised."""
        self._thread.join(within.total_seconds())
        self._stop.set()
        self._thread.join()
        if self._boundary is None:
            return CarryRequest(NothingKnown(f"the end of the command could not be noted: {self._problem}"))
        return CarryRequest(self._touched, self._boundary)

    def stop(self) -> None:
        """End it at once: what it would find is not wanted."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            with reading_entries(self._server, [self._backup.name], _LOCK_WAIT, command="guard") as reading:
                self._look(reading)
        except _StoppedError:
            self._problem = self._problem or "there was no time"
        except Exception as error:
            problem = error if isinstance(error, SnapkitError) else unexpected(error)
            self._problem = problem.message

    def _look(self, reading: Reading) -> None:
        with ExitStack() as stack, server_errors(""):
            keeper, live = (stack.enter_context(reading.enter_live()) for _ in range(2))
            before = stack.enter_context(reading.enter(reading.entries[0]))
            asked = stack.enter_context(self._server.connect())
            database = need_live(reading.state, self._server.source)
            kinship = kinship_of(asked, reading.state, reading.entries[0].database, database)
            self._settle(asked)
            readers.settle(keeper)
            snapshot, boundary = stack.enter_context(exported_snapshot(keeper))

            def beat() -> None:
                self._check()
                present_boundary(keeper)  # a session that does nothing for long would be ended

            sides = SidesAtBoundary(before, live, beat, snapshot)
            stack.callback(sides.close)
            self._boundary = boundary
            note_touched(sides, kinship, self._touched, beat)

    def _settle(self, connection: Connection) -> None:
        """Wait until the transactions that write have ended. A later moment is safe: what they wrote is not late."""
        first = set(present_boundary(connection).in_progress)

        def is_over() -> bool:
            self._check()
            return first.isdisjoint(present_boundary(connection).in_progress)

        wait_until(is_over, _SETTLES, every=0.02)

    def _check(self) -> None:
        if self._stop.is_set():
            raise _StoppedError


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


def note_touched(sides: Sides, kinship: Kinship, touched: TouchedRows, check: Callable[[], None]) -> None:
    """Note which rows of ``before`` are others in ``after``, and how they are there; small tables come first.

    What cannot be read of a table is noted, too. ``check`` may raise, to stop it.
    """
    with sides.snapshot():
        pairs = pair_tables(relations(sides.before), relations(sides.after), related=kinship.proved)
    for pair in sorted(pairs, key=_blocks):
        if pair.before is None or pair.after is None or pair.key is None:
            continue
        check()
        try:
            _note_table(sides, pair, kinship, touched)
        except SERVER_ERRORS as error:
            touched.note_lack(pair, f"it could not be read when the command had ended: {_in_short(error)}")


def _note_table(sides: Sides, pair: Pair, kinship: Kinship, touched: TouchedRows) -> None:
    with sides.snapshot(pair.before, pair.after) as as_of:
        changes = compare_rows(sides, pair, kinship, lambda blocks: None, as_of)
        if changes.method is Method.NOT_COMPARED:
            touched.note_lack(pair, changes.reason or "it could not be compared")
        else:
            values = values_of(sides, changes.pair, changes)
            touched.note(changes.pair, ((row.row.key or (), row.after) for row in values))


def _blocks(pair: Pair) -> int:
    return sum(leaf.blocks for leaf in pair.after.leaves) if pair.after else 0


def _in_short(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
