"""Commands that a shell runs in the background."""

from __future__ import annotations

import os
from pathlib import Path

from snapkit.shell import run_in_shell
from tests.sandbox import wait_until


def test_exit_code_output_and_environment() -> None:
    done = run_in_shell("echo to $WHOM; echo and >&2; exit 3", {"WHOM": "you"}, 60)
    assert (done.exit_code, done.output) == (3, "to you\nand")


def test_it_reads_nothing() -> None:
    assert run_in_shell("cat", {}, 60).exit_code == 0


def test_a_signal() -> None:
    assert run_in_shell("kill -TERM $$", {}, 60).exit_code == 143


def test_only_the_end_of_much_output_is_kept() -> None:
    done = run_in_shell("seq 1000000; echo last", {}, 60)
    assert done.output.endswith("1000000\nlast")
    assert len(done.output) <= 2000
    assert done.output.split("\n")[0].isdigit()


def test_what_takes_too_long_is_ended_with_its_children(tmp_path: Path) -> None:
    note = tmp_path / "child"
    done = run_in_shell(f"sleep 600 & echo $! > {note}; wait", {}, 0.5)
    assert done.exit_code is None
    child = int(note.read_text())
    wait_until(lambda: not _lives(child))


def _lives(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def test_a_child_that_lives_on_keeps_nobody_waiting() -> None:
    done = run_in_shell("sleep 600 & echo $!", {}, 60)
    assert done.exit_code == 0
    os.kill(int(done.output), 9)
