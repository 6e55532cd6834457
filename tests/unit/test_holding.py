from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import timedelta

import pytest

from snapkit.cli.format import progress_text
from snapkit.core.estimates import Pace, expected_duration, is_brief, share_done
from snapkit.core.holding import DOOR_GRACE, HoldRules, blocks_were_shared
from snapkit.core.model import Entry, Progress, Strategy
from tests.unit.builders import AT, make_entry, make_metadata

SECOND = timedelta(seconds=1)
MB, GB = 10**6, 10**9


@pytest.mark.parametrize(
    ("rules", "at_the_door", "before"),
    [
        (HoldRules(), SECOND, timedelta(0)),
        (HoldRules(grace=timedelta(0)), timedelta(0), timedelta(0)),
        (HoldRules(grace=60 * SECOND), DOOR_GRACE, 60 * SECOND - DOOR_GRACE),
        (HoldRules(grace=60 * SECOND, limit=SECOND), SECOND / 2, 59.5 * SECOND),
        (HoldRules(grace=SECOND, limit=60 * SECOND), SECOND, timedelta(0)),
        (HoldRules(disconnect=False, grace=60 * SECOND), DOOR_GRACE, timedelta(0)),
    ],
)
def test_a_grace_is_spent_at_the_door_as_far_as_that_can_be_held(
    rules: HoldRules, at_the_door: timedelta, before: timedelta
) -> None:
    assert rules.grace_at_the_door == at_the_door
    assert rules.grace_before == before


@pytest.mark.parametrize(
    ("rules", "held", "rest"),
    [
        (HoldRules(), SECOND / 4, HoldRules(grace=0.75 * SECOND)),
        (HoldRules(), 2 * SECOND, HoldRules(grace=timedelta(0))),
        (HoldRules(limit=4 * SECOND), SECOND, HoldRules(grace=timedelta(0), limit=3 * SECOND)),
        (HoldRules(limit=SECOND), 2 * SECOND, HoldRules(grace=timedelta(0), limit=SECOND / 1000)),
        (HoldRules(disconnect=False), SECOND, HoldRules(disconnect=False, grace=timedelta(0))),
    ],
)
def test_who_has_waited_at_a_pooler_has_waited_already(rules: HoldRules, held: timedelta, rest: HoldRules) -> None:
    assert rules.begun(held) == rest


@pytest.mark.parametrize(
    ("limit", "held", "left"),
    [
        (None, SECOND, None),
        (2 * SECOND, timedelta(0), 2 * SECOND),
        (2 * SECOND, 0.5 * SECOND, 1.5 * SECOND),
        (2 * SECOND, 3 * SECOND, SECOND / 1000),
    ],
)
def test_what_is_left_of_a_limit_is_never_nothing_which_would_be_none(
    limit: timedelta | None, held: timedelta, left: timedelta | None
) -> None:
    assert HoldRules(limit=limit).left(held) == left


def test_an_outage_beyond_the_limit_is_told() -> None:
    rules = HoldRules(limit=2 * SECOND)
    assert rules.exceeded(2 * SECOND) == HoldRules().exceeded(60 * SECOND) == ()
    (caution,) = rules.exceeded(2.05 * SECOND)
    assert (caution.code, "2.0 s" in caution.message) == ("outage_exceeded", True)


@pytest.mark.parametrize(
    ("strategy", "size", "copying", "expected"),
    [
        (Strategy.CLONE, 2 * GB, 0.3 * SECOND, True),
        (Strategy.CLONE, 2 * GB, 4 * SECOND, False),
        (Strategy.CLONE, 2 * GB, SECOND, None),
        (Strategy.CLONE, 2 * GB, 2.5 * SECOND, None),
        (Strategy.CLONE, 300 * MB, 0.6 * SECOND, None),
        (Strategy.CLONE, 10 * MB, 4 * SECOND, None),
        (Strategy.CLONE, 2 * GB, timedelta(0), None),
        (Strategy.CLONE, None, SECOND, None),
        (Strategy.FILE_COPY, 2 * GB, 4 * SECOND, None),
    ],
)
def test_whether_blocks_were_shared_shows_in_the_time(
    strategy: Strategy, size: int | None, copying: timedelta, expected: bool | None
) -> None:
    assert blocks_were_shared(strategy, size, copying) is expected


