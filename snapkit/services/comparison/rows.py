"""Compare the rows of a table: each of its leaves by the fastest method that proves what it says."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from snapkit.core.comparison.lineage import Kinship
from snapkit.core.comparison.pairing import pair_tables
from snapkit.core.comparison.row_changes import Leaf, Method, Pair, Relation
from snapkit.postgres.comparison.reading import is_rewritten
from snapkit.postgres.comparison.relations import relations
from snapkit.postgres.comparison.rows import can_be_found_by_keys
from snapkit.postgres.comparison.versions import StoredColumns, stored
from snapkit.postgres.connection.server import Connection
from snapkit.services.comparison.changed_rows import ChangedRows
from snapkit.services.comparison.collecting import AFTER, BEFORE, Collector
from snapkit.services.comparison.methods.by_keys import compare_leaves
from snapkit.services.comparison.methods.by_versions import ByKey, Step, by_versions
from snapkit.services.comparison.methods.by_wal_summaries import NOTHING_KNOWN, ChangedBlocks, by_wal_summaries
from snapkit.services.comparison.sides import Sides

Leaves = tuple[Leaf, Leaf]
"""A leaf on both sides."""

_GONE = "it was renamed, moved or dropped meanwhile"


def compare_rows(
    sides: Sides, pair: Pair, kinship: Kinship, step: Step, as_of: datetime, *, known: ChangedBlocks = NOTHING_KNOWN
) -> ChangedRows:
    """Compare the rows of both sides, within one snapshot of each (``Sides.snapshot``).

    ``as_of`` is the moment of the snapshot of ``after``. ``step`` is called with the number of blocks that have been
    compared since its last call. ``known`` is what WAL summaries tell of these very snapshots. A table that cannot be
    compared is a result, too (``Method.NOT_COMPARED``). Raises what the server raises.
    """
    present = _present(sides, pair, kinship)
    if present is None or present.reason is not None:
        return _not_compared(sides, pair, present.reason if present and present.reason else _GONE)
    collector = Collector(sides, present)
    same_file, rest = _divided(sides, present, kinship)
    by_key = _by_key(present, kinship)
    for before, after in same_file:
        if (written := known.of(before)) is not None:
            found = by_wal_summaries(sides, before, after, written, step)
        else:
            found = by_versions(sides, before, after, step, by_key=by_key)
        for only_before, only_after in found:
            collector.put(BEFORE, before.oid, only_before)
            collector.put(AFTER, after.oid, only_after)
    if rest is not None:
        compare_leaves(sides, rest, step, collector)
    if _is_rewritten(sides, present):
        return _not_compared(sides, pair, "it was rewritten meanwhile")
    method = Method.SUMMARIES if known.tells(present) else Method.VERSIONS
    if rest is not None:
        method = Method.KEYS if present.key else Method.VALUES
    return collector.finish(method, as_of)


def _by_key(pair: Pair, kinship: Kinship) -> ByKey | None:
    """How rows are found by the key. In a partition a column has the name that it has in the root."""
    if kinship.boundary is None or pair.key is None or not can_be_found_by_keys(pair):
        return None
    before, after = (
        tuple((column.name, column.type_name) for column in columns) for columns in zip(*pair.key, strict=True)
    )
    return ByKey(kinship.boundary.xmin, before, after)


def _is_rewritten(sides: Sides, pair: Pair) -> bool:
    def look(relation: Relation | None, connection: Connection) -> bool:
        return relation is not None and is_rewritten(connection, [leaf.oid for leaf in relation.leaves])

    return any(
        sides.both(lambda connection: look(pair.before, connection), lambda connection: look(pair.after, connection))
    )


def _not_compared(sides: Sides, pair: Pair, reason: str) -> ChangedRows:
    found = ChangedRows(sides, pair, Method.NOT_COMPARED, None)
    found.reason = reason
    return found


def _present(sides: Sides, pair: Pair, kinship: Kinship) -> Pair | None:
    """Return the pair as both snapshots see it; None if it is another one by now."""

    def read(relation: Relation | None, connection: Connection) -> list[Relation]:
        return relations(connection, [relation.oid]) if relation else []

    before, after = sides.both(
        lambda connection: read(pair.before, connection), lambda connection: read(pair.after, connection)
    )
    found = pair_tables(before, after, related=kinship.proved)
    return found[0] if [_names(each) for each in found] == [_names(pair)] else None


def _names(pair: Pair) -> list[set[tuple[int, str, str]] | None]:
    """What has been locked on either side."""
    return [_locked(side) if side else None for side in (pair.before, pair.after)]


def _locked(relation: Relation) -> set[tuple[int, str, str]]:
    leaves = {(leaf.oid, leaf.schema, leaf.name) for leaf in relation.leaves}
    return {(relation.oid, relation.schema, relation.name), *leaves}


def _divided(sides: Sides, pair: Pair, kinship: Kinship) -> tuple[list[Leaves], Pair | None]:
    """Return the leaves that are still the same file on both sides, and a pair of all others; None: there are none."""
    if pair.before is None or pair.after is None or not kinship.proved or not pair.versions_tell:
        return [], pair
    same = _same_file(sides, pair.before, pair.after)
    oids = {leaf.oid for leaf, _ in same}
    before, after = (
        replace(each, leaves=tuple(leaf for leaf in each.leaves if leaf.oid not in oids))
        for each in (pair.before, pair.after)
    )
    return same, replace(pair, before=before, after=after) if before.leaves or after.leaves else None


def _same_file(sides: Sides, before: Relation, after: Relation) -> list[Leaves]:
    theirs = {leaf.oid: leaf for leaf in after.leaves}
    leaves = [(leaf, theirs[leaf.oid]) for leaf in before.leaves if leaf.oid in theirs]
    leaves = [(one, other) for one, other in leaves if one.file and one.file == other.file]
    oids = [leaf.oid for leaf, _ in leaves]
    old, new = sides.both(lambda connection: stored(connection, oids)) if oids else ({}, {})
    return [each for each in leaves if _stored_alike(old.get(each[0].oid), new.get(each[0].oid))]


def _stored_alike(before: StoredColumns | None, after: StoredColumns | None) -> bool:
    """Whether both are heaps, and a row that is older than a column has the same in it."""
    if before is None or after is None:
        return False
    return all(before[number] == after[number] for number in before.keys() & after.keys())
