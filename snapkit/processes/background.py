"""Run a user's program, a hook or a health check, with a time limit and without the terminal."""

from __future__ import annotations

import os
import selectors
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import IO

from snapkit.processes.command_exit import KEPT_BYTES, Ending
from snapkit.processes.deadline import Deadline
from snapkit.processes.ending import end_group, wait_for
from snapkit.processes.signals import held_back

_LOOK = 0.05
"""Seconds between two looks whether a hook has ended, if another process holds its output open."""

_PIECE = 64 * 1024
_REST = 1024 * 1024
"""Bytes that are read after a hook has ended. The kernel's pipe holds no more (pipe-max-size). A process that the hook
has left in the background may write for ever."""


def run_in_background(
    words: Sequence[str],
    environment: Mapping[str, str],
    document: str,
    timeout: timedelta,
    pass_on: Callable[[bytes], None],
) -> Ending:
    """Run a program to its end, with ``document`` on its stdin. ``pass_on`` gets its output as it comes.

    The program has a process group of its own. If it takes longer than ``timeout``, or if snapkit is interrupted
    (KeyboardInterrupt goes on), the group is ended. What the program leaves running in the background is not waited
    for.
    """
    with held_back() as let_signals_come:
        try:
            process = _start(words, environment, document)
        except OSError as error:
            return Ending(None, not_started=error.strerror or str(error))
        except ValueError as error:  # a NUL in one of the words
            return Ending(None, not_started=str(error))
        assert process.stdout is not None  # noqa: S101 - started so
        output = _Output(process.stdout, pass_on)
        try:
            let_signals_come()
            is_late = _await(process, output, timeout)
            if is_late:
                end_group(process, partial(_await, process, output))
            output.take_rest()
        except BaseException:
            end_group(process, partial(_await, process, output))
            raise
        finally:
            output.close()
    return Ending(None if is_late else process.returncode, bytes(output.end))


def _start(words: Sequence[str], environment: Mapping[str, str], document: str) -> subprocess.Popen[bytes]:
    with tempfile.TemporaryFile() as stdin:  # a pipe would break where a hook does not read it to its end
        stdin.write(document.encode())
        stdin.seek(0)
        return subprocess.Popen(  # noqa: S603 - what the user's settings file names
            list(words),
            env=dict(environment),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _await(process: subprocess.Popen[bytes], output: _Output, wait: timedelta | float) -> bool:
    """Wait for the end of the process, and take its output meanwhile; return whether it came too late."""
    deadline = Deadline(wait)
    while process.poll() is None:
        if deadline.is_over:
            return True
        if output.is_open:
            output.take(min(deadline.left, _LOOK))
        else:
            wait_for(process, deadline.left)
    return False


class _Output:
    """What a hook writes: passed on, and its end kept."""

    def __init__(self, pipe: IO[bytes], pass_on: Callable[[bytes], None]) -> None:
        self._pipe = pipe
        self._pass_on = pass_on
        self._selector = selectors.DefaultSelector()
        self._selector.register(pipe, selectors.EVENT_READ)
        os.set_blocking(pipe.fileno(), False)
        self.is_open = True
        self.end = bytearray()

    def take(self, wait: float) -> int:
        """Wait for output, at most ``wait`` seconds, and take some; return the number of bytes."""
        if not self.is_open or not self._selector.select(wait):
            return 0
        try:
            piece = os.read(self._pipe.fileno(), _PIECE)
        except BlockingIOError:
            return 0
        if not piece:
            self._selector.unregister(self._pipe)
            self.is_open = False
        self.end += piece
        del self.end[:-KEPT_BYTES]
        self._pass_on(piece)
        return len(piece)

    def take_rest(self) -> None:
        """Take what is there, without waiting for more."""
        taken = 0
        while taken < _REST:
            number = self.take(0)
            if number == 0:
                break
            taken += number
        if self.end and not self.end.endswith(b"\n"):
            self._pass_on(b"\n")

    def close(self) -> None:
        self._selector.close()
        self._pipe.close()
