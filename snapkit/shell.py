"""Commands of the user's that a shell runs in the background: with a time limit, and only the end of what they say."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

_TAIL = 2000
"""Bytes of output that are kept."""


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a command. ``exit_code`` is 128 + n for signal n, None for one that took too long."""

    exit_code: int | None
    output: str


def run_in_shell(command: str, environment: Mapping[str, str], seconds: float) -> Done:
    """Run ``command`` by ``sh -c``, with ``environment`` besides ours, and without input.

    When the time is up, or we are interrupted, it is ended with everything that it has started and not moved to a
    process group of its own. Its output goes to a file, so that a child of it that lives on keeps nobody waiting.
    """
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(  # noqa: S603 - the user's own command
            ["/bin/sh", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            start_new_session=True,
        )
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _end_all(process)
        return Done(code if code is None or code >= 0 else 128 - code, _tail_of(output))


def _end_all(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _tail_of(output: IO[bytes]) -> str:
    """Return the end of the output, from the beginning of a line on where it was cut."""
    size = output.seek(0, os.SEEK_END)
    output.seek(max(size - _TAIL, 0))
    text = output.read().decode(errors="replace")
    if size > _TAIL and "\n" in text:
        text = text.partition("\n")[2]
    return text.strip()
