"""A command of the user's that runs where snapkit does: on the same terminal, with its input, output and signals.

It stays in our process group, so that what the terminal sends (Ctrl-C, Ctrl-\\, Ctrl-Z) reaches it by itself. What is
sent to snapkit alone is passed on. Nothing but SIGKILL ends snapkit before the command has ended.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from snapkit.errors import UsageError

_FROM_TERMINALS = frozenset(
    getattr(signal, name) for name in ("SIGINT", "SIGQUIT") if hasattr(signal, name)
)  # Windows lacks some
_PASSED_ON = frozenset(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))

_BEAT = 1.0
"""Seconds between two calls of ``meanwhile``."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a command ended. ``exit_code`` is 128 + n for one that the signal n ended.

    ``signals`` are those that came to snapkit meanwhile, in their order, Ctrl-C's included.
    """

    exit_code: int
    signals: tuple[signal.Signals, ...] = ()


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
        f"The command {words[0]!r} {what}.",
        state="Nothing was changed.",
        hint="Give a program and its arguments behind --; for what only a shell understands: -- sh -c '...'",
    )


def run_command(
    words: Sequence[str],
    environment: Mapping[str, str],
    *,
    stdout_to_stderr: bool = False,
    meanwhile: Callable[[], None] = lambda: None,
) -> Ending:
    """Run a command that ``find_command`` has found, to its end. To be called from the main thread.

    ``meanwhile`` is called about every second, and is not to raise. Raises UsageError for a file that the system does
    not take for a program, which shows at the start only.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    came: list[signal.Signals] = []
    process: subprocess.Popen[bytes] | None = None

    def pass_on(number: signal.Signals) -> None:
        if process is not None and (number in _PASSED_ON or not _terminal_tells_all()):
            process.send_signal(number)  # of a process that has ended, it takes no notice

    def take(number: int, frame: FrameType | None) -> None:
        came.append(signal.Signals(number))
        pass_on(came[-1])

    with _taken_by(take):
        process = _start(words, environment, stdout=2 if stdout_to_stderr else None)
        for early in tuple(came):  # what came before there was anybody to pass it on to
            process.send_signal(early)
        while process.returncode is None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(_BEAT)
            meanwhile()
    code = process.returncode
    return Ending(code if code >= 0 else 128 - code, tuple(came))


def _start(words: Sequence[str], environment: Mapping[str, str], stdout: int | None) -> subprocess.Popen[bytes]:
    """Start a program; a text without a ``#!`` line goes to the shell, as execvp(3) has it."""
    try:
        try:
            return subprocess.Popen(words, env=environment, stdout=stdout)  # noqa: S603 - the user's own command
        except OSError as error:
            if error.errno != errno.ENOEXEC:
                raise
            return subprocess.Popen(["/bin/sh", *words], env=environment, stdout=stdout)  # noqa: S603 - likewise
    except OSError as error:
        raise UsageError(f"The command {words[0]!r} cannot be run: {error.strerror}.") from None


@contextmanager
def _taken_by(take: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Let ``take`` have the signals. A program that is started gets a handler's default, and inherits what is ignored
    (as nohup has it); that stays so.

    https://pubs.opengroup.org/onlinepubs/9799919799/functions/exec.html
    """
    before = {number: signal.getsignal(number) for number in _FROM_TERMINALS | _PASSED_ON}
    taken = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    try:
        for number in taken:
            signal.signal(number, take)
        yield
    finally:
        for number in taken:
            signal.signal(number, before[number])


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
