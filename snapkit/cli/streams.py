"""Streams whose reader may be gone: what a run has to say never changes what it does, or what it ends with."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any, cast

from snapkit.errors import OutputError


class Forgiving:
    """A stream on which nothing fails: once somebody no longer takes what is written, it goes nowhere."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except (OSError, ValueError):  # ValueError: it is closed
            _silence(self._stream)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError):
            _silence(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Telling:
    """A stream whose failures are OutputError, not OSError; a reader that has gone is still BrokenPipeError."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with _told():
            return self._stream.write(text)

    def flush(self) -> None:
        with _told():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"The output could not be written: {error.strerror}.") from error


@contextmanager
def stdout_that_tells() -> Iterator[None]:
    """Within the block, what cannot be written to stdout raises OutputError."""
    stdout = sys.stdout
    sys.stdout = cast("Any", Telling(stdout))
    try:
        yield
    finally:
        sys.stdout = stdout


def settle() -> None:
    """Flush stdout and stderr; what cannot be written goes nowhere, else Python ends with exit code 120."""
    for stream in (sys.stdout, sys.stderr):
        Forgiving(stream).flush()


def _silence(stream: IO[str]) -> None:
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, stream.fileno())
        finally:
            os.close(nowhere)
