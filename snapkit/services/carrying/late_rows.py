"""Bring late rows into the live database: in one transaction, while clients work, and nothing that would be a guess.

Rows are written some at a time. If PostgreSQL refuses some, halves of them are tried, down to the single row. A row
that cannot be written yet, since its parent is still to come or a unique value is still to go, is tried again as long
as others can be written.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import field
from itertools import groupby

from snapkit.core.carrying.carried import Carried, MergedRow, counted
from snapkit.core.carrying.three_versions import Action, Decision, Fit, Values, fit
from snapkit.core.comparison.row_changes import Change
from snapkit.core.restoring.live_table import ForeignKey, parents_first
from snapkit.core.restoring.restored import Key, RestoreConflict, RestoredTable
from snapkit.core.values import dataclass
from snapkit.postgres.carrying.foreign_keys import with_children, without_parent
from snapkit.postgres.carrying.live_rows import (
    WrittenTable,
    delete_rows,
    insert_rows,
    locked_rows,
    taking_back,
    update_rows,
)
from snapkit.postgres.carrying.refusals import RefusedRowsError
from snapkit.postgres.connection.server import Connection

MOST_NAMED = 1000
"""Conflicts, and merged rows, that are named one by one; the others are counted."""

_PARENT = "its parent row in {} is not there"
_PARENT_CONFLICTS = "its parent row in {} is a conflict"
_CHILDREN = "rows in {} refer to it"


@dataclass(frozen=True, slots=True)
class LateRow:
    """A row that may have been written late: as the backup has it, as it was displaced, and what is to be done.

    ``key`` are the values by which it is recognised.
    """

    key: tuple[str, ...]
    backup: Values | None
    now: Values | None
    decision: Decision

    @property
    def change(self) -> Change:
        """What became of it since the backup."""
        return Change.INSERTED if self.backup is None else Change.DELETED if self.now is None else Change.UPDATED


@dataclass(frozen=True, slots=True)
class LateTable:
    """A table of the live database, with its late rows, some at a time.

    ``rows`` is asked for the deleted ones, or for all others.
    """

    table: WrittenTable
    rows: Callable[[bool], Iterator[Sequence[LateRow]]] = field(hash=False)


_Refused = tuple[LateRow, str]


class Carrier:
    """Writes to the live database, in the caller's transaction. ``triggers_off``: nobody else checks foreign keys."""

    def __init__(self, live: Connection, keys: Sequence[ForeignKey], *, triggers_off: bool) -> None:
        self._live = live
        self._keys = keys
        self._triggers_off = triggers_off
        self._tables: dict[int, WrittenTable] = {}
        self._written: dict[int, Counter[Change]] = defaultdict(Counter)
        self._conflicting: dict[int, list[LateRow]] = defaultdict(list)
        self.conflicts: list[RestoreConflict] = []
        self.number_of_conflicts = 0
        self.merged: list[MergedRow] = []

    def result(self, displaced: str) -> Carried:
        """Return what was done; ``displaced`` is the name of the database that keeps the rest."""
        return Carried(displaced, self.written, tuple(self.conflicts), self.number_of_conflicts, tuple(self.merged))

    @property
    def written(self) -> tuple[RestoredTable, ...]:
        """What was written, by table."""
        return tuple(
            RestoredTable(self._tables[oid].schema, self._tables[oid].name, counted(changes))
            for oid, changes in self._written.items()
            if changes.total()
        )

    def carry(self, tables: Sequence[LateTable]) -> None:
        """Write what can be written, and note the rest. Raises what PostgreSQL says that is not about a row."""
        self._tables = {each.table.oid: each.table for each in tables}
        by_oid = {each.table.oid: each for each in tables}
        ordered = [by_oid[oid] for oid in parents_first(tuple(by_oid), self._keys)]
        waiting = self._round(ordered)
        while waiting:
            still = self._round([_again(each, waiting) for each in ordered])
            if len(still) == len(waiting):
                break
            waiting = still
        for oid, row, reason in waiting:
            self._conflict(self._tables[oid], row, reason)

    def _round(self, ordered: Sequence[LateTable]) -> list[tuple[int, LateRow, str]]:
        """Go through all rows, parents first, and then deletions, children first; return which are to wait, and why."""
        waiting: list[tuple[int, LateRow, str]] = []
        for tables, deleted in ((ordered, False), (ordered[::-1], True)):
            for late in tables:
                for rows in late.rows(deleted):
                    waiting += [(late.table.oid, *each) for each in self._some(late.table, rows)]
        return waiting

    def _some(self, table: WrittenTable, rows: Sequence[LateRow]) -> list[_Refused]:
        """Take care of some rows of a table; return which are to wait, and why."""
        for row in rows:
            decision = row.decision
            if decision.action is Action.CONFLICT:
                self._conflict(table, row, decision.reason or "")
        refused: list[_Refused] = []
        for action in (Action.INSERT, Action.UPDATE, Action.DELETE):
            chosen = [row for row in rows if row.decision.action is action]
            refused += self._write(table, chosen) if chosen else []
        return refused

    def _write(self, table: WrittenTable, rows: Sequence[LateRow]) -> list[_Refused]:
        """Write rows with one and the same action; if some are refused, try with halves."""
        try:
            with taking_back(self._live):
                written, refused = self._attempt(table, rows)
        except RefusedRowsError as refusal:
            if len(rows) == 1 or not refusal.singles:
                return [(row, refusal.reason) for row in rows]
            half = len(rows) // 2
            return self._write(table, rows[:half]) + self._write(table, rows[half:])
        for row, conflict in refused:
            if conflict.is_final:
                self._conflict(table, row, conflict.reason)
        for row in written:
            self._written[table.oid][row.change] += 1
            if row.decision.merged and len(self.merged) < MOST_NAMED:
                self.merged.append(MergedRow(table.schema, table.name, _key(table, row)))
        return [(row, conflict.reason) for row, conflict in refused if not conflict.is_final]

    def _attempt(
        self, table: WrittenTable, rows: Sequence[LateRow]
    ) -> tuple[list[LateRow], list[tuple[LateRow, _Problem]]]:
        """Return which were written, and which were not."""
        problems: dict[int, _Problem] = {}
        live = locked_rows(self._live, table, [row.key for row in rows])
        fitting = [fit(row.decision, row.backup, row.now, live.get(place)) for place, row in enumerate(rows)]
        problems |= {
            place: _Problem(found.value, is_final=True)
            for place, found in enumerate(fitting)
            if found not in (Fit.FITS, Fit.DONE)
        }
        broken = self._broken_keys(table, rows)
        problems = {place: each for place, each in broken.items() if fitting[place] is not Fit.DONE} | problems
        wanted = [row for place, row in enumerate(rows) if fitting[place] is Fit.FITS and place not in problems]
        if wanted:
            self._send(table, wanted)
        return wanted, [(rows[place], problem) for place, problem in problems.items()]

    def _send(self, table: WrittenTable, rows: Sequence[LateRow]) -> None:
        match rows[0].decision.action:
            case Action.INSERT:
                insert_rows(self._live, table, [row.now for row in rows if row.now is not None])
            case Action.DELETE:
                delete_rows(self._live, table, [row.key for row in rows])
            case _:
                by_columns = sorted(rows, key=lambda row: row.decision.columns)
                for columns, group in groupby(by_columns, lambda row: row.decision.columns):
                    values = [row.now for row in group if row.now is not None]
                    update_rows(self._live, table, values, columns)

    def _broken_keys(self, table: WrittenTable, rows: Sequence[LateRow]) -> dict[int, _Problem]:
        """Return which rows would have no parent, or have one that is a conflict, or would leave children alone."""
        problems: dict[int, _Problem] = {}
        action = rows[0].decision.action
        for key in self._keys:
            if action is not Action.DELETE and key.child == table.oid and (at := table.places(key.child_columns)):
                problems |= self._of_parents(table, key, rows, at)
            elif action is Action.DELETE and self._triggers_off and key.parent == table.oid:
                problems |= self._of_children(table, key, rows)
        return problems

    def _of_children(self, table: WrittenTable, key: ForeignKey, rows: Sequence[LateRow]) -> dict[int, _Problem]:
        at = table.places(key.parent_columns)
        if at is None:
            return {}
        found = with_children(self._live, table, key, [[(row.backup or ())[each] for each in at] for row in rows])
        return dict.fromkeys(found, _Problem(_CHILDREN.format(".".join(key.child_name))))

    def _of_parents(
        self, table: WrittenTable, key: ForeignKey, rows: Sequence[LateRow], at: Sequence[int]
    ) -> dict[int, _Problem]:
        name = ".".join(key.parent_name)
        new = {
            place: [row.now[each] for each in at]
            for place, row in enumerate(rows)
            if row.now is not None and (row.backup is None or not set(at).isdisjoint(row.decision.columns))
        }
        problems: dict[int, _Problem] = {}
        if self._triggers_off and new:
            places = list(new)
            found = without_parent(self._live, table, key, [new[place] for place in places])
            problems |= {places[each]: _Problem(_PARENT.format(name)) for each in found}
        conflicting = self._values_of_conflicts(key)
        problems |= {
            place: _Problem(_PARENT_CONFLICTS.format(name), is_final=True)
            for place, values in new.items()
            if tuple(values) in conflicting
        }
        return problems

    def _values_of_conflicts(self, key: ForeignKey) -> set[tuple[str | None, ...]]:
        """What a foreign key would refer to in the parents that are conflicts."""
        parent = self._tables.get(key.parent)
        at = parent.places(key.parent_columns) if parent else None
        if not at:
            return set()
        return {tuple(row.now[each] for each in at) for row in self._conflicting[key.parent] if row.now is not None}

    def _conflict(self, table: WrittenTable, row: LateRow, reason: str) -> None:
        self.number_of_conflicts += 1
        self._conflicting[table.oid].append(row)
        if len(self.conflicts) < MOST_NAMED:
            self.conflicts.append(RestoreConflict(table.schema, table.name, _key(table, row), reason))


@dataclass(frozen=True, slots=True)
class _Problem:
    """Why a row is not written. ``is_final``: nothing else that is written can change that."""

    reason: str
    is_final: bool = False


def _again(late: LateTable, waiting: Sequence[tuple[int, LateRow, str]]) -> LateTable:
    """Return the table with those of its rows that had to wait."""

    def rows(deleted: bool) -> Iterator[Sequence[LateRow]]:
        own = [row for oid, row, _ in waiting if oid == late.table.oid]
        yield [row for row in own if (row.decision.action is Action.DELETE) == deleted]

    return LateTable(late.table, rows)


def _key(table: WrittenTable, row: LateRow) -> Key:
    return tuple(zip(table.key, row.key, strict=True))
