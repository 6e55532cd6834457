"""Keys and values of changed rows, as text."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from snapkit.core.comparison.row_changes import ChangedRow, Pair, Place
from snapkit.core.comparison.tids import pack, place_of
from snapkit.core.values import dataclass
from snapkit.postgres.comparison.row_text import RowText
from snapkit.postgres.comparison.rows import Columns, Texts, texts_at
from snapkit.postgres.connection.server import Connection
from snapkit.services.comparison.sides import Sides

_BATCH = 500
"""Rows whose values are read at once."""


@dataclass(frozen=True, slots=True)
class RowValues:
    """A changed row with its values as text, in the order of ``Pair.columns``; None on a side where there is no row."""

    row: ChangedRow
    before: Texts | None
    after: Texts | None


def values_of(sides: Sides, pair: Pair, rows: Iterable[ChangedRow]) -> Iterator[RowValues]:
    """Read the values of changed rows, in the snapshot in which they were found. TOASTed ones are read whole."""
    waiting = iter(rows)
    while some := list(islice(waiting, _BATCH)):
        before, after = _both_texts(sides, pair, pair.columns, some)
        for row in some:
            yield RowValues(row, before.get(row.before), after.get(row.after))


def keys_of(sides: Sides, pair: Pair, rows: Sequence[ChangedRow]) -> Iterator[ChangedRow]:
    """Give changed rows their keys: those of the newer side. Without a key they stay as they are."""
    if pair.key is None:
        yield from rows
        return
    newest = [row._replace(before=None) if row.after else row for row in rows]
    before, after = _both_texts(sides, pair, pair.key, newest)
    for row in rows:
        key = after[row.after] if row.after else before[row.before]
        yield row._replace(key=tuple(text or "" for text in key))  # no column of a key holds NULL


_At = dict[Place | None, Texts]


def _both_texts(sides: Sides, pair: Pair, columns: Columns, rows: Sequence[ChangedRow]) -> tuple[_At, _At]:
    before = [row.before for row in rows if row.before]
    after = [row.after for row in rows if row.after]
    return sides.both(
        lambda connection: _texts(connection, sides.text(pair, is_before=True), columns, before),
        lambda connection: _texts(connection, sides.text(pair, is_before=False), columns, after),
    )


def _texts(connection: Connection, text: RowText, columns: Columns, places: Sequence[Place]) -> _At:
    found: _At = {}
    by_leaf: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for place in places:
        by_leaf[place.leaf].append((place.block, place.line))
    for oid, at in by_leaf.items():
        for packed, texts in texts_at(connection, text, text.leaf(oid), columns, pack(at)):
            found[place_of(packed)] = texts
    return found
