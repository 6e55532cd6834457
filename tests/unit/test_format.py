from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapkit.cli.format import age_text, count_text, printable, printable_lines
from snapkit.core.durations import milliseconds
from snapkit.core.sizes import size_text
from tests.unit.builders import NOW


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (None, "unknown"),
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1.0 kB"),
        (1024**2 - 1, "1.0 MB"),
        (1024**3 - 1, "1.0 GB"),
        (1024**4 - 1, "1.0 TB"),
        (1023 * 1024, "1023 kB"),
        (7_500_000, "7.2 MB"),
        (97 * 1024**2, "97 MB"),
        (int(2.25 * 1024**3), "2.2 GB"),
        (905 * 1024**3, "905 GB"),
        (3 * 1024**4, "3.0 TB"),
        (5000 * 1024**4, "5000.0 TB"),
    ],
)
def test_a_size_has_the_unit_that_suits_it(size: int | None, text: str) -> None:
    assert size_text(size) == text


@pytest.mark.parametrize(
    ("ago", "text"),
    [
        (timedelta(seconds=-30), "just now"),
        (timedelta(0), "just now"),
        (timedelta(seconds=4.9), "just now"),
        (timedelta(seconds=5), "5 seconds ago"),
        (timedelta(seconds=59.9), "59 seconds ago"),
        (timedelta(seconds=60), "1 minute ago"),
        (timedelta(minutes=59), "59 minutes ago"),
        (timedelta(hours=1), "1 hour ago"),
        (timedelta(hours=23, minutes=59), "23 hours ago"),
        (timedelta(days=1), "1 day ago"),
        (timedelta(days=13), "13 days ago"),
        (timedelta(days=14), "2 weeks ago"),
        (timedelta(days=400), "57 weeks ago"),
    ],
)
def test_an_age_is_told_in_its_largest_unit(ago: timedelta, text: str) -> None:
    assert age_text(NOW - ago, NOW) == text


@given(st.integers(0, 1024**5))
def test_no_size_is_told_in_a_unit_that_it_fills(size: int) -> None:
    number, unit = size_text(size).split(" ")
    assert float(number) < 1024 or unit == "TB"


def test_milliseconds_are_whole() -> None:
    assert milliseconds(timedelta(seconds=1, microseconds=600)) == 1001
    assert milliseconds(timedelta(0)) == 0


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [
        (0, "session", "0 sessions"),
        (1, "session", "1 session"),
        (2, "database", "2 databases"),
        (1, "process", "1 process"),
        (3, "process", "3 processes"),
    ],
)
def test_a_number_agrees_with_its_noun(number: int, noun: str, text: str) -> None:
    assert count_text(number, noun) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("app_é 数据", "app_é 数据"),
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\x9b1m", "\\x9b1m"),
        ("half \udcff", "half \\udcff"),
    ],
)
def test_control_characters_are_shown_and_not_obeyed(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_the_lines_of_a_text_stay_lines() -> None:
    assert printable_lines("one\ntw\x1bo\n") == "one\ntw\\x1bo\n"


@given(st.text())
def test_whatever_is_shown_is_printable(text: str) -> None:
    assert printable(text).isprintable()
    assert all(line.isprintable() for line in printable_lines(text).split("\n"))
