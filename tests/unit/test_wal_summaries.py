"""What WAL summaries tell: how far they reach, which blocks are to be read, and whether it pays off."""

from __future__ import annotations

import pytest

from snapkit.core.comparison.row_versions.wal_summaries import (
    Summary,
    Written,
    is_worth_it,
    may_ask_for_checkpoint,
    reaches,
)

MB = 1024**2


@pytest.mark.parametrize(
    ("summaries", "does"),
    [
        ([(0, 50), (50, 120)], True),
        ([(50, 120), (0, 50)], True),
        ([(0, 20), (20, 100)], True),
        ([(0, 50), (51, 120)], False),
        ([(11, 120)], False),
        ([(0, 99)], False),
        ([(0, 10), (10, 100)], True),
        ([], False),
    ],
)
def test_summaries_reach_from_start_to_end_without_a_gap(summaries: list[tuple[int, int]], does: bool) -> None:
    assert reaches([Summary(*each) for each in summaries], 10, 100) is does


def test_what_is_at_its_start_needs_no_summary() -> None:
    assert reaches([], 10, 10)


@pytest.mark.parametrize(
    ("blocks", "limit", "end", "runs"),
    [
        ([], None, 100, []),
        ([3], None, 100, [(3, 4)]),
        ([3, 4, 8, 13], None, 100, [(3, 9), (13, 14)]),
        ([3, 99, 100, 101], None, 100, [(3, 4), (99, 100)]),
        ([3, 60, 99], 50, 100, [(3, 4), (50, 100)]),
        ([3], 0, 100, [(0, 100)]),
        ([3], 100, 100, [(3, 4)]),
        ([3], 200, 100, [(3, 4)]),
        ([], None, 0, []),
    ],
)
def test_blocks_are_read_in_runs(blocks: list[int], limit: int | None, end: int, runs: list[tuple[int, int]]) -> None:
    assert list(Written(blocks, limit).runs(end)) == runs


def test_a_table_of_which_much_was_written_is_scanned() -> None:
    assert Written().is_sparse(0)
    assert Written(range(25)).is_sparse(100)
    assert not Written(range(26)).is_sparse(100)
    assert Written(range(26, 300)).is_sparse(26)
    assert Written([], 75).is_sparse(100)
    assert not Written([1], 75).is_sparse(100)


def test_a_checkpoint_is_asked_for_only_where_it_costs_less_than_a_scan() -> None:
    assert is_worth_it(4096)
    assert not is_worth_it(4095)
    assert may_ask_for_checkpoint(8 * MB, 64 * MB)
    assert not may_ask_for_checkpoint(9 * MB, 64 * MB)
    assert may_ask_for_checkpoint(256 * MB, 10**13)
    assert not may_ask_for_checkpoint(257 * MB, 10**13)
