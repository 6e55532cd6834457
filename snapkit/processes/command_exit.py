"""How a background command ended, and how that is said."""

from __future__ import annotations

from datetime import timedelta

from snapkit.core.durations import written_duration
from snapkit.core.hooks import Event
from snapkit.core.values import dataclass

KEPT_BYTES = 4096
"""This many bytes of a hook's output, the last ones, are kept for the error."""

_QUOTED_LINES = 10

_QUOTED_CHARACTERS = 1000


@dataclass(frozen=True, slots=True)
class Ending:
    """How a hook ended: its exit code, negative for a signal; None if it had to be ended, or could not be started."""

    code: int | None
    said: bytes = b""
    """The end of its output."""
    not_started: str | None = None
    """Why it could not be started."""


def complaint(event: Event, ending: Ending, timeout: timedelta) -> str | None:
    """Say what went wrong with a hook, and what it said at its end; None if nothing did."""
    return what_went_wrong(f"The {event} hook", ending, timeout, "hook-timeout")


def what_went_wrong(who: str, ending: Ending, timeout: timedelta, setting: str) -> str | None:
    """Say what went wrong with a background command; None if nothing did. ``setting`` names its time limit."""
    if ending.not_started is not None:
        return f"{who} could not be started: {ending.not_started}."
    if ending.code == 0:
        return None
    if ending.code is None:
        what = f"was still running after {written_duration(timeout)} ({setting}), and was ended"
    elif ending.code < 0:
        what = f"was ended by signal {-ending.code}"
    else:
        what = f"ended with exit code {ending.code}"
    said = _quoted(ending.said)
    return f"{who} {what}" + (f"; it said:\n{said}" if said else ", without output.")


def _quoted(said: bytes) -> str:
    """Return the last lines of an output, indented."""
    text = said.decode("utf-8", errors="replace")[-_QUOTED_CHARACTERS:]
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    return "\n".join(f"  {line}" for line in lines[-_QUOTED_LINES:])
