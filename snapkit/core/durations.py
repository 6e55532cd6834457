"""Durations as users write them (``90s``, ``15m``, ``2h``, ``7d``, ``4w``), and as they are told."""

from __future__ import annotations

import re
from datetime import timedelta

_UNITS = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(ms|[smhdw])", re.ASCII)


def parse_duration(text: str) -> timedelta:
    """Return the duration that ``text`` names; raise ValueError with a sentence fit for users."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a duration; write a number and a unit, such as 90s, 15m, 2h, 7d or 4w")
    number, unit = match.groups()
    try:
        return timedelta(**{_UNITS[unit]: float(number)})
    except OverflowError:
        raise ValueError(f"{text!r} is too long") from None


def written_duration(duration: timedelta) -> str:
    """Return a duration as users write it, in the largest unit of which it is a whole number."""
    microseconds = duration // timedelta(microseconds=1)
    for unit in reversed(_UNITS):
        length = timedelta(**{_UNITS[unit]: 1}) // timedelta(microseconds=1)
        if microseconds and microseconds % length == 0:
            return f"{microseconds // length}{unit}"
    return f"{duration.total_seconds():g}s"


def duration_text(duration: timedelta) -> str:
    """Return a duration in milliseconds, seconds or minutes, whichever reads best."""
    seconds = duration.total_seconds()
    if seconds < 0.001:
        return "under 1 ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    return f"{round(seconds) // 60} min {round(seconds) % 60} s"


def milliseconds(duration: timedelta) -> int:
    """Return a duration in whole milliseconds, as JSON, hooks and the audit log tell it."""
    return round(duration.total_seconds() * 1000)
