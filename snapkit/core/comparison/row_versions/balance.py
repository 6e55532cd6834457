"""What is left of two sides when versions are taken away that are known: if that is the same, nothing else differs.

Versions are told by their places (``core.comparison.tids``), with a hash of place and author. The hashes of a range of
blocks are put together by XOR, so each can be taken away again.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import reduce
from operator import xor

from snapkit.core.comparison.tids import WIDTH, unpack
from snapkit.core.values import dataclass

BEFORE, AFTER = 0, 1

_HASH = struct.Struct(">4xq")
"""An element of int8[] in the binary format: its length, and the number."""

_MOST = 200_000
"""Versions that are kept in memory."""

Marks = dict[bytes, int]
"""Places, and the hash of the version at each."""


def marks_of(tids: bytes, hashes: bytes) -> Marks:
    """Return places and hashes that came as elements of ``tid[]`` and ``int8[]``, in the same order."""
    places = (tids[at : at + WIDTH] for at in range(0, len(tids), WIDTH))
    return dict(zip(places, (mark for (mark,) in _HASH.iter_unpack(hashes)), strict=True))


@dataclass(frozen=True, slots=True)
class Tally:
    """The versions in a range of blocks on one side: how many, their hashes in one, and those that are known."""

    number: int
    hash: int
    known: Marks

    @property
    def rest(self) -> tuple[int, int]:
        """The number and the hash of those that are not known."""
        return self.number - len(self.known), reduce(xor, self.known.values(), self.hash)


Range = tuple[Tally, Tally]
"""Before and after."""


class Balance:
    """The ranges of a table that differ. ``size`` is the number of blocks of a range; the last one has no end."""

    def __init__(self, size: int, last: int) -> None:
        self._size = size
        self._last = last
        self._ranges: dict[int, Range] = {}
        self._known = 0

    def takes(self, both: Range) -> bool:
        """Whether there is room for what is known of a range."""
        return self._known + sum(len(side.known) for side in both) <= _MOST

    def put(self, number: int, both: Range) -> None:
        """Take a range. What is known of both sides alike is not taken away."""
        before, after = both
        for place in before.known.keys() & after.known.keys():
            if before.known[place] == after.known[place]:
                del before.known[place], after.known[place]
        self._ranges[number] = both
        self._known += sum(len(side.known) for side in both)

    @property
    def is_even(self) -> bool:
        """Whether nothing else differs than what is known already."""
        return all(before.rest == after.rest for before, after in self._ranges.values())

    def known(self, side: int) -> bytes:
        """Return the tids of all versions of a side that are known."""
        return b"".join(place for both in self._ranges.values() for place in both[side].known)

    def add(self, side: int, more: Marks) -> None:
        """Versions of a side have become known. Those in ranges that do not differ are passed over."""
        for (block, _), (place, mark) in zip(unpack(b"".join(more)), more.items(), strict=True):
            both = self._ranges.get(min(block // self._size, self._last))
            if both is not None:
                both[side].known.setdefault(place, mark)

    def settled(self) -> Iterator[tuple[int, tuple[bytes, bytes] | None]]:
        """Return each range: the tids of all versions that may differ; None: more differ than are known."""
        for number, (before, after) in self._ranges.items():
            is_even = before.rest == after.rest
            yield number, (b"".join(before.known), b"".join(after.known)) if is_even else None
