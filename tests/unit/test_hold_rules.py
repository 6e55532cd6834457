"""How long clients may be held."""

from __future__ import annotations

from datetime import timedelta

import pytest

from snapkit.core.outage.hold_rules import DOOR_GRACE, HoldRules
from tests.unit.builders import SECOND


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
