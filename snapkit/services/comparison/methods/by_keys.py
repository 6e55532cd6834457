"""Compare two tables of which nothing is known but their rows: by key, or by whole value where there is no key.

Every row is read once on both sides at the same time, and hashed in the server, which adds the hashes up by bucket of
the key's hash. Where the sums of a bucket differ, its rows are listed in a second scan, and joined.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import zip_longest
from typing import TypeVar

from snapkit.core.comparison.row_changes import Leaf, Method, Pair, Relation
from snapkit.core.comparison.tids import of_array
from snapkit.postgres.comparison.row_text import RowText
from snapkit.postgres.comparison.rows import Blocks, Buckets, Sum, listed, places, sums
from snapkit.postgres.connection.server import Connection
from snapkit.services.comparison.changed_rows import ChangedRows
from snapkit.services.comparison.collecting import AFTER, BEFORE, Collector
from snapkit.services.comparison.sides import Sides

Step = Callable[[int], None]
"""Is called with the number of blocks that have been compared since the last call."""

_SMALL = 512
"""Blocks (4 MB) up to which the rows are listed at once."""

_LISTING = 512
_SUMMING = 16384
"""Blocks that are read in one statement."""

_FEWEST, _MOST = 2**8, 2**16
"""Buckets."""

_ROWS_A_BLOCK, _ROWS_A_BUCKET = 64, 32
"""About."""


def by_keys(sides: Sides, pair: Pair, step: Step, as_of: datetime | None = None) -> ChangedRows:
    """Compare the rows of both sides, within one snapshot of each.

    Of a table of one side only all rows are inserted or deleted, and none is read.
    """
    collector = Collector(sides, pair)
    compare_leaves(sides, pair, step, collector)
    return collector.finish(Method.KEYS if pair.key else Method.VALUES, as_of)


def compare_leaves(sides: Sides, pair: Pair, step: Step, collector: Collector) -> None:
    """Feed the collector with what differs in the leaves of the pair, which may be some of those of its table."""
    if pair.before and pair.before.leaves and pair.after and pair.after.leaves:
        _compare(sides, pair, step, collector)
    else:
        _take_all(sides, pair, step, collector)


_Piece = tuple[Leaf, Blocks]


def _compare(sides: Sides, pair: Pair, step: Step, collector: Collector) -> None:
    blocks = max(_blocks(pair.before), _blocks(pair.after))
    if blocks <= _SMALL:
        _list(sides, pair, None, collector)
        step(blocks)
        return
    wished = blocks * _ROWS_A_BLOCK // _ROWS_A_BUCKET
    number = min(max(1 << wished.bit_length(), _FEWEST), _MOST)
    wanted = _differing(sides, pair, number, step)
    if any(wanted):
        _list(sides, pair, Buckets(number, wanted), collector)


def _differing(sides: Sides, pair: Pair, number: int, step: Step) -> bytes:
    """Return the buckets whose sums differ, a bit for each."""
    found: tuple[dict[int, Sum], dict[int, Sum]] = {}, {}

    def add(connection: Connection, text: RowText, piece: _Piece) -> None:
        sums_so_far = found[BEFORE if text.is_before else AFTER]
        for bucket, more in sums(connection, text, *piece, number):
            sums_so_far[bucket] = sums_so_far.get(bucket, Sum()).plus(more)

    for _, length in _piecewise(sides, pair, _SUMMING, add):
        step(length)
    wanted = bytearray(number // 8)
    for bucket in found[BEFORE].keys() | found[AFTER].keys():
        if found[BEFORE].get(bucket) != found[AFTER].get(bucket):
            wanted[bucket >> 3] |= 1 << (bucket & 7)
    return bytes(wanted)


def _list(sides: Sides, pair: Pair, buckets: Buckets | None, collector: Collector) -> None:
    def read(connection: Connection, text: RowText, piece: _Piece) -> bytes:
        return listed(connection, text, *piece, buckets)

    for some, _ in _piecewise(sides, pair, _LISTING, read):
        for side, rows in enumerate(some):
            collector.put_listed(side, rows or b"")


def _take_all(sides: Sides, pair: Pair, step: Step, collector: Collector) -> None:
    def read(connection: Connection, text: RowText, piece: _Piece) -> tuple[int, bytes]:
        leaf, blocks = piece
        return leaf.oid, of_array(places(connection, text, leaf, blocks))

    for some, length in _piecewise(sides, pair, _SUMMING, read):
        for side, rows in enumerate(some):
            if rows is not None:
                collector.put(side, *rows)
        step(length)


_T = TypeVar("_T")


def _piecewise(
    sides: Sides, pair: Pair, size: int, read: Callable[[Connection, RowText, _Piece], _T]
) -> Iterator[tuple[tuple[_T | None, _T | None], int]]:
    """Read both sides, a piece of each at the same time: what comes out, and how many blocks were read."""

    def reader(piece: _Piece | None, *, is_before: bool) -> Callable[[Connection], _T | None]:
        text = sides.text(pair, is_before=is_before)
        return lambda connection: read(connection, text, piece) if piece else None

    for before, after in zip_longest(_pieces(pair.before, size), _pieces(pair.after, size)):
        done = sides.both(reader(before, is_before=True), reader(after, is_before=False))
        yield done, max(_length(before), _length(after))


def _pieces(relation: Relation | None, size: int) -> Iterator[_Piece]:
    """The table in pieces of at most so many blocks. The last piece of a leaf goes to its end."""
    for leaf in relation.leaves if relation else ():
        starts = range(0, max(leaf.blocks, 1), size)
        for start in starts:
            yield leaf, (start, None if start == starts[-1] else start + size)


def _length(piece: _Piece | None) -> int:
    if piece is None:
        return 0
    leaf, (start, end) = piece
    return (leaf.blocks if end is None else end) - start


def _blocks(relation: Relation | None) -> int:
    return sum(leaf.blocks for leaf in relation.leaves) if relation else 0
