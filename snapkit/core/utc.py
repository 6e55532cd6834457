"""Times as text: always in UTC, whatever the time zone of the value or of the machine."""

from __future__ import annotations

from datetime import UTC, datetime

_ISO = "%Y-%m-%dT%H:%M:%SZ"


def utc_text(at: datetime) -> str:
    """Return a time to the second, for people: ``2026-01-10 10:30:45``."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "seconds")


def utc_clock(at: datetime) -> str:
    """Return the time of day to the second: ``10:30:45``."""
    return at.astimezone(UTC).time().isoformat("seconds")


def iso_utc(at: datetime, timespec: str = "seconds") -> str:
    """Return a time as ISO 8601 has it: ``2026-01-10T10:30:45Z``. ``timespec`` is that of ``datetime.isoformat``."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec=timespec) + "Z"


def read_iso_utc(text: str) -> datetime:
    """Read what ``iso_utc`` writes, to the second; raise ValueError for anything else."""
    return datetime.strptime(text, _ISO).replace(tzinfo=UTC)
