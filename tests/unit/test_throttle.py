"""A line every so often at most."""

from __future__ import annotations

from datetime import timedelta

import pytest

from snapkit.cli import throttle
from snapkit.cli.terminal import Terminal
from snapkit.core.reporting import Progress


def test_one_for_each_while_and_none_at_first() -> None:
    begun, *times = (100.0, 100.0, 109.9, 110.0, 110.1, 119.9, 150.0, 155.0, 160.0)
    clock = iter((begun, *times))
    often = throttle.Pace(timedelta(seconds=10), lambda: next(clock))
    assert [often.is_due() for _ in times] == [False, False, True, False, False, True, False, True]


def _progress(done: int, *, waits: bool = False) -> Progress:
    return Progress(f"Dropping {done + 1} of 4: app_backup", timedelta(0), done, 4, waits, unit="databases")


@pytest.mark.parametrize(
    ("every", "quiet", "expected"),
    [
        (0, False, "Dropping 1 of 4: app_backup ...\nDropping 2 of 4: app_backup ...\n"),
        (3600, False, ""),
        (0, True, ""),
    ],
)
def test_in_a_pipe(
    every: int,
    quiet: bool,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(throttle, "EVERY", timedelta(seconds=every))
    with Terminal.open(no_color=False, quiet=quiet).progress("Dropping") as observe:
        observe(_progress(0))
        observe(_progress(1))
    assert capsys.readouterr().err == expected


def test_whom_it_waits_for_is_said_at_once_and_once(capsys: pytest.CaptureFixture[str]) -> None:
    with Terminal.open(no_color=False, quiet=False).progress("Dropping") as observe:
        for _ in range(3):
            observe(Progress("Waiting for another run", timedelta(0), waits=True))
    assert capsys.readouterr().err == "Waiting for another run ...\n"


def test_where_the_size_is_unknown_there_is_no_share() -> None:
    assert throttle.line_of(Progress("Cloning app", timedelta(0))) == "Cloning app ..."
