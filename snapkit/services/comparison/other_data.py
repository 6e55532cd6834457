"""Compare data that is in no table: where sequences stand, and large objects."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

from snapkit.core.comparison.differences import ChangedDefinition, ChangedTable
from snapkit.core.comparison.other_data import (
    LargeObjects,
    changed_sequences,
    pair_sequences,
    unread_sequences,
)
from snapkit.postgres.comparison.other_data import large_object_digests, large_objects_after, sequences
from snapkit.services.comparison.sides import Sides

_AT_ONCE = 500
"""Large objects."""


def compare_sequences(
    sides: Sides, *, related: bool, chosen: Collection[tuple[str, str]] | None = None
) -> tuple[tuple[ChangedDefinition, ...], tuple[ChangedTable, ...]]:
    """Return the sequences that stand elsewhere, and those that this role may not read.

    ``chosen``: only those that belong to a column of one of these tables, by schema and name.
    """
    pairs = [
        pair
        for pair in pair_sequences(*sides.both(sequences), related=related)
        if chosen is None or any(each.table in chosen for each in pair)
    ]
    return changed_sequences(pairs), unread_sequences(pairs)


def compare_large_objects(sides: Sides) -> tuple[ChangedTable, ...]:
    """Return the table of large objects if any differ, or cannot be compared. Rows are counted by object.

    Each object is read whole, on both sides at the same time, in one snapshot.
    """
    found = LargeObjects()
    with sides.snapshot() as as_of:
        last = 0
        while True:
            before, after = sides.both(partial(large_objects_after, oid=last, number=_AT_ONCE))
            if not before and not after:
                return found.changed(as_of)
            # Those that are known of both sides: where one has more than these, up to the last of them.
            ends = [each[-1] for each in (before, after) if len(each) == _AT_ONCE]
            last = min(ends, default=max(*before, *after, 0))
            oids = [oid for oid in {*before, *after} if oid <= last]
            found.compare(*sides.both(partial(large_object_digests, oids=oids)))
