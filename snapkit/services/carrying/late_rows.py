"""Bring late rows into the live database: one transaction, while clients work, and nothing that would be a guess.

Rows are written some at a time. If PostgreSQL refuses some, halves of them are tried, down to the single row. A row
that cannot be written yet, since its parent is still to come or a unique value is still to go, is tried again as long
as others can be written.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import field
from graphlib import CycleError, TopologicalSorter
from itertools import groupby

from snapkit.core.carrying.carried import CarriedTable, LeftAside, RowConflict
from snapkit.core.carrying.three_versions import OWN, Action, Decision, Fit, Values, fit
from snapkit.core.comparison.row_changes import Change
from snapkit.core.comparison.writes import Rows
from snapkit.core.values import dataclass
from snapkit.postgres.carrying.foreign_keys import ForeignKey, with_children, without_parent
from snapkit.postgres.carrying.live_rows import LiveTable, delete_rows, insert_rows, locked_rows, update_rows
from snapkit.postgres.carrying.refusals import Refusal, refusable
from snapkit.postgres.connection.server import Connection

MOST_NAMED = 1000
"""Conflicts that are named one by one; the others are counted."""


@dataclass(frozen=True, slots=True)
class LateRow:
    """A row that clients wrote late: as the backup has it, as it is in the displaced database, and what is to be done.

    ``key`` are the values by which it is recognised.
    """

    key: tuple[str, ...]
    backup: Values | None
    now: Values | None
    decision: Decision


@dataclass(frozen=True, slots=True)
class LateTable:
    """A table of the live database, with its late rows, some at a time; they can be read as often as you like."""

    oid: int
    table: LiveTable
    rows: Callable[[], Iterator[Sequence[LateRow]]] = field(hash=False)


_Refused = tuple[LateRow, str]

_COUNTED = {Action.INSERT: Change.INSERTED, Action.UPDATE: Change.UPDATED, Action.DELETE: Change.DELETED}


class Carrier:
    """One transaction in the live database. ``triggers_off``: nothing but we check foreign keys then."""

    def __init__(self, live: Connection, keys: Sequence[ForeignKey], *, triggers_off: bool) -> None:
        self._live = live
        self._keys = keys
        self._triggers_off = triggers_off
        self._written: dict[int, Counter[Action]] = defaultdict(Counter)
        self._merged: dict[int, list[str]] = defaultdict(list)
        self._left: dict[tuple[int, str], Counter[Action]] = defaultdict(Counter)
        self._conflicting: dict[int, list[LateRow]] = defaultdict(list)
        self.conflicts: list[RowConflict] = []
        self.number_of_conflicts = 0

    def carry(self, tables: Sequence[LateTable]) -> None:
        """Write what can be written, and note the rest."""
        ordered = list(in_order(tables, self._keys))
        waiting = self._round(ordered, lambda late: late.rows())
        tables_of = {late.oid: late for late in ordered}
        while waiting:
            rows: dict[int, list[LateRow]] = defaultdict(list)
            for oid, row, _ in waiting:
                rows[oid].append(row)
            still = self._round(ordered, lambda late, rows=rows: iter([rows[late.oid]]))
            if len(still) == len(waiting):
                break
            waiting = still
        for oid, row, reason in waiting:
            self._conflict(tables_of[oid], row, reason)

    def _round(
        self, ordered: Sequence[LateTable], rows: Callable[[LateTable], Iterator[Sequence[LateRow]]]
    ) -> list[tuple[int, LateRow, str]]:
        """Go through all rows once, parents first, deletions at the end and children first; return what is to wait."""
        waiting: list[tuple[int, LateRow, str]] = []
        for late in ordered:
            for some in rows(late):
                waiting += [(late.oid, *each) for each in self._some(late, some, (Action.INSERT, Action.UPDATE))]
        for late in reversed(ordered):
            for some in rows(late):
                waiting += [(late.oid, *each) for each in self._some(late, some, (Action.DELETE,))]
        return waiting

    def _some(self, late: LateTable, rows: Sequence[LateRow], actions: Sequence[Action]) -> list[_Refused]:
        for row in rows:
            if Action.DELETE in actions:
                break  # counted in the first pass
            if row.decision.action is Action.LEAVE:
                self._left[late.oid, row.decision.reason or OWN][_change_of(row)] += 1
            elif row.decision.action is Action.CONFLICT:
                self._conflict(late, row, row.decision.reason or OWN)
        refused: list[_Refused] = []
        for action in actions:
            refused += self._write(late, [row for row in rows if row.decision.action is action])
        return refused
