"""What WAL summaries tell of two databases: which blocks of a table were written to since both were the same files.

https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-WAL-SUMMARY
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

_WORTH = 4096
"""Blocks (32 MB) below which a scan takes no longer than a checkpoint."""

_SCAN_INSTEAD = 4
"""If more than one block in four has changed, a scan of the whole table is as fast."""

_CHEAP_CHECKPOINT = 256 * 1024 * 1024
"""Bytes of WAL since the last checkpoint, above which snapkit does not ask for another one."""

_NEAR = 4
"""A few unchanged blocks between two changed ones are read along."""


class Summary(NamedTuple):
    """A stretch of the WAL of which there is a summary, in bytes from its beginning."""

    start: int
    end: int


def reaches(summaries: Iterable[Summary], start: int, end: int) -> bool:
    """Whether the summaries cover the WAL from ``start`` to ``end`` without a gap."""
    at = start
    for each in sorted(summaries):
        if each.start <= at < each.end:
            at = each.end
    return at >= end


def is_worth_it(blocks: int) -> bool:
    """Whether reading summaries is faster than a scan of so many blocks in either database."""
    return blocks >= _WORTH


def may_ask_for_checkpoint(wal_since: int, bytes_to_compare: int) -> bool:
    """Whether a checkpoint costs the server less than a scan.

    A checkpoint writes no more than what the WAL since the last one tells of.
    """
    return wal_since <= min(bytes_to_compare // 8, _CHEAP_CHECKPOINT)


class Written:
    """The blocks of a file that were written to, in order. From ``limit`` on all were: the file was cut off there."""

    def __init__(self, blocks: Sequence[int] = (), limit: int | None = None) -> None:
        self._blocks = blocks
        self._limit = limit

    def is_sparse(self, end: int) -> bool:
        """Whether reading just these blocks is faster than reading a table with ``end`` blocks."""
        limit = self._first_of_all(end)
        return (bisect_left(self._blocks, limit) + end - limit) * _SCAN_INSTEAD <= end

    def runs(self, end: int) -> Iterator[tuple[int, int]]:
        """Yield these blocks of a table with ``end`` blocks as runs: the first block, and the one after the last."""
        limit = self._first_of_all(end)
        first = last = None
        for block in self._blocks:
            if block >= limit:
                break
            if first is None or last is None:
                first = block
            elif block > last + _NEAR:
                yield first, last + 1
                first = block
            last = block
        if first is not None and last is not None:
            yield first, last + 1
        if limit < end:
            yield limit, end

    def _first_of_all(self, end: int) -> int:
        return end if self._limit is None else min(self._limit, end)
