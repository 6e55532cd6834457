"""A command of the user's that runs where snapkit does: on the same terminal, with its input, output and signals.

On a terminal it stays in our process group, so that what the terminal sends (Ctrl-C, Ctrl-\\, Ctrl-Z) reaches it by
itself. Where there is none, it has a process group of its own, to the whole of which is passed on what is sent to
snapkit: a shell that ends does not pass it on to what it runs. Nothing but SIGKILL ends snapkit before the command.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import field
from pathlib import Path
from types import FrameType

from snapkit.core.secrets import shown_program
from snapkit.core.values import dataclass
from snapkit.errors import NOTHING_CHANGED, UsageError
from snapkit.processes import signals
from snapkit.processes.ending import signal_group, wait_for

_BEAT = 1.0
"""Signals are noticed after this many seconds at the latest: one that comes just before the wait does not interrupt
it."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a command ended. ``exit_code`` is 128 + n if signal n ended it.

    ``signals`` are those that snapkit got meanwhile, in order, including Ctrl-C. ``group`` is the command's own
    process group; None if it shared snapkit's.
    """

    exit_code: int
    signals: tuple[signal.Signals, ...] = ()
    group: int | None = field(default=None, compare=False)


def find_command(words: Sequence[str]) -> tuple[str, ...]:
    """Return ``words`` with the program's path in front; raise UsageError where there is no such program."""
    found = shutil.which(words[0])
    if found is not None:
        return (found, *words[1:])
    if Path(words[0]).is_dir():
        what = "is a directory"
    elif os.sep in words[0] and Path(words[0]).exists():
        what = "is not executable"
    else:
        what = "cannot be found" if os.sep in words[0] else "cannot be found in PATH"
    raise UsageError(
        f"The command {shown_program(words[0])!r} {what}.",
        state=NOTHING_CHANGED,
        hint="Give a program and its arguments after --. For shell syntax: -- sh -c '...'",
    )


def run_command(words: Sequence[str], environment: Mapping[str, str], *, stdout_to_stderr: bool = False) -> Ending:
    """Run a command that ``find_command`` has found, to its end; in the main thread, or else ValueError is raised.

    It inherits the descriptors that we have inherited, such as that of ``<(...)``. Raises UsageError if the
    command cannot be started: for a file that the system does not take for a program, and for more words than it takes.
    """
    if not signals.in_main_thread():
        raise ValueError("a command is run in the main thread, which alone hears of signals")
    _flush()
    came: list[signal.Signals] = []
    early: list[signal.Signals] = []
    process: subprocess.Popen[bytes] | None = None

    def send(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
        if not has_own_group:
            process.send_signal(number)  # of a process that has ended, it takes no notice
        elif process.poll() is None:
            signal_group(process.pid, number)

    def take(number: int, frame: FrameType | None) -> None:
        came.append(signal.Signals(number))
        if process is None:
            early.append(came[-1])
        elif has_own_group or number in signals.FROM_OTHERS or not _terminal_tells_all():
            send(process, came[-1])

    has_own_group = not _has_terminal()
    # A program that is started gets a handler's default, and inherits what is ignored; that stays so.
    # https://pubs.opengroup.org/onlinepubs/9799919799/functions/exec.html
    with signals.taken(take):
        process = _start(words, environment, 2 if stdout_to_stderr else None, 0 if has_own_group else None)
        for number in early:  # what came before we knew whom to pass it on to, who may have begun to work
            send(process, number)
        while process.returncode is None:
            wait_for(process, _BEAT)
    code = process.returncode
    return Ending(code if code >= 0 else 128 - code, tuple(came), process.pid if has_own_group else None)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # nobody reads it any more; that is for the command to notice
            stream.flush()


def _start(
    words: Sequence[str], environment: Mapping[str, str], stdout: int | None, group: int | None
) -> subprocess.Popen[bytes]:
    """Start a program; a text without a ``#!`` line goes to the shell, as execvp(3) has it.

    Descriptors that Python and libpq have opened are closed by the start itself.
    https://docs.python.org/3/library/os.html#inheritance-of-file-descriptors
    """

    def start(words: Sequence[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 - the user's own command
            words, env=environment, stdout=stdout, close_fds=False, process_group=group
        )

    try:
        try:
            return start(words)
        except OSError as error:
            if error.errno != errno.ENOEXEC:
                raise
            return start(["/bin/sh", *words])
    except OSError as error:
        raise UsageError(f"The command {shown_program(words[0])!r} cannot be run: {error.strerror}.") from None


def _has_terminal() -> bool:
    """Whether a terminal controls our session, in the foreground or not."""
    try:
        os.close(os.open(os.ctermid(), os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _terminal_tells_all() -> bool:
    """Whether Ctrl-C goes to our whole process group, the command with it: we are in a terminal's foreground."""
    try:
        terminal = os.open(os.ctermid(), os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
