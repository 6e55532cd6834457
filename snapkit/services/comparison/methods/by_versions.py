"""Compare two tables that were once the same file by their row versions: no value is read.

Both are scanned at the same time, some blocks at a time. Where the digests differ, the versions are listed at once, so
each block comes from the disk once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from secrets import randbits

from snapkit.core.comparison.row_changes import Leaf
from snapkit.core.comparison.versions import only_in_one
from snapkit.postgres.comparison.versions import LAST, Blocks, digest, versions
from snapkit.services.comparison.sides import Sides

RANGE = 2048
"""Blocks that are read at once: 16 MB, and some hundred thousand rows at most."""

Step = Callable[[int], None]
"""Is called with the number of blocks that have been compared since the last call."""

Differing = tuple[bytes, bytes]
"""The tids of versions that only one side has: before, after; see ``core.comparison.tids``."""


def by_versions(sides: Sides, before: Leaf, after: Leaf, step: Step) -> Iterator[Differing]:
    """Yield the places of the versions that only one side has, some blocks at a time."""
    seed = randbits(62)
    end = max(before.blocks, after.blocks)
    expected = False
    for first in range(0, end, RANGE):
        last = min(first + RANGE, end)
        blocks = first, last if last < end else LAST
        if expected or _differ(sides, before, after, blocks, seed):
            found = listed(sides, before, after, [blocks])
            # Mostly, what has changed lies close together, or everywhere.
            expected = any(found)
            if expected:
                yield found
        step(last - first)


def _differ(sides: Sides, before: Leaf, after: Leaf, blocks: Blocks, seed: int) -> bool:
    one, other = sides.both(
        lambda connection: digest(connection, _name(before), blocks, seed),
        lambda connection: digest(connection, _name(after), blocks, seed),
    )
    return one != other


def listed(sides: Sides, before: Leaf, after: Leaf, runs: Sequence[Blocks]) -> Differing:
    """Return the places of the versions in these blocks that only one side has."""
    one, other = sides.both(
        lambda connection: versions(connection, _name(before), runs),
        lambda connection: versions(connection, _name(after), runs),
    )
    return only_in_one(one, other)


def _name(leaf: Leaf) -> tuple[str, str]:
    return leaf.schema, leaf.name
