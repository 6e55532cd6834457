"""A harness that hangs shows nothing."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.crash.ways import _is_seen, _is_stopped
from tests.sandbox import wait_until


@pytest.fixture
def halted() -> Iterator[int]:
    """A process that has been halted; its number."""
    with subprocess.Popen(["sleep", "600"]) as process:
        os.kill(process.pid, signal.SIGSTOP)
        wait_until(lambda: _is_stopped(process.pid))
        yield process.pid
        process.kill()


@pytest.mark.parametrize("answer", [True, False])
def test_a_process_that_is_halted_stays_so_while_others_answer(halted: int, answer: bool) -> None:
    assert _is_seen(lambda: answer, halted) == answer
    assert _is_stopped(halted)


def test_a_process_that_keeps_all_others_waiting_goes_on(halted: int) -> None:
    """As a backend does that was halted with a lightweight lock: no answer comes before it has let go of that."""

    def is_amid() -> bool:
        wait_until(lambda: not _is_stopped(halted))
        return True

    assert not _is_seen(is_amid, halted)
