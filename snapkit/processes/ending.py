"""Ending a program together with all that it has started: its process group."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress

GRACE = 5.0
"""Seconds that a program which is told to end (SIGTERM) has, before it is killed."""


def signal_group(group: int, number: signal.Signals) -> None:
    """Send a signal to a process group. A group that is gone, or is another user's, is left alone."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def end_group(process: subprocess.Popen[bytes], wait: Callable[[float], object]) -> None:
    """End a process that leads a group of its own, and the group with it.

    All get SIGTERM. ``wait`` gets the number of seconds that they have, and returns when the process has ended or they
    are over. What is left of the group then is killed.
    """
    signal_group(process.pid, signal.SIGTERM)
    try:
        wait(GRACE)
    finally:
        signal_group(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Wait for the end of a process, but no longer than so many seconds."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
