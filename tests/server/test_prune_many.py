"""Prune that drops many: it says where it is, can be interrupted between two drops, and is taken up again."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from snapkit.core.inventory.retention import Policy
from snapkit.core.reporting import Progress
from snapkit.services.prune import choose_by_policy, remove
from tests.crash.stage import url_through
from tests.gate import Action, Gate, Link, Phase, Point
from tests.sandbox import LOCK_WAIT, Ran, Sandbox, command_environment, wait_until

pytestmark = pytest.mark.any_version

NOTE = "This drop is finished first. Ctrl-C again interrupts it;"


def _invalid(sandbox: Sandbox) -> list[str]:
    return [name for name in sandbox.databases() if sandbox.row(name)["datconnlimit"] == -2]


@contextmanager
def _stopped_at_drop(
    sandbox: Sandbox, number: int, tmp_path: Path, act: Callable[[subprocess.Popen[bytes], Path], None], *words: str
) -> Iterator[Ran]:
    """Run prune; when the server has answered the ``number``-th DROP, and snapkit does not know, do something."""
    drops = 0
    started = threading.Event()
    problems: list[BaseException] = []

    def stops(point: Point) -> Phase | None:
        nonlocal drops
        drops += point.label.startswith("DROP DATABASE")
        return Phase.AFTER if point.label.startswith("DROP DATABASE") and drops == number else None

    def interrupt(link: Link, point: Point) -> Action:
        started.wait(60)
        try:
            act(process, err)
        except BaseException as problem:
            problems.append(problem)
        return Action.GO

    out, err = tmp_path / "out", tmp_path / "err"
    gate = Gate(sandbox.cluster.port, stops, interrupt)
    try:
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "snapkit", "prune", "--keep", "1", *words],
                env=command_environment(url_through(gate, sandbox.name)),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
            )
            started.set()
            code = process.wait(120)
    finally:
        gate.close()
    assert not problems, problems
    yield Ran(code, out.read_text(), err.read_text())


def _ctrl_c_once(process: subprocess.Popen[bytes], err: Path) -> None:
    process.send_signal(signal.SIGINT)
    wait_until(lambda: NOTE in err.read_text())


def _ctrl_c_twice(process: subprocess.Popen[bytes], err: Path) -> None:
    _ctrl_c_once(process, err)
    process.send_signal(signal.SIGINT)
    process.wait(60)


def test_ctrl_c_ends_it_after_the_drop_that_is_under_way(sandbox: Sandbox, tmp_path: Path) -> None:
    names = [sandbox.back_up().backup.name for _ in range(5)]
    with _stopped_at_drop(sandbox, 2, tmp_path, _ctrl_c_once) as ran:
        assert ran.code == 130
        assert "Traceback" not in ran.err
        said = " ".join(ran.err.split())
        assert f"Certainly dropped: {names[3]}, {names[2]}. Still to be dropped: 2." in said
        assert "Run the same command again" in said
        assert sandbox.databases() == [sandbox.name, *names[:2], names[4]]
        assert _invalid(sandbox) == []
    again = sandbox.run("prune", "--keep", "1")
    assert again.code == 0
    assert sandbox.databases() == [sandbox.name, names[4]]


def test_a_second_ctrl_c_cuts_the_drop_short(sandbox: Sandbox, tmp_path: Path) -> None:
    names = [sandbox.back_up().backup.name for _ in range(3)]
    with _stopped_at_drop(sandbox, 1, tmp_path, _ctrl_c_twice) as ran:
        assert ran.code == 130
        assert "Traceback" not in ran.err
        assert "Certainly dropped: nothing. Still to be dropped: 2. To see what was in progress" in " ".join(
            ran.err.split()
        )
    assert sandbox.run("prune", "--keep", "1").code == 0
    assert sandbox.databases() == [sandbox.name, names[2]]


def test_ctrl_c_during_the_last_drop_comes_too_late_to_matter(sandbox: Sandbox, tmp_path: Path) -> None:
    names = [sandbox.back_up().backup.name for _ in range(3)]
    with _stopped_at_drop(sandbox, 2, tmp_path, _ctrl_c_once) as ran:
        assert ran.code == 0
        assert "2 databases dropped" in ran.out
    assert sandbox.databases() == [sandbox.name, names[2]]


def test_each_drop_says_which_one_it_is_and_of_how_many(sandbox: Sandbox) -> None:
    names = [sandbox.back_up().backup.name for _ in range(4)]
    told: list[Progress] = []
    remove(sandbox.server(), choose_by_policy(Policy(last=1), sandbox.name), LOCK_WAIT, observe=told.append)
    assert [progress.phase for progress in told] == [
        f"Dropping {number} of 3: {name}" for number, name in enumerate(names[2::-1], 1)
    ]
    assert [(progress.done, progress.total) for progress in told] == [(0, 3), (1, 3), (2, 3)]


@pytest.mark.parametrize("words", [(), ("--quiet",), ("--json",)])
def test_a_short_run_says_nothing_in_a_pipe(sandbox: Sandbox, words: tuple[str, ...]) -> None:
    for _ in range(2):
        sandbox.back_up()
    ran = sandbox.run("prune", "--keep", "1", *words)
    assert (ran.code, ran.err) == (0, "")
