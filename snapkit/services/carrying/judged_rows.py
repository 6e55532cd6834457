"""Late rows of one table, and what is to be done with them: put down while they are found, read when they are written.

So each row is read and judged once, and the transaction that writes them to the live database waits for nothing else.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from snapkit.core.carrying.three_versions import Action, Decision
from snapkit.core.comparison.row_changes import Change
from snapkit.services.carrying.late_rows import LateRow
from snapkit.services.comparison.spool import ScratchFile


class JudgedRows:
    """Rows that are to be written, and conflicts, some at a time: in memory if they are few, else in a file.

    Rows that stay aside are only counted.
    """

    def __init__(self) -> None:
        self._file = ScratchFile()
        self._runs: list[tuple[bool, int, int]] = []
        self._left: dict[str, Counter[Change]] = defaultdict(Counter)

    @property
    def left(self) -> Mapping[str, Counter[Change]]:
        """How many rows stay aside, by reason."""
        return self._left

    def put(self, rows: Sequence[LateRow]) -> None:
        for row in rows:
            if row.decision.action is Action.LEAVE:
                self._left[row.decision.reason or ""][row.change] += 1
        for deleted in (False, True):
            some = [row for row in rows if _is_to_do(row) and (row.change is Change.DELETED) == deleted]
            if some:
                packed = json.dumps([_packed(row) for row in some]).encode()
                self._runs.append((deleted, self._file.append(packed), len(packed)))

    def read(self, deleted: bool) -> Iterator[Sequence[LateRow]]:
        """Return the deleted rows, or all others, in the order in which they were put."""
        for kind, start, size in self._runs:
            if kind is deleted:
                yield [_unpacked(*row) for row in json.loads(self._file.read(start, size))]


def _is_to_do(row: LateRow) -> bool:
    return row.decision.action not in (Action.LEAVE, Action.NOTHING)


def _packed(row: LateRow) -> list[object]:
    decision = row.decision
    return [row.key, row.backup, row.now, decision.action, decision.columns, decision.merged, decision.reason]


def _unpacked(
    key: list[str],
    backup: list[str | None] | None,
    now: list[str | None] | None,
    *decided: *tuple[str, list[int], bool, str | None],
) -> LateRow:
    action, columns, merged, reason = decided
    decision = Decision(Action(action), tuple(columns), merged=merged, reason=reason)
    return LateRow(tuple(key), None if backup is None else tuple(backup), None if now is None else tuple(now), decision)
