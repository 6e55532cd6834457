"""Bring rows of some tables back from an entry into the live database, in one transaction, while everybody works.

What differs is found as ``diff`` finds it. The rows then wait in temporary tables of the session that will write them,
and the entry is sealed again before anybody is asked or anything is locked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import replace
from datetime import timedelta
from time import monotonic

from snapkit.core.comparison.lineage import Boundary, Kinship
from snapkit.core.inventory.entry import Entry
from snapkit.core.inventory.kinds import Kind
from snapkit.core.outcome import Outcome
from snapkit.core.plans.statements import WrittenStep
from snapkit.core.reporting import Caution, Observe, Progress, unobserved
from snapkit.core.restoring.live_table import LiveTable
from snapkit.core.restoring.restored import (
    RestoreConflict,
    RestoredTable,
    TriggerMode,
    TriggerWay,
    trigger_way,
)
from snapkit.core.values import dataclass
from snapkit.errors import NOTHING_CHANGED, ConflictError, SnapkitError, UsageError
from snapkit.postgres.connection.server import Connection, Server
from snapkit.postgres.connection.sqlstates import server_errors
from snapkit.postgres.restoring.kept import KeptRestore
from snapkit.postgres.restoring.live_tables import LiveTables, live_tables, may_set_replication_role
from snapkit.postgres.restoring.stage import Stage
from snapkit.postgres.sql.stall_watch import watching_for_stalls
from snapkit.services.comparison.kinship import kinship_of
from snapkit.services.comparison.sides import Sides
from snapkit.services.entries.reading import reading_entries
from snapkit.services.restoring.application import Application, ConflictsError, ShownTable, Written
from snapkit.services.restoring.session import check_privileges, write_through, writing_to
from snapkit.services.restoring.staging import (
    RestoreChoice,
    Staged,
    check_condition,
    chosen_pairs,
    stage_all,
    table_conflicts,
)
from snapkit.services.restoring.undo import last_restore, stage_kept
from snapkit.services.run.interruption import interruptions
from snapkit.services.run.preconditions import check_server
from snapkit.services.run.survey import gather, need_live


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """What is to be brought back from where; ``wanted`` None is the newest ready backup.

    ``triggers`` None: they are off where that disturbs nobody.
    """

    wanted: str | None
    choice: RestoreChoice
    triggers: TriggerMode | None = None
    late_writes: bool = False
    """Only what was written to the displaced database after its boundary."""
    looks_only: bool = False
    """Nothing will be written: the very rows are to be shown."""


@dataclass(frozen=True, slots=True)
class RestorePreview:
    """What would be written, as of now, or the conflicts that are in the way."""

    entry: Entry | None
    tables: tuple[RestoredTable, ...]
    conflicts: tuple[RestoreConflict, ...]
    triggers: TriggerMode
    shown: tuple[ShownTable, ...] = ()
    steps: tuple[WrittenStep, ...] = ()
    cautions: tuple[Caution, ...] = ()

    @property
    def shortfall(self) -> SnapkitError | None:
        return conflict_error(self.conflicts) if self.conflicts else None


@dataclass(frozen=True, slots=True)
class RestoreReceipt(Outcome):
    """What was brought back; with ``conflicts`` nothing was. ``entry`` is None if the entry is there no more."""

    source: str
    entry: Entry | None
    tables: tuple[RestoredTable, ...]
    conflicts: tuple[RestoreConflict, ...]
    triggers: TriggerMode
    duration: timedelta
    cautions: tuple[Caution, ...] = ()
    undone: KeptRestore | None = None
    """The restore that was taken back, if it is that."""

    @property
    def changed(self) -> tuple[str, ...]:
        return (self.source,) if self.tables else ()

    @property
    def shortfall(self) -> SnapkitError | None:
        return conflict_error(self.conflicts) if self.conflicts else None


def conflict_error(conflicts: tuple[RestoreConflict, ...]) -> ConflictError:
    """Return the error that names the first conflicts."""
    number = len(conflicts)
    return ConflictError(
        f"{number} conflict{'' if number == 1 else 's'}: the rows cannot be brought back as asked.",
        state=NOTHING_CHANGED,
        hint="Leave these rows out with --where or --only, or settle them first. What is in the way: --dry-run",
    )


class PreparedRestore:
    """Rows that wait to be written."""

    def __init__(
        self,
        server: Server,
        entry: Entry | None,
        application: Application,
        began: float,
        undone: KeptRestore | None = None,
    ) -> None:
        self._undone = undone
        self._server = server
        self._entry = entry
        self._application = application
        self._began = began
        self.cautions: tuple[Caution, ...] = ()

    @property
    def stages(self) -> Sequence[Stage]:
        """Each table that may be written."""
        return self._application.stages

    @property
    def _name(self) -> str:
        return self._entry.name if self._entry else ""

    def preview(self, rows: int | None = None) -> RestorePreview:
        """Return what would be written; with ``rows`` so many of the rows of each table."""
        with interruptions(NOTHING_CHANGED), server_errors(NOTHING_CHANGED):
            look = self._application.look(rows)
        return RestorePreview(
            self._entry,
            look.tables,
            look.conflicts,
            self._application.way.mode,
            look.shown,
            look.steps,
            (*self.cautions, *self._trigger_cautions()),
        )

    def _trigger_cautions(self) -> Iterator[Caution]:
        """Say beforehand what is done about triggers, where somebody may mind."""
        way, triggers = self._application.way, self._application.triggers
        if way is TriggerWay.TABLE and triggers:
            tables = ", ".join(sorted({".".join(each.table) for each in triggers}))
            yield Caution(
                "locks_writers",
                f"To switch triggers off, this role has to lock {tables} against all other writers until COMMIT.",
            )
        if way is TriggerWay.SESSION and any(each.mode == "A" for each in triggers):
            names = ", ".join(sorted({each.name for each in triggers if each.mode == "A"}))
            yield Caution("triggers_fire", f"These triggers fire all the same (ENABLE ALWAYS): {names}.")

    def apply(self, observe: Observe = unobserved) -> RestoreReceipt:
        """Write the rows, all or none.

        Raises BusyError if a table is altered or locked meanwhile, UnknownOutcomeError if the answer to COMMIT is lost
        and the server cannot be asked.
        """
        written: list[Written] = []
        application = self._application
        observe(Progress("Writing rows", timedelta(seconds=monotonic() - self._began)))
        conflicts: tuple[RestoreConflict, ...] = ()
        cautions: tuple[Caution, ...] = ()
        try:
            with watching_for_stalls(application.writer):
                cautions = write_through(
                    self._server,
                    application.writer,
                    "the restore",
                    lambda note: written.append(application.write(self._name, note)),
                    observe,
                )
        except ConflictsError as error:
            conflicts, written = error.conflicts, []
        tables = written[0].tables if written else ()
        cautions += written[0].cautions if written else ()
        return RestoreReceipt(
            self._server.source,
            self._entry,
            tables,
            conflicts,
            application.way.mode,
            timedelta(seconds=monotonic() - self._began),
            (*self.cautions, *cautions),
            self._undone,
        )


@contextmanager
def prepared_restore(
    server: Server,
    request: RestoreRequest,
    lock_wait: timedelta,
    observe: Observe = unobserved,
    shielded: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Iterator[PreparedRestore]:
    """Compare the tables, and have the entry's rows wait in the live database until the block ends.

    Raises NotFoundError for an entry that is not there and a pattern that fits no table, UsageError for a ``where``
    that is no condition, BusyError if another command needs the entry, PrivilegeError if the role may not write.
    """
    began = monotonic()
    with ExitStack() as stack:
        opened = stack.enter_context(ExitStack())
        reading = opened.enter_context(
            reading_entries(server, [request.wanted], lock_wait, observe, command="restore", shielded=shielded)
        )
        with interruptions(NOTHING_CHANGED), server_errors(NOTHING_CHANGED):
            entry, live = reading.entries[0], need_live(reading.state, server.source)
            writer = stack.enter_context(writing_to(server, reading.state, live))
            before = opened.enter_context(reading.enter(entry))
            sides = opened.enter_context(
                closing(Sides(before, opened.enter_context(reading.enter_live()), reading.check))
            )
            kinship = kinship_of(before, reading.state, entry.database, live)
            choice = request.choice
            if request.late_writes:
                choice = replace(choice, late_after=_late_after(entry, kinship))
            pairs = chosen_pairs(sides, kinship, choice.tables, entry.name)
            check_condition(sides, pairs, choice)
            conflicts = tuple(table_conflicts(pairs, entry.name))
            impossible = {(each.schema, each.table) for each in conflicts}
            pairs = [each for each in pairs if (each.shown.schema, each.shown.name) not in impossible]
            tables = live_tables(writer, pairs)
            way = _way(writer, tables, request.triggers)

            def may_go_straight(table: LiveTable) -> bool:
                silent = not table.triggers or (
                    way is TriggerWay.SESSION and all(each.mode == "O" for each in table.triggers)
                )
                return silent and not request.looks_only and not conflicts

            staged = stage_all(
                sides,
                pairs,
                writer,
                choice,
                kinship=kinship,
                live=tables,
                may_go_straight=may_go_straight,
                observe=observe,
            )
            check_privileges(writer, staged.stages, reading.state.facts.role)
            staged = Staged(staged.stages, staged.live, (*conflicts, *staged.conflicts))
        if not any(stage.straight for stage in staged.stages):
            opened.close()
        prepared = PreparedRestore(server, entry, Application(writer, staged, way), began)
        prepared.cautions = tuple(reading.cautions)
        yield prepared


def _late_after(entry: Entry, kinship: Kinship) -> Boundary:
    """Return the boundary of a displaced database: the end of the guarded command, or else the backup itself."""
    if entry.kind is not Kind.OLD:
        raise UsageError(
            f"--late-writes is for a displaced database, and {entry.name!r} is none.",
            state=NOTHING_CHANGED,
            hint="snapkit list --kind old",
        )
    noted = entry.metadata.late_after if entry.metadata else None
    boundary = noted or kinship.boundary
    if boundary is None:
        raise UsageError(
            f"It is not known what was written late to {entry.name!r}: its boundary was not noted.",
            state=NOTHING_CHANGED,
            hint="Leave out --late-writes, and choose the rows with --where.",
        )
    return boundary


@contextmanager
def prepared_undo(
    server: Server, triggers: TriggerMode | None = None, observe: Observe = unobserved
) -> Iterator[PreparedRestore]:
    """Have the rows wait that the last restore has changed, as they were before; see ``prepared_restore``.

    Raises NotFoundError if there is no restore to be taken back.
    """
    began = monotonic()
    observe(Progress("Reading what was kept", timedelta(0)))
    with ExitStack() as stack:
        with server.connect() as connection:
            check_server(connection)
            state = gather(connection, server.source)
            live = need_live(state, server.source)
        with interruptions(NOTHING_CHANGED), server_errors(NOTHING_CHANGED):
            writer = stack.enter_context(writing_to(server, state, live))
            rows = stage_kept(writer, last_restore(writer, server.source))
            check_privileges(writer, rows.staged.stages, state.facts.role)
            way = _way(writer, rows.staged.live, triggers)
        entry = next((each for each in state.inventory.entries if each.name == rows.restore.entry), None)
        yield PreparedRestore(server, entry, Application(writer, rows.staged, way, rows), began, rows.restore)


def _way(writer: Connection, live: LiveTables, asked: TriggerMode | None) -> TriggerWay:
    return trigger_way(asked, may_switch=may_set_replication_role(writer), beyond_us=bool(live.beyond_us))
