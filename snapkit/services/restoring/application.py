"""Write what waits: look for conflicts first, then lock, look again and write, in one transaction.

What counts is the moment at which a row is locked. A row that was found to differ is made as it is in the entry, as it
is by then: also if somebody wrote to it after the comparison, and that version is kept for the undo. One that somebody
deleted meanwhile stays deleted, one that has become equal is left, and one that was to be deleted and was written to
meanwhile is left. A key that was free and is taken by then is a conflict. Rows that differ only since the comparison
are not touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from snapkit.core.comparison.differences import ShownRow
from snapkit.core.comparison.writes import Rows
from snapkit.core.plans.statements import WrittenStep
from snapkit.core.reporting import Caution
from snapkit.core.restoring.live_table import ForeignKey, UserTrigger, parents_first
from snapkit.core.restoring.restored import RestoreConflict, RestoredTable, TriggerWay, shown_key
from snapkit.core.values import dataclass
from snapkit.postgres.connection.driver import driver_connection
from snapkit.postgres.connection.server import Connection
from snapkit.postgres.restoring import kept, writing
from snapkit.postgres.restoring.conflicts import (
    lock_parents,
    orphans,
    partition_conflicts,
    still_referred_to,
    unique_conflicts,
)
from snapkit.postgres.restoring.filling import column_conflicts, fill, leave_what_was_written, lock_rows
from snapkit.postgres.restoring.kept import KeptRestore
from snapkit.postgres.restoring.shown import shown_rows
from snapkit.postgres.restoring.stage import Stage, send
from snapkit.services.restoring.staging import Staged, check_unchanged
from snapkit.services.restoring.undo import KeptRows

_INTEGERS = (20, 21, 23)
"""The OIDs of bigint, smallint and integer."""

_NAMED = 5
"""Rows that a caution names."""


class ConflictsError(Exception):
    """Rows cannot be brought back; raised to roll back."""

    def __init__(self, conflicts: Iterable[RestoreConflict]) -> None:
        super().__init__()
        self.conflicts = tuple(conflicts)


@dataclass(frozen=True, slots=True)
class Written:
    """What was written, or would be."""

    tables: tuple[RestoredTable, ...]
    cautions: tuple[Caution, ...] = ()
    restore: KeptRestore | None = None


@dataclass(frozen=True, slots=True)
class ShownTable:
    """Rows of a table: ``before`` as they are, ``after`` as they would be."""

    schema: str
    table: str
    rows: tuple[ShownRow, ...]


@dataclass(frozen=True, slots=True)
class Look:
    """What would be written; with conflicts that is nothing."""

    tables: tuple[RestoredTable, ...]
    conflicts: tuple[RestoreConflict, ...]
    shown: tuple[ShownTable, ...] = ()
    steps: tuple[WrittenStep, ...] = ()


class Application:
    """Writes the rows of some tables, as far as they wait in the temporary tables of ``writer``."""

    def __init__(self, writer: Connection, staged: Staged, way: TriggerWay, undoing: KeptRows | None = None) -> None:
        """``undoing``: it takes a restore back, of which nothing is kept any more then."""
        self._undoing = undoing
        self.writer = writer
        self.staged = staged
        self.way = way
        self.session = driver_connection(writer)
        by_oid = {stage.relation.oid: stage for stage in staged.stages}
        self.stages = [by_oid[oid] for oid in parents_first(list(by_oid), staged.live.keys)]
        self._by_oid = by_oid

    @property
    def triggers(self) -> Sequence[UserTrigger]:
        """Those that would run."""
        return [trigger for stage in self.stages for trigger in stage.live.triggers]

    # --- look ---

    def look(self, rows: int | None = None) -> Look:
        """Return what would be written, and the conflicts, as of now. Locks nothing, and changes nothing.

        ``rows``: so many of the rows of each table are shown.
        """
        with self.session.transaction(force_rollback=True):
            conflicts, _ = self._prepare()
            if conflicts:
                return Look((), tuple(conflicts))
            shown = [] if rows is None else [self._shown(stage, rows) for stage in self.stages]
            return Look(tuple(self._planned()), (), tuple(each for each in shown if each.rows), self._steps())

    def _shown(self, stage: Stage, number: int) -> ShownTable:
        return ShownTable(stage.relation.schema, stage.relation.name, tuple(shown_rows(stage, number)))

    def _planned(self) -> Iterator[RestoredTable]:
        for stage in self.stages:
            rows = writing.planned(stage)
            if rows.total:
                yield RestoredTable(stage.relation.schema, stage.relation.name, rows)

    def _prepare(self) -> tuple[list[RestoreConflict], int]:
        """Make the rows as they will be, and look for conflicts. Return them, and how many rows are gone meanwhile."""
        conflicts = [*self.staged.conflicts, *(self._undoing.written_since() if self._undoing else ())]
        vanished = 0
        for stage in self.stages:
            refused = column_conflicts(stage)
            if not refused:
                refused, gone = fill(stage)
                vanished += gone
            conflicts += refused
        if not conflicts:
            for stage in self.stages:
                conflicts += self._clashes(stage)
        return conflicts, vanished

    def _clashes(self, stage: Stage) -> Iterator[RestoreConflict]:
        yield from partition_conflicts(stage)
        yield from unique_conflicts(stage)
        for key in self._keys_from(stage):
            yield from orphans(stage, key, self._by_oid)
        for key in self._keys_to(stage):
            yield from still_referred_to(stage, key, self._by_oid)

    def _keys_from(self, stage: Stage) -> list[ForeignKey]:
        return [key for key in self.staged.live.keys if key.child == stage.relation.oid]

    def _keys_to(self, stage: Stage) -> list[ForeignKey]:
        return [key for key in self.staged.live.keys if key.parent == stage.relation.oid]

    def _steps(self) -> tuple[WrittenStep, ...]:
        """The statements that a run would send, by what they are for."""

        found = [
            WrittenStep(
                "Keep the tables from being altered",
                (writing.as_text(self.session, writing.lock_tables(self.stages)),),
                atomic=False,
            )
        ]
        for stage in self.stages:
            rows = writing.planned(stage)
            name = f"{stage.relation.schema}.{stage.relation.name}"
            found += [
                WrittenStep(
                    f"{title} {number} {'row' if number == 1 else 'rows'} of {name}",
                    (writing.as_text(self.session, statement),),
                    atomic=False,
                )
                for title, number, statement in (
                    ("Delete", rows.deleted, writing.delete(stage)),
                    ("Update", rows.updated, writing.update(stage)),
                    ("Insert", rows.inserted, writing.insert(stage)),
                )
                if number and statement is not None
            ]
        return tuple(found)

    # --- write ---

    def write(self, entry: str, note: Callable[[KeptRestore], None]) -> Written:
        """Write everything, inside a transaction, and keep what was there before. Nothing to write is no transaction.

        ``note`` is told of the transaction before anything is written. Raises ConflictsError if there are conflicts,
        and what the server raises. Then the transaction is to be rolled back.
        """
        self._lock()
        conflicts, vanished = self._prepare()
        if conflicts:
            raise ConflictsError(conflicts)
        busy = [stage for stage in self.stages if writing.planned(stage).total]
        cautions = [_vanished(vanished)] if vanished else []
        if not busy and self._undoing is None:
            return Written((), tuple(cautions))
        restore = kept.begin(self.session, entry, self.way.value)
        note(restore)
        done = self._write_and_keep(busy, restore)
        self._check_what_others_refer_to(busy, restore)
        cautions += self._cautions(busy)
        for stage in busy:
            self._move_sequences(stage)
        if self._undoing is not None:
            for each in (self._undoing.restore, kept.last(self.session)):
                if each is not None:
                    kept.forget(self.session, each)
        written = ((stage.relation, done[stage.number]) for stage in busy)
        tables = (RestoredTable(table.schema, table.name, rows) for table, rows in written if rows.total)
        return Written(tuple(tables), tuple(cautions), restore)

    def _write_and_keep(self, busy: Sequence[Stage], restore: KeptRestore) -> dict[int, Rows]:
        for stage in busy:
            kept.keep_before(stage, restore)
        try:
            done = self._send(busy)
        except writing.REFUSALS as error:
            raise ConflictsError([writing.refusal(error)]) from error
        for stage in busy:
            kept.keep_inserted(stage, restore)
            kept.note_table(stage, restore, done[stage.number])
        return done

    @staticmethod
    def _move_sequences(stage: Stage) -> None:
        integers = {each.name for each in stage.relation.columns if each.type_oid in _INTEGERS}
        for sequence in stage.live.sequences:
            if sequence.column in integers:
                writing.move_sequence(stage, sequence)

    def _lock(self) -> None:
        kept.one_at_a_time(self.session)
        if self.stages:
            send(self.session, writing.lock_tables(self.stages))
        for stage in self.stages:
            check_unchanged(self.writer, stage.relation)
        for stage in self.stages:
            lock_rows(stage)
            leave_what_was_written(stage)

    def _send(self, busy: Sequence[Stage]) -> dict[int, Rows]:
        if self.way is TriggerWay.SESSION:
            for stage in busy:
                for key in self._keys_from(stage) if stage.straight is None else ():
                    lock_parents(stage, key)
        writing.prepare_triggers(self.session, self.way, self.triggers)
        deleted = {stage.number: send(self.session, writing.delete(stage)).rowcount for stage in reversed(busy)}
        done = {}
        for stage in busy:
            update = writing.update(stage)
            updated = 0 if update is None else send(self.session, update).rowcount
            inserted = self._insert(stage)
            done[stage.number] = Rows(inserted, updated, deleted[stage.number])
        writing.settle_triggers(self.session, self.way, self.triggers)
        return done

    def _insert(self, stage: Stage) -> int:
        if stage.straight is None:
            return send(self.session, writing.insert(stage)).rowcount
        inserted = writing.insert_straight(stage, stage.straight)
        if self.way is TriggerWay.SESSION:
            for key in self._keys_from(stage):
                lock_parents(stage, key)
        return inserted

    def _check_what_others_refer_to(self, busy: Sequence[Stage], restore: KeptRestore) -> None:
        """Check the foreign keys that PostgreSQL has not checked, once all is written."""
        if self.way is not TriggerWay.SESSION:
            return
        conflicts: list[RestoreConflict] = []
        for stage in busy:
            for key in self._keys_from(stage):
                conflicts += orphans(stage, key, {})
            for key in self._keys_to(stage):
                conflicts += writing.left_alone(stage, key, restore)
        if conflicts:
            raise ConflictsError(conflicts)

    def _cautions(self, busy: Sequence[Stage]) -> Iterator[Caution]:
        """Warn of rows that are not as they were written: a trigger was at work."""
        for stage in busy:
            if not stage.live.triggers or stage.straight is not None:
                continue
            keys = list(writing.changed_by_triggers(stage))
            if keys:
                named = ", ".join(map(shown_key, keys[:_NAMED])) + (", ..." if len(keys) > _NAMED else "")
                table = f"{stage.relation.schema}.{stage.relation.name}"
                yield Caution(
                    "changed_by_triggers", f"Triggers changed rows of {table} that were brought back: {named}."
                )


def _vanished(rows: int) -> Caution:
    return Caution(
        "deleted_meanwhile",
        f"{rows} of the rows that had changed were deleted by others meanwhile, and were left so. "
        "To bring them back, run the command again.",
    )
