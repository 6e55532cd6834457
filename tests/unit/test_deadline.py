"""Waiting, but no longer than so long."""

from __future__ import annotations

from datetime import timedelta

import pytest

from snapkit.processes import deadline as deadlines
from snapkit.processes.deadline import Deadline, wait_until


class Clock:
    """Stands for the monotonic clock, which goes on only while somebody sleeps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(deadlines, "monotonic", lambda: self.now)
        monkeypatch.setattr(deadlines, "sleep", self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.mark.parametrize("wait", [2.5, timedelta(seconds=2.5)])
def test_what_is_left_goes_down_to_nothing(clock: Clock, wait: float | timedelta) -> None:
    deadline = Deadline(wait)
    assert (deadline.left, deadline.is_over) == (2.5, False)
    clock.now += 2
    assert (deadline.left, deadline.is_over) == (0.5, False)
    clock.now += 2
    assert (deadline.left, deadline.is_over) == (0.0, True)


def test_a_condition_is_asked_until_it_holds(clock: Clock) -> None:
    assert wait_until(lambda: clock.now >= 103, 10, every=1)
    assert clock.now == 103


def test_a_condition_that_never_holds_is_asked_once_more_when_the_time_is_up(clock: Clock) -> None:
    asked = []

    def never() -> bool:
        asked.append(clock.now)
        return False

    assert not wait_until(never, 2.5, every=1)
    assert asked == [100, 101, 102, 102.5]


def test_a_condition_is_asked_once_where_there_is_no_time(clock: Clock) -> None:
    assert wait_until(lambda: True, 0, every=1)
    assert not wait_until(lambda: False, 0, every=1)
    assert clock.now == 100
