"""Which rows were written late, table by table: the backup and the displaced database are compared, both sealed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

from snapkit.core.carrying.carried import LeftAside, counted
from snapkit.core.carrying.three_versions import Values, decide
from snapkit.core.comparison.lineage import Kinship
from snapkit.core.comparison.pairing import pair_tables
from snapkit.core.comparison.row_changes import Method, Pair
from snapkit.core.values import dataclass
from snapkit.postgres.carrying.live_rows import WrittenTable
from snapkit.postgres.comparison.relations import relations
from snapkit.services.carrying.judged_rows import JudgedRows
from snapkit.services.carrying.knowledge import Knowledge
from snapkit.services.carrying.late_rows import LateRow, LateTable
from snapkit.services.comparison.changed_rows import ChangedRows
from snapkit.services.comparison.rows import compare_rows
from snapkit.services.comparison.sides import Sides
from snapkit.services.comparison.values import RowValues, values_of

_BATCH = 1000
"""Rows that are written at once."""

_NO_KEY = "it has no key, so that a row cannot be told from another"
_NEW = "the backup has no such table"
_GONE = "it was dropped"


@dataclass(frozen=True, slots=True)
class Late:
    """Tables with late rows, and those of which nothing is brought along."""

    tables: tuple[LateTable, ...]
    left: tuple[LeftAside, ...]


def find_late_rows(sides: Sides, kinship: Kinship, knowledge: Knowledge, step: Callable[[str], None]) -> Late:
    """Compare all tables of a backup (``before``) with those of the displaced database (``after``).

    ``step`` is told which table is next.
    """
    tables: list[LateTable] = []
    left: list[LeftAside] = []
    for pair in pair_tables(relations(sides.before), relations(sides.after), related=kinship.proved):
        if pair.shown.kind not in ("r", "p"):
            continue
        if pair.reason is not None:  # such as one that this role may not read, nor lock
            left.append(LeftAside(pair.shown.schema, pair.shown.name, None, pair.reason))
            continue
        step(f"{pair.shown.schema}.{pair.shown.name}")
        with sides.snapshot(pair.before, pair.after) as as_of:
            changes = compare_rows(sides, pair, kinship, lambda blocks: None, as_of)
        reason = _why_not(pair, changes, knowledge)
        if reason is None:
            table = _written_table(pair)
            judged = _judge(sides, pair, changes, knowledge)
            tables.append(LateTable(table, judged.read))
            left += [LeftAside(table.schema, table.name, counted(rows), why) for why, rows in judged.left.items()]
        elif changes.method is Method.NOT_COMPARED:
            left.append(LeftAside(pair.shown.schema, pair.shown.name, None, reason))
        elif changes.counts.total:
            left.append(LeftAside(pair.shown.schema, pair.shown.name, changes.counts, reason))
    return Late(tuple(tables), tuple(left))


def _why_not(pair: Pair, changes: ChangedRows, knowledge: Knowledge) -> str | None:
    """Return why nothing of a table is brought along; None if that is decided row by row."""
    if changes.method is Method.NOT_COMPARED:
        return changes.reason or "it could not be compared"
    if pair.before is None:
        return _NEW
    if pair.after is None:
        return _GONE
    if pair.key is None or any(before.generated for before, _ in pair.key):
        return _NO_KEY
    return knowledge.lacking(pair)


def _written_columns(pair: Pair) -> list[int]:
    return [place for place, (before, _) in enumerate(pair.columns) if not before.generated]


def _written_table(pair: Pair) -> WrittenTable:
    assert pair.before is not None and pair.key is not None  # noqa: S101 - the caller has looked
    return WrittenTable(
        pair.before.oid,
        pair.before.schema,
        pair.before.name,
        tuple(pair.columns[place][0].name for place in _written_columns(pair)),
        tuple(before.name for before, _ in pair.key),
        pair.before.partitioned,
        tuple(leaf.oid for leaf in pair.before.leaves if leaf.oid != pair.before.oid),
    )


def _judge(sides: Sides, pair: Pair, changes: ChangedRows, knowledge: Knowledge) -> JudgedRows:
    """Decide for all rows of a table, before anything is locked in the live database."""
    judged = JudgedRows()
    written = _written_columns(pair)
    with sides.snapshot():
        for some in batches(values_of(sides, pair, changes)):
            judged.put(_judged(pair, some, written, knowledge))
    return judged


def _judged(pair: Pair, rows: Sequence[RowValues], written: Sequence[int], knowledge: Knowledge) -> list[LateRow]:
    """Decide what is to be done with each row."""
    keys = [row.row.key or () for row in rows]

    def of(values: Values | None) -> Values | None:
        return None if values is None else tuple(values[place] for place in written)

    def noted(values: Values | None) -> Values | None:
        return None if values is None else knowledge.as_noted(values)

    found: list[LateRow] = []
    for row, key, known in zip(rows, keys, knowledge.at(pair, keys), strict=True):
        backup, now = of(row.before), of(row.after)
        boundary = replace(known, values=of(known.values))
        found.append(LateRow(key, backup, now, decide(noted(backup), boundary, noted(now))))
    return found


def batches(rows: Iterable[RowValues]) -> Iterator[list[RowValues]]:
    waiting = iter(rows)
    while some := list(islice(waiting, _BATCH)):
        yield some
