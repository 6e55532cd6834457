"""Compare two tables that were once the same file by their row versions: no value is read.

Both are scanned at the same time, some blocks at a time. Where the digests differ, the versions are listed at once, so
each block comes from the disk once.

Updates that lie all over a table make all digests differ, and listing all is slow. So where it can be done, recent
versions are taken first, and by their keys the versions that they have replaced. If all is the same without these,
nothing else differs. Only blocks of which that is not so are listed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from secrets import randbits

from snapkit.core.comparison.row_changes import Leaf
from snapkit.core.comparison.row_versions.balance import AFTER, BEFORE, Balance, Marks, Range
from snapkit.core.comparison.row_versions.versions import only_in_one
from snapkit.core.comparison.tids import batches
from snapkit.core.values import dataclass
from snapkit.postgres.comparison.versions import (
    LAST,
    Blocks,
    KeyColumn,
    Keys,
    Name,
    digest,
    found_by_keys,
    keys_at,
    tally,
    versions,
)
from snapkit.services.comparison.sides import Sides

RANGE = 2048
"""Blocks that are read at once: 16 MB, and some hundred thousand rows at most."""

_LOOKED_UP = 8192
"""Keys that are looked up at once."""

Step = Callable[[int], None]
"""Is called with the number of blocks that have been compared since the last call."""

Differing = tuple[bytes, bytes]
"""The tids of versions that only one side has: before, after; see ``core.comparison.tids``."""


@dataclass(frozen=True, slots=True)
class ByKey:
    """How to find recent versions, and rows by their keys.

    ``xmin`` is the XID of the oldest transaction that may have written since both were the same file; ``before`` and
    ``after`` are the columns of the key.
    """

    xmin: int
    before: tuple[KeyColumn, ...]
    after: tuple[KeyColumn, ...]


@dataclass(frozen=True, slots=True)
class _Scan:
    sides: Sides
    before: Leaf
    after: Leaf
    seed: int

    @property
    def end(self) -> int:
        return max(self.before.blocks, self.after.blocks)

    def blocks(self, number: int) -> Blocks:
        """The blocks of a range. The last one has no end."""
        first = number * RANGE
        return first, first + RANGE if first + RANGE < self.end else LAST

    def differ(self, number: int) -> bool:
        blocks, seed = self.blocks(number), self.seed
        one, other = self.sides.both(
            lambda connection: digest(connection, _name(self.before), blocks, seed),
            lambda connection: digest(connection, _name(self.after), blocks, seed),
        )
        return one != other

    def tallies(self, number: int, xmin: int) -> Range:
        blocks, seed = self.blocks(number), self.seed
        return self.sides.both(
            lambda connection: tally(connection, _name(self.before), blocks, seed, xmin),
            lambda connection: tally(connection, _name(self.after), blocks, seed, xmin),
        )

    def listed(self, number: int) -> Differing:
        return listed(self.sides, self.before, self.after, [self.blocks(number)])


def by_versions(
    sides: Sides, before: Leaf, after: Leaf, step: Step, *, by_key: ByKey | None = None
) -> Iterator[Differing]:
    """Yield the places of the versions that only one side has, and of some that both may have."""
    scan = _Scan(sides, before, after, randbits(62))
    last = max(scan.end - 1, 0) // RANGE
    balance = Balance(RANGE, last)
    expected = False
    for number in range(last + 1):
        # Mostly, what has changed lies close together, or everywhere.
        if expected or scan.differ(number):
            both = scan.tallies(number, by_key.xmin) if by_key else None
            expected = both is None or both[BEFORE] != both[AFTER]
            if expected and both is not None and balance.takes(both):
                balance.put(number, both)
            elif expected:
                found = scan.listed(number)
                expected = any(found)
                yield found
        step(min((number + 1) * RANGE, scan.end) - number * RANGE)
    if by_key is not None:
        yield from _settled(scan, balance, by_key)


def _settled(scan: _Scan, balance: Balance, by_key: ByKey) -> Iterator[Differing]:
    """Yield what differs in the ranges that wait for what the keys of recent versions tell."""
    if not balance.is_even:
        new, old = balance.known(AFTER), balance.known(BEFORE)
        for some in batches(new, _LOOKED_UP):
            balance.add(BEFORE, _replaced(scan, by_key, some, is_before=False))
        for some in batches(old, _LOOKED_UP):
            balance.add(AFTER, _replaced(scan, by_key, some, is_before=True))
    for number, found in balance.settled():
        yield scan.listed(number) if found is None else found


def _replaced(scan: _Scan, by_key: ByKey, tids: bytes, *, is_before: bool) -> Marks:
    """Return the versions on the other side that have the keys of these."""
    own, other = (scan.before, scan.after) if is_before else (scan.after, scan.before)
    columns, theirs = (by_key.before, by_key.after) if is_before else (by_key.after, by_key.before)
    names = [column for column, _ in columns]
    keys: Keys = scan.sides.one(lambda connection: keys_at(connection, _name(own), names, tids), is_before=is_before)
    return scan.sides.one(
        lambda connection: found_by_keys(connection, _name(other), theirs, keys, scan.seed), is_before=not is_before
    )


def listed(sides: Sides, before: Leaf, after: Leaf, runs: Sequence[Blocks]) -> Differing:
    """Return the places of the versions in these blocks that only one side has."""
    one, other = sides.both(
        lambda connection: versions(connection, _name(before), runs),
        lambda connection: versions(connection, _name(after), runs),
    )
    return only_in_one(one, other)


def _name(leaf: Leaf) -> Name:
    return leaf.schema, leaf.name
