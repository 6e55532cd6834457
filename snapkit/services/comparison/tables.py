"""Compare tables one after the other, each in a snapshot of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import islice
from time import monotonic

from snapkit.core.comparison.differences import ChangedTable, ShownRow
from snapkit.core.comparison.lineage import Kinship
from snapkit.core.comparison.row_changes import Method, Pair, RowChanges
from snapkit.core.reporting import Observe, Progress
from snapkit.core.values import dataclass
from snapkit.errors import NOTHING_CHANGED
from snapkit.postgres.connection.sqlstates import (
    LOCK_NOT_AVAILABLE,
    SERVER_ERRORS,
    is_connection_loss,
    sqlstate_of,
    translate,
)
from snapkit.services.comparison.giving_way import GiveWayError, giving_way
from snapkit.services.comparison.methods.by_versions import Step
from snapkit.services.comparison.methods.by_wal_summaries import ChangedBlocks, in_best_order
from snapkit.services.comparison.rows import compare_rows
from snapkit.services.comparison.sides import Sides
from snapkit.services.comparison.values import values_of

UNDEFINED_TABLE = "42P01"
INVALID_SCHEMA_NAME = "3F000"

_BLOCK = 8192
"""Bytes of a block, as PostgreSQL is built nearly everywhere; progress alone is told by it."""


def compare_tables(
    sides: Sides, pairs: Sequence[Pair], kinship: Kinship, rows: int | None, observe: Observe
) -> tuple[ChangedTable, ...]:
    """Return the tables that differ, and those that could not be compared; those with most changed rows first.

    Up to ``rows`` of the changed rows of each are shown; None: none are.
    """
    meter = _Meter(observe, sum(map(_blocks, pairs)))
    found = []
    for pair, known in in_best_order(sides, pairs, kinship):
        comparison = _Comparison(sides, kinship, known, rows)
        table = comparison.of(pair, meter.step)
        meter.finish(_blocks(pair))
        if table.rows is None or table.rows.total:
            found.append(table)
    return most_changed_first(found)


def most_changed_first(tables: Iterable[ChangedTable]) -> tuple[ChangedTable, ...]:
    """Return the tables by how many rows changed; those that were not compared come last."""
    return tuple(sorted(tables, key=lambda each: (-(each.rows.total if each.rows else 0), each.schema, each.table)))


def _blocks(pair: Pair) -> int:
    """Both sides are read at the same time: those of the greater one."""
    return max(sum(leaf.blocks for leaf in side.leaves) for side in (pair.before, pair.after) if side)


class _Meter:
    """Tells how many blocks have been compared; it never goes back."""

    def __init__(self, observe: Observe, total: int) -> None:
        self._observe = observe
        self._began = monotonic()
        self._total = total
        self._finished = 0
        self._present = 0
        self._told = 0

    def step(self, blocks: int) -> None:
        """So many blocks more of the present table have been compared."""
        self._present += blocks
        self._tell(self._finished + self._present)

    def finish(self, blocks: int) -> None:
        """The present table is done, which was thought to have so many."""
        self._finished, self._present = self._finished + blocks, 0
        self._tell(self._finished)

    def _tell(self, blocks: int) -> None:
        done = max(min(blocks, self._total), self._told)
        self._told = done
        elapsed = timedelta(seconds=monotonic() - self._began)
        self._observe(Progress("Comparing rows", elapsed, done * _BLOCK, self._total * _BLOCK))


@dataclass(frozen=True, slots=True)
class _Comparison:
    sides: Sides
    kinship: Kinship
    known: ChangedBlocks
    rows: int | None

    def of(self, pair: Pair, step: Step) -> ChangedTable:
        """Compare a table in a snapshot; that it cannot be compared is its result, and the reason is said."""
        try:
            try:
                return self._try(pair, step)
            except GiveWayError:  # the other session has its lock now; we wait for it, as long as for any lock
                return self._try(pair, step)
        except SERVER_ERRORS as error:
            reason = _reason(error)
            if reason is None:
                raise
            return _not_compared(pair, reason)
        except GiveWayError:
            return _not_compared(pair, "other sessions wait to change it")

    def _try(self, pair: Pair, step: Step) -> ChangedTable:
        sides = self.sides
        with sides.snapshot(pair.before, pair.after) as as_of:
            polite = giving_way(sides, step)
            changes = compare_rows(sides, pair, self.kinship, polite, as_of, known=self.known)
            return _changed(sides, changes, self.rows)


def _changed(sides: Sides, changes: RowChanges, rows: int | None) -> ChangedTable:
    table = changes.pair.shown
    if changes.method is Method.NOT_COMPARED:
        return _not_compared(changes.pair, changes.reason or "")
    shown = None if rows is None else tuple(_shown(sides, changes, rows))
    return ChangedTable(table.schema, table.name, changes.counts, changes.method, changes.as_of, shown=shown)


def _shown(sides: Sides, changes: RowChanges, number: int) -> Iterator[ShownRow]:
    """Return the first of the changed rows, with their values under the columns' newest names."""
    names = [column.name for _, column in changes.pair.columns]
    keys = [column.name for _, column in changes.pair.key or ()]

    def named(texts: Sequence[str | None] | None) -> Mapping[str, str | None] | None:
        return None if texts is None else dict(zip(names, texts, strict=True))

    for each in values_of(sides, changes.pair, islice(changes, number)):
        key = None if each.row.key is None else dict(zip(keys, each.row.key, strict=True))
        yield ShownRow(each.row.change, key, named(each.before), named(each.after))


def _not_compared(pair: Pair, reason: str) -> ChangedTable:
    table = pair.shown
    return ChangedTable(table.schema, table.name, None, Method.NOT_COMPARED, reason=reason)


_NOT_OF_A_TABLE = ("53", "57", "58")
"""Classes of SQLSTATEs that are about the server: what it lacks, who intervened, its system."""

_GONE = "it was renamed, moved or dropped meanwhile"

_REASONS = {
    LOCK_NOT_AVAILABLE: "another session has locked it",
    UNDEFINED_TABLE: _GONE,
    INVALID_SCHEMA_NAME: _GONE,
}


def _reason(error: Exception) -> str | None:
    """Return why a table could not be compared, in words that follow its name; None if the error is not about it."""
    state = sqlstate_of(error)
    if state is None or is_connection_loss(error) or state[:2] in _NOT_OF_A_TABLE:
        return None
    return _REASONS.get(state) or f"reading it failed. {translate(error, NOTHING_CHANGED).message}"
