"""What does not fit a terminal's height goes through the user's pager: ``PAGER``, or less."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from snapkit.processes import signals

if TYPE_CHECKING:
    from rich.console import Console

_LINES_BELOW = 3
"""Lines of the terminal that are left for what is said below the text, and for the prompt."""
_LESS = "FRX"
"""What less is told where ``LESS`` is not set: to show colours, and to leave the text on the terminal."""
_NOT_RUN = (126, 127)
"""Exit codes by which a shell tells that there is no such program."""


@contextmanager
def paged(console: Console, environment: Mapping[str, str] = os.environ) -> Iterator[None]:
    """Show what the block prints page by page, if it does not fit the terminal and somebody sits in front of it.

    To leave the pager early is no error. If it cannot be run, the text is printed as it is.
    """
    command = _pager_of(environment) if _is_read_there(console) else None
    if command is None:
        yield
        return
    with console.capture() as capture:
        yield
    text = capture.get()
    if text.count("\n") <= console.height - _LINES_BELOW or not _show(text, command, environment):
        console.file.write(text)


def _is_read_there(console: Console) -> bool:
    return console.is_terminal and not console.is_dumb_terminal and console.file.isatty() and sys.stdin.isatty()


def _pager_of(environment: Mapping[str, str]) -> str | None:
    """Return the words for a shell; None if there is to be none. An empty ``PAGER`` and ``cat`` say so."""
    named = environment.get("PAGER")
    if named is None:
        return shutil.which("less", path=environment.get("PATH"))
    return None if named.strip() in ("", "cat") else named


def _show(text: str, command: str, environment: Mapping[str, str]) -> bool:
    """Return whether the pager has shown it. Ctrl-C is for the pager alone."""
    sys.stdout.flush()
    sys.stderr.flush()
    with signals.taken(lambda number, frame: None, signals.FROM_TERMINALS):
        process = subprocess.Popen(  # noqa: S602 - the user's own words, as every program that pages takes them
            command,
            shell=True,
            stdin=subprocess.PIPE,
            env={"LESS": _LESS, **environment},
            encoding="utf-8",
            errors="backslashreplace",
        )
        process.communicate(text)  # which is content with a pager that was left before it had read all
    return process.returncode not in _NOT_RUN