def measured(source: str, size: int | None, milliseconds: int | None, *, later: int = 0, **more: object) -> Entry:
    at = AT + later * SECOND
    metadata = replace(make_metadata(source, at=at), strategy=Strategy.CLONE, clone_bytes=size, clone_ms=milliseconds)
    return make_entry(f"{source}_backup", source=source, at=at, metadata=replace(metadata, **more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([], None),
        ([measured("app", GB, 1000)], 2 * SECOND),
        ([measured("app", GB, 1000), measured("app", GB, 500, later=1)], SECOND),
        ([measured("app", GB, 1000), measured("shop", GB, 500, later=1)], 2 * SECOND),
        ([measured("shop", GB, 500)], SECOND),
        ([measured("shop", MB, 500)], None),
        ([measured("app", MB, 500)], 1000 * SECOND),
        ([measured("app", GB, 0)], timedelta(0)),
        ([measured("app", GB, None), measured("app", None, 1), measured("app", 0, 1)], None),
        ([measured("app", GB, 1000, strategy=Strategy.FILE_COPY)], None),
        ([make_entry(managed=False)], None),
    ],
)
def test_a_copy_takes_as_long_as_the_newest_that_can_tell(entries: list[Entry], expected: timedelta | None) -> None:
    assert expected_duration(entries, "app", Strategy.CLONE, 2 * GB) == expected


@pytest.mark.parametrize(
    ("expected", "size", "brief"),
    [
        (SECOND, 100 * GB, True),
        (60 * SECOND, MB, False),
        (None, MB, True),
        (None, 2 * GB, False),
        (None, None, False),
    ],
)
def test_what_is_brief(expected: timedelta | None, size: int | None, brief: bool) -> None:
    assert is_brief(expected, size) is brief


def test_nothing_is_expected_of_an_unknown_size() -> None:
    assert expected_duration([measured("app", GB, 1000)], "app", Strategy.CLONE, None) is None


@pytest.mark.parametrize(
    ("progress", "rate", "remaining"),
    [
        (Progress("Cloning", SECOND), None, None),
        (Progress("Cloning", SECOND, 0, 100), None, None),
        (Progress("Cloning", timedelta(0), 10, 100), None, None),
        (Progress("Cloning", 2 * SECOND, 50, 100), 25.0, 2 * SECOND),
        (Progress("Cloning", 2 * SECOND, 150, 100), 75.0, None),
        (Progress("Cloning", 2 * SECOND, 50), 25.0, None),
        (Progress("Cloning", 2 * SECOND, 50, 100, pace=10.0), 25.0, 5 * SECOND),
        (Progress("Cloning", 2 * SECOND, 99, 100, is_estimate=True, is_late=True), 49.5, None),
    ],
)
def test_the_rate_so_far_tells_how_long_the_rest_takes(
    progress: Progress, rate: float | None, remaining: timedelta | None
) -> None:
    assert progress.rate == rate
    assert progress.remaining == remaining


def test_what_is_left_counts_down_on_a_disk_that_is_slow_after_a_fast_beginning() -> None:
    """A second of memory at 2 GB/s, then a disk at 100 MB/s that stands still for four seconds at a time."""
    pace, total, left = Pace(), 4000, []
    for tick in range(4, 200):
        seconds = tick / 4
        on_disk = max(0.0, seconds - 1.0)
        done = min(2000.0, seconds * 2000) + 100 * (on_disk // 4 * 4 if on_disk >= 4 else on_disk)
        of_late = pace.see(timedelta(seconds=seconds), round(done))
        left.append(Progress("Cloning", timedelta(seconds=seconds), round(done), total, pace=of_late).remaining)
    known = [each for each in left if each is not None]
    settled = known[len(known) // 3 :]
    assert all(later <= earlier for earlier, later in itertools.pairwise(settled))
    assert timedelta(seconds=5) < settled[0] < timedelta(seconds=25)


def test_while_nothing_moves_what_is_left_stays() -> None:
    pace = Pace()
    assert pace.see(timedelta(0), 0) is None
    assert pace.see(SECOND, 50) == 50.0
    assert [pace.see(each * SECOND, 50) for each in range(2, 60)] == [50.0] * 58


def test_what_takes_longer_than_the_last_time_is_said_to() -> None:
    assert share_done(SECOND, 2 * SECOND) == (0.5, False)
    assert share_done(3 * SECOND, 2 * SECOND) == (0.99, True)
    assert share_done(SECOND, timedelta(0)) == (0.99, True)
    late = Progress("Cloning", 3 * SECOND, 99, 100, is_estimate=True, is_late=True)
    assert progress_text(late) == "about 99 bytes of 100 bytes, longer than the last time"
