"""Sizes, times and names as text: values are formatted here, at the edge, and nowhere else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from snapkit.core.model import Progress


def size_text(size: int | None) -> str:
    """Return a size as PostgreSQL writes it (``pg_size_pretty``: units of 1024), short enough for a column."""
    if size is None:
        return "unknown"
    value = float(size)
    for unit in ("bytes", "kB", "MB", "GB"):
        if round(value) < 1024:
            return f"{value:.0f} {unit}" if unit == "bytes" or value >= 10 else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TB"


def time_text(at: datetime) -> str:
    """Return a time to the second, in UTC as in the names."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def age_text(at: datetime, now: datetime) -> str:
    """Return how long ago that was, in its largest unit."""
    seconds = max(0.0, (now - at).total_seconds())
    for unit, length in (("week", 604800), ("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length * (2 if unit == "week" else 1):
            number = int(seconds // length)
            return f"{number} {unit}{'' if number == 1 else 's'} ago"
    return "just now" if seconds < 5 else f"{int(seconds)} seconds ago"


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


def progress_text(progress: Progress) -> str:
    """Return how far something is, how fast it goes and how long it will take; empty where that cannot be told."""
    if progress.done is None or progress.total is None:
        return ""
    if progress.unit != "bytes":
        return f"{progress.done} of {progress.total}"
    about = "about " if progress.is_estimate else ""
    parts = [f"{about}{size_text(progress.done)} of {size_text(progress.total)}"]
    if progress.rate is not None and not progress.is_estimate:
        parts.append(f"{size_text(round(progress.rate))}/s")
    if progress.remaining is not None:
        parts.append(f"{duration_text(progress.remaining)} left")
    return ", ".join(parts)


def milliseconds(duration: timedelta) -> int:
    return round(duration.total_seconds() * 1000)


def count_text(number: int, noun: str) -> str:
    """Return ``1 session``, ``2 sessions``."""
    return f"{number} {noun if number == 1 else noun + ('es' if noun.endswith('s') else 's')}"


def printable(text: str) -> str:
    """Return ``text`` with its control characters escaped: names and labels must not move the cursor."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def printable_lines(text: str) -> str:
    """The same for a text of several lines."""
    return "\n".join(printable(line) for line in text.split("\n"))
