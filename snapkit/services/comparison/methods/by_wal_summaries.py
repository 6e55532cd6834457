"""Compare tables that were once the same files by the blocks that WAL summaries name: only these are read.

Summaries end where the last checkpoint began. So one snapshot is taken for all tables, and then a checkpoint is asked
for: everything that the snapshot sees is in the summaries then. Where that would cost more than it saves, or the role
may not, or the summaries do not reach back far enough, all tables are scanned instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from time import sleep

from snapkit.core.comparison.lineage import Kinship
from snapkit.core.comparison.row_changes import Leaf, Pair
from snapkit.core.comparison.row_versions.wal_summaries import Written, is_worth_it, may_ask_for_checkpoint, reaches
from snapkit.core.values import dataclass
from snapkit.postgres.comparison import wal_summaries
from snapkit.postgres.comparison.versions import Blocks
from snapkit.postgres.connection.server import Connection
from snapkit.processes.deadline import Deadline
from snapkit.services.comparison.methods.by_versions import RANGE, Differing, Step, listed
from snapkit.services.comparison.sides import Sides

_PATIENCE = 3.0
"""Seconds that the summary of what a checkpoint has closed may take."""

_BLOCK = 8192
"""Bytes of a block, as PostgreSQL is built nearly everywhere; only costs are reckoned by it."""


@dataclass(frozen=True, slots=True)
class ChangedBlocks:
    """Which blocks of tables were written to since both databases were the same files, by OID and file of the leaf."""

    leaves: Mapping[tuple[int, int], Written] = field(default_factory=dict)

    def of(self, leaf: Leaf) -> Written | None:
        """Return what was written to a leaf; None: it is not known, or so much that a scan is as fast."""
        return self.leaves.get((leaf.oid, leaf.file))

    def tells(self, pair: Pair) -> bool:
        """Whether all of a table can be compared by them."""
        return pair.before is not None and all(self.of(leaf) is not None for leaf in pair.before.leaves)


NOTHING_KNOWN = ChangedBlocks()


def in_best_order(sides: Sides, pairs: Sequence[Pair], kinship: Kinship) -> Iterator[tuple[Pair, ChangedBlocks]]:
    """Yield all pairs, those first of which WAL summaries tell, with what they tell.

    For these, one snapshot is kept: compare each (``compare_rows``, in ``Sides.snapshot``) before you take the next.
    """
    told: list[Pair] = []
    candidates = [pair for pair in pairs if _may_be_told(pair)]
    if _can_tell(sides, candidates, kinship):
        with sides.common_snapshot():
            known = sides.one(lambda connection: _changed_blocks(connection, candidates, kinship), is_before=False)
            told = [pair for pair in candidates if known.tells(pair)]
            yield from ((pair, known) for pair in told)
    yield from ((pair, NOTHING_KNOWN) for pair in pairs if pair not in told)


def by_wal_summaries(sides: Sides, before: Leaf, after: Leaf, written: Written, step: Step) -> Iterator[Differing]:
    """Yield the places of the versions that only one side has, some blocks at a time."""
    end = max(before.blocks, after.blocks)
    runs: list[Blocks] = []
    number = 0
    for run in _cut(written.runs(end)):
        runs.append(run)
        number += run[1] - run[0]
        if number >= RANGE:
            yield listed(sides, before, after, runs)
            runs, number = [], 0
    if runs:
        yield listed(sides, before, after, runs)
    step(end)


def _cut(runs: Iterable[Blocks]) -> Iterator[Blocks]:
    for first, end in runs:
        for start in range(first, end, RANGE):
            yield start, min(start + RANGE, end)


def _may_be_told(pair: Pair) -> bool:
    """Whether all leaves of the pair are the same files, and changes to them are in the WAL."""
    if pair.before is None or pair.after is None or not pair.versions_tell or pair.reason is not None:
        return False
    ours, theirs = (
        {(leaf.oid, leaf.file, leaf.persistence) for leaf in side.leaves} for side in (pair.before, pair.after)
    )
    return ours == theirs and all(file and persistence == "p" for _, file, persistence in ours)


def _can_tell(sides: Sides, pairs: Sequence[Pair], kinship: Kinship) -> bool:
    blocks = sum(leaf.blocks for leaf in _leaves(pairs))
    if not kinship.proved or kinship.boundary is None or kinship.boundary.lsn is None or not is_worth_it(blocks):
        return False
    return {*sides.both(wal_summaries.own_oid)} <= {*kinship.databases} and sides.one(
        lambda connection: _is_able(connection, blocks * _BLOCK), is_before=False
    )


def _is_able(connection: Connection, bytes_to_compare: int) -> bool:
    if not wal_summaries.are_written(connection) or not wal_summaries.may_checkpoint(connection):
        return False
    return may_ask_for_checkpoint(wal_summaries.redo(connection)[1], bytes_to_compare)


def _changed_blocks(connection: Connection, pairs: Sequence[Pair], kinship: Kinship) -> ChangedBlocks:
    """Ask for a checkpoint, and read which blocks were written to until then."""
    assert kinship.boundary is not None and kinship.boundary.lsn is not None  # noqa: S101 - ``_can_tell``
    start = kinship.boundary.lsn
    wal_summaries.checkpoint(connection)
    end = wal_summaries.redo(connection)[0]
    deadline = Deadline(_PATIENCE)
    while not reaches(wal_summaries.summaries(connection), start, end):
        if deadline.is_over:
            return NOTHING_KNOWN
        sleep(0.01)
    leaves = list(_leaves(pairs))
    written = wal_summaries.written(connection, kinship.databases, {leaf.file for leaf in leaves}, start)
    found = ((leaf, written.get(leaf.file, Written())) for leaf in leaves)
    return ChangedBlocks({(leaf.oid, leaf.file): each for leaf, each in found if each.is_sparse(leaf.blocks)})


def _leaves(pairs: Iterable[Pair]) -> Iterator[Leaf]:
    return (leaf for pair in pairs for side in (pair.before, pair.after) if side for leaf in side.leaves)
