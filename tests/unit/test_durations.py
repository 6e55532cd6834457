from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapkit.core.durations import duration_text, parse_duration, written_duration


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("2h", timedelta(hours=2)),
        ("7d", timedelta(days=7)),
        ("4w", timedelta(weeks=4)),
        ("250ms", timedelta(milliseconds=250)),
        ("1.5h", timedelta(minutes=90)),
        ("0s", timedelta(0)),
        (" 10s\n", timedelta(seconds=10)),
    ],
)
def test_a_number_and_a_unit_are_a_duration(text: str, expected: timedelta) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize(
    "text", ["", "10", "s", "-1s", "+1s", "1 s", "1S", "1y", "1h30m", "1e3s", ".5s", "1.s", "1,5s", "٣s", "inf", "nans"]
)
def test_anything_else_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration; write a number and a unit, such as 90s"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["999999999w", "143000000w"])
def test_a_duration_beyond_all_bounds_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is too long"):
        parse_duration(text)


@given(st.integers(0, 999_999), st.sampled_from([("s", 1), ("m", 60), ("h", 3600), ("d", 86400), ("w", 604800)]))
def test_whole_numbers_are_exact(number: int, unit: tuple[str, int]) -> None:
    assert parse_duration(f"{number}{unit[0]}") == timedelta(seconds=number * unit[1])


@given(st.text())
def test_arbitrary_text_gives_a_duration_or_a_value_error(text: str) -> None:
    try:
        assert parse_duration(text) >= timedelta(0)
    except ValueError as error:
        assert repr(text) in str(error)


@pytest.mark.parametrize("text", ["1ms", "90s", "15m", "26h", "1d", "13d", "2w"])
def test_a_duration_is_written_as_it_was_read(text: str) -> None:
    assert written_duration(parse_duration(text)) == text


def test_a_duration_is_written_in_its_largest_unit() -> None:
    assert written_duration(timedelta(hours=24)) == "1d"
    assert written_duration(timedelta(milliseconds=1500)) == "1500ms"
    assert written_duration(timedelta(microseconds=1500)) == "0.0015s"
    assert written_duration(timedelta(0)) == "0s"


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(0), "under 1 ms"),
        (timedelta(microseconds=999), "under 1 ms"),
        (timedelta(milliseconds=1), "1 ms"),
        (timedelta(milliseconds=170), "170 ms"),
        (timedelta(microseconds=999_400), "999 ms"),
        (timedelta(microseconds=999_500), "1.0 s"),
        (timedelta(seconds=1), "1.0 s"),
        (timedelta(seconds=59.94), "59.9 s"),
        (timedelta(seconds=59.95), "1 min 0 s"),
        (timedelta(seconds=119.6), "2 min 0 s"),
        (timedelta(seconds=12.34), "12.3 s"),
        (timedelta(seconds=60), "1 min 0 s"),
        (timedelta(minutes=75, seconds=3.9), "75 min 4 s"),
    ],
)
def test_a_duration_is_told_so_that_it_reads_well(duration: timedelta, text: str) -> None:
    assert duration_text(duration) == text


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=365)))
def test_no_duration_is_told_in_a_unit_that_it_fills(duration: timedelta) -> None:
    text = duration_text(duration)
    assert not text.startswith(("1000 ms", "60.0 s"))
    assert not text.endswith(" 60 s")
