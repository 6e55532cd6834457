"""Sizes, times and names as text: values are formatted here, at the edge, and nowhere else."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from snapkit.core.durations import duration_text
from snapkit.core.sizes import size_text as size_text  # which core has words for, too

if TYPE_CHECKING:
    from snapkit.core.reporting import Progress


def age_text(at: datetime, now: datetime) -> str:
    """Return how long ago that was, in its largest unit."""
    seconds = max(0.0, (now - at).total_seconds())
    for unit, length in (("week", 604800), ("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length * (2 if unit == "week" else 1):
            number = int(seconds // length)
            return f"{number} {unit}{'' if number == 1 else 's'} ago"
    return "just now" if seconds < 5 else f"{int(seconds)} seconds ago"


def progress_text(progress: Progress) -> str:
    """Return how far something is, how fast it goes and how long it will take; empty where that cannot be told.

    Where databases are counted, the phase says which of how many.
    """
    if progress.done is None or progress.total is None or progress.unit != "bytes":
        return ""
    about = "about " if progress.is_estimate else ""
    parts = [f"{about}{size_text(progress.done)} of {size_text(progress.total)}"]
    if progress.rate is not None and not progress.is_estimate:
        parts.append(f"{size_text(round(progress.pace or progress.rate))}/s")
    if progress.is_late:
        parts.append("longer than the last time")
    if progress.remaining is not None:
        parts.append(f"{duration_text(progress.remaining)} left")
    return ", ".join(parts)


def count_text(number: int, noun: str) -> str:
    """Return ``1 session``, ``2 sessions``."""
    return f"{number} {noun if number == 1 else noun + ('es' if noun.endswith('s') else 's')}"


def printable(text: str) -> str:
    """Return ``text`` with its control characters escaped: names and labels must not move the cursor."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def printable_lines(text: str) -> str:
    """The same for a text of several lines."""
    return "\n".join(printable(line) for line in text.split("\n"))
