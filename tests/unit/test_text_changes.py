"""Texts are compared by lines and words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapkit.core.comparison import text_changes
from snapkit.core.comparison.text_changes import Line, Mark, Piece, line_changes, starting_near_change, word_changes

few_words = st.lists(st.sampled_from(["a", "b", " ", "\n", "(", "price"]), max_size=12).map("".join)


def changed(pieces: tuple[Piece, ...]) -> list[str]:
    return [piece.text for piece in pieces if piece.changed]


@pytest.mark.parametrize(
    ("before", "after", "of_before", "of_after"),
    [
        ("numeric(8,2) NOT NULL", "numeric(10,2) NOT NULL", ["8"], ["10"]),
        ("shipped to Rome", "shipped to Rome", [], []),
        ("text", "text NOT NULL", [], [" NOT NULL"]),
        ("red", "blue", ["red"], ["blue"]),
        ("", "blue", [], ["blue"]),
        ("a very, very long story", "one, two, three", ["a very, very long story"], ["one, two, three"]),
    ],
)
def test_words_that_differ(before: str, after: str, of_before: list[str], of_after: list[str]) -> None:
    one, other = word_changes(before, after)
    assert (changed(one), changed(other)) == (of_before, of_after)


@given(few_words, few_words)
def test_nothing_gets_lost(before: str, after: str) -> None:
    one, other = word_changes(before, after)
    assert ("".join(each.text for each in one), "".join(each.text for each in other)) == (before, after)
    same = [["".join(each.text for each in side if not each.changed)] for side in (one, other)]
    assert same[0] == same[1]
    lines = line_changes(before, after)
    for mark, text in ((Mark.REMOVED, before), (Mark.ADDED, after)):
        shown = ["".join(piece.text for piece in line.pieces) for line in lines if line.mark in (mark, Mark.SAME)]
        left_out = sum(line.left_out for line in lines)
        assert len(shown) + left_out == len(text.split("\n"))
        assert left_out or shown == text.split("\n")


@pytest.mark.parametrize("steps", [1, 1_000_000])
def test_lines_that_differ_stand_with_those_around_them(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_changes, "_MOST_STEPS", steps)
    before = "\n".join(f"line {number}" for number in range(20))
    after = before.replace("line 9", "line nine")
    assert line_changes(before, after) == [
        Line(Mark.LEFT_OUT, left_out=7),
        *(Line(Mark.SAME, (Piece(f"line {number}", False),)) for number in (7, 8)),
        Line(Mark.REMOVED, (Piece("line ", False), Piece("9", True))),
        Line(Mark.ADDED, (Piece("line ", False), Piece("nine", True))),
        *(Line(Mark.SAME, (Piece(f"line {number}", False),)) for number in (10, 11)),
        Line(Mark.LEFT_OUT, left_out=8),
    ]


def test_lines_that_are_more_or_fewer() -> None:
    assert [line.mark for line in line_changes("a\nb\nc", "a\nx\ny\nc")] == [" ", "-", "+", "+", " "]


def test_large_texts_are_compared_at_their_ends() -> None:
    before = "same " + "a b " * 2000 + "end"
    one, _ = word_changes(before, "same " + "b a c " * 2000 + "end")
    assert len(one) <= 3


def test_what_is_shown_begins_near_the_change() -> None:
    same, new = Piece("x" * 90, False), Piece("new", True)
    assert starting_near_change((same, new), 30) == (Piece("…" + "x" * 10, False), new)
    assert starting_near_change((same, new), 200) == (same, new)
    assert starting_near_change((new, same), 30) == (new, same)
    assert starting_near_change((same,), 30) == (same,)
