"""Find and end what a command has left running, before the database that it works on is replaced.

An example: ``sh -c './migrate && ./deploy'`` ends at once when it is told to, but ``./migrate`` goes on.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from snapkit.processes.deadline import wait_until
from snapkit.processes.ending import GRACE, signal_group

_KILLED = 2.0
"""Seconds within which what is killed is gone, unless the kernel itself keeps it."""

_LOOK = 0.05

_PR_SET_CHILD_SUBREAPER, _PR_GET_CHILD_SUBREAPER = 36, 37


@contextmanager
def adopting() -> Iterator[None]:
    """On Linux, become the parent of processes that lose their own parent, among those that are started in the block.

    Without this they are not known as the command's if they share a process group with others, as on a terminal.
    https://man7.org/linux/man-pages/man2/PR_SET_CHILD_SUBREAPER.2const.html
    """
    if sys.platform != "linux":
        yield
        return
    prctl = ctypes.CDLL(None).prctl
    before = ctypes.c_int(0)
    prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(before), 0, 0, 0)
    prctl(_PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(1), 0, 0, 0)
    try:
        yield
    finally:
        prctl(_PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(before.value), 0, 0, 0)


def end_what_is_left(group: int | None) -> bool:
    """End what is left of a command: SIGTERM, some seconds, SIGKILL. Return whether all of it is gone.

    ``group`` is the command's process group. None: the command ran in snapkit's group. Then all descendants of snapkit
    in that group are ended (on Linux only, because elsewhere they cannot be told from others). A process with a
    session of its own, such as a daemon, is left alone.
    """
    if not _any_left(group):
        return True

    def is_gone() -> bool:
        return not _any_left(group)

    def is_killed() -> bool:
        if is_gone():
            return True
        _send(group, signal.SIGKILL)
        return False

    _send(group, signal.SIGTERM)
    return wait_until(is_gone, GRACE, every=_LOOK) or wait_until(is_killed, _KILLED, every=_LOOK)


def _any_left(group: int | None) -> bool:
    if group is None:
        return bool(_adopted())
    with suppress(ChildProcessError):  # a child of ours that has ended counts as a member until it is waited for
        while os.waitpid(-group, os.WNOHANG)[0]:
            pass
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's, by way of sudo
        return True
    return True


def _send(group: int | None, number: signal.Signals) -> None:
    if group is not None:
        signal_group(group, number)
    for pid in _adopted() if group is None else ():
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _adopted() -> tuple[int, ...]:
    """Return our descendants that run in our own process group. https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html"""
    parents: dict[int, int] = {}
    alike: set[int] = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent, group = path.read_bytes().rpartition(b")")[2].split()[:3]
        except (OSError, ValueError):  # it has ended meanwhile
            continue
        pid = int(path.parent.name)
        parents[pid] = int(parent)
        if int(group) != os.getpgrp():
            continue
        if state not in (b"Z", b"X"):
            alike.add(pid)
        elif int(parent) == os.getpid():
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
    return tuple(pid for pid in alike if _descends(pid, parents))


def _descends(pid: int, parents: dict[int, int]) -> bool:
    seen: set[int] = set()
    while pid in parents and pid not in seen:  # they were not all read at one moment
        seen.add(pid)
        pid = parents[pid]
        if pid == os.getpid():
            return True
    return False
