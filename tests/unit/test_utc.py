"""Times as text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from snapkit.core.utc import iso_utc, read_iso_utc, utc_clock, utc_text

LOCAL = datetime(2026, 1, 10, 23, 30, 45, 12_000, tzinfo=timezone(timedelta(hours=-5)))


def test_a_time_is_written_in_utc_whatever_its_own_zone() -> None:
    assert utc_text(LOCAL) == "2026-01-11 04:30:45"
    assert utc_clock(LOCAL) == "04:30:45"
    assert iso_utc(LOCAL) == "2026-01-11T04:30:45Z"
    assert iso_utc(LOCAL, "milliseconds") == "2026-01-11T04:30:45.012Z"


def test_a_time_is_read_back_to_the_second() -> None:
    assert read_iso_utc(iso_utc(LOCAL)) == LOCAL.astimezone(UTC).replace(microsecond=0)
    for malformed in ("2026-01-11 04:30:45", "2026-01-11T04:30:45+00:00", "yesterday"):
        with pytest.raises(ValueError, match="does not match"):
            read_iso_utc(malformed)


def test_a_year_has_four_digits() -> None:
    assert iso_utc(datetime(1, 1, 1, tzinfo=UTC)) == "0001-01-01T00:00:00Z"
