"""Tasks side by side: the first that fails stops the others, and nobody is left at work."""

from __future__ import annotations

import threading

import pytest

from snapkit.postgres.copying.relay import StoppedError
from snapkit.services.copying.online.task_group import TaskGroup


def nothing() -> None:
    pass


def assert_waited(event: threading.Event) -> None:
    assert event.wait(30)


def test_all_tasks_are_run_and_a_sign_of_life_is_given() -> None:
    beats: list[None] = []
    done: list[int] = []
    TaskGroup(lambda: beats.append(None), nothing).run(lambda: done.append(1), lambda: done.append(2))
    assert sorted(done) == [1, 2]
    assert len(beats) == 1


def test_the_first_failure_stops_the_others_and_is_raised() -> None:
    group = TaskGroup(nothing, nothing)
    ended = threading.Event()

    def fail() -> None:
        raise ValueError("first")

    def last() -> None:
        while not group.stopped():
            ended.wait(0.01)
        ended.set()
        raise StoppedError

    with pytest.raises(ValueError, match="first"):
        group.run(last, fail)
    assert ended.is_set()


def test_what_does_not_look_is_cancelled_when_the_beat_fails() -> None:
    cancelled = threading.Event()

    def beat() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        TaskGroup(beat, cancelled.set).run(lambda: assert_waited(cancelled))
    assert cancelled.is_set()
