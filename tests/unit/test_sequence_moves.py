from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapkit.core.carrying.sequence_moves import AHEAD, LEAST, Move, Sequence, behind, moves, paired

MINUTE = timedelta(minutes=1)
RISING = Sequence(1, "public", "orders_id_seq", 100, 1, 1, 2**63 - 1, 1)
FALLING = Sequence(2, "public", "below", -100, -1, -(2**63), -1, -1)


def moved(own: Sequence, live: Sequence, earlier: Sequence | None = None, over: timedelta = MINUTE) -> int | None:
    found = moves([(own, live)], [([earlier], over)] if earlier else [])
    return found[0].value if found else None


@pytest.mark.parametrize(
    ("own", "live", "earlier", "expected"),
    [
        (RISING, replace(RISING, value=500), None, 500 + LEAST),
        (RISING, replace(RISING, value=7100), RISING, 7100 + 70_000),  # 7,000 in a minute: ten minutes of that
        (RISING, replace(RISING, value=None), None, 100 + LEAST),
        (replace(RISING, value=None), replace(RISING, value=None), None, 1 + LEAST),
        (RISING, replace(RISING, value=100), replace(RISING, value=None), 100 + LEAST),
        (replace(RISING, increment=10), replace(RISING, value=500, increment=10), None, 500 + 10 * LEAST),
        (FALLING, replace(FALLING, value=-500), None, -500 - LEAST),
        (FALLING, replace(FALLING, value=-7100), FALLING, -7100 - 70_000),
        # Not beyond what it may give out: also where it would begin anew.
        (replace(RISING, greatest=1200), replace(RISING, value=500), None, 1200),
        (replace(RISING, greatest=100), replace(RISING, value=100), None, None),
        (replace(FALLING, least=-200), replace(FALLING, value=-150), None, -200),
        # It was set beyond that already, or cannot be read.
        (replace(RISING, value=9000), replace(RISING, value=500), None, None),
        (RISING, replace(RISING, value=500, readable=False), None, None),
        # It went backwards.
        (RISING, replace(RISING, value=50), RISING, 50 + LEAST),
    ],
)
def test_how_far_a_sequence_is_moved(
    own: Sequence, live: Sequence, earlier: Sequence | None, expected: int | None
) -> None:
    assert moved(own, live, earlier) == expected


def test_without_time_there_is_no_rate() -> None:
    assert moved(RISING, replace(RISING, value=7100), RISING, timedelta(0)) == 7100 + LEAST


def test_the_fastest_rate_counts() -> None:
    live = replace(RISING, value=7100)
    looks = [([RISING], 10 * MINUTE), ([RISING], MINUTE), ([], MINUTE)]
    assert [each.value for each in moves([(RISING, live)], looks)] == [7100 + 70_000]


@given(
    st.integers(-(2**31), 2**31),
    st.integers(-(2**31), 2**31),
    st.sampled_from((1, 7, -1, -3)),
    st.integers(0, LEAST - 1),
)
def test_nobody_meets_a_value_of_the_displaced_database(own: int, live: int, step: int, more: int) -> None:
    one = Sequence(1, "public", "s", own, step, -(2**63), 2**63 - 1, 1)
    other = replace(one, value=live)
    value = moved(one, other)
    begins = own if value is None else value
    last = replace(other, value=live + more * step)
    if value is not None:
        assert not behind([Move(1, "public", "s", value, 1)], [last])
    assert (begins - (last.value or 0)) * step >= 0


def test_ten_minutes_are_ten_minutes() -> None:
    assert timedelta(minutes=10) == AHEAD


def test_a_sequence_that_was_overtaken_is_named() -> None:
    move = Move(1, "public", "s", 1000, 5)
    at = replace(RISING, oid=5)
    assert behind([move], [replace(at, value=1001)]) == [move]
    assert behind([move], [replace(at, value=1000)]) == []
    assert behind([move], [replace(at, value=None)]) == []
    assert behind([move], []) == []


def test_a_sequence_not_used_yet_begins_at_its_start() -> None:
    assert not replace(RISING, value=None).is_past(1)
    assert replace(RISING, value=None, start=50).is_past(40)
    assert replace(FALLING, value=None, start=-50).is_past(-40)


def test_sequences_pair_by_what_a_clone_shares() -> None:
    renamed = replace(RISING, name="sales_id_seq", value=500)
    another = replace(RISING, oid=9, value=7)
    assert paired([RISING], [another, renamed], related=True) == [(RISING, renamed)]
    assert paired([RISING], [another, renamed], related=False) == [(RISING, another)]
    assert paired([RISING], [another], related=True) == [(RISING, another)]
    assert paired([RISING], [], related=True) == []
