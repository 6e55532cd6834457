"""What differs between two texts: line by line, and within a line word by word."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from enum import StrEnum
from typing import NamedTuple

_WORD = re.compile(r"\w+|\s+|[^\w\s]")
_CONTEXT = 2
"""Lines that are shown before and after one that differs."""
_MOST_STEPS = 250_000
"""Texts whose lengths, in words or lines, multiply to more are compared at their two ends only: it would take long."""


class Mark(StrEnum):
    """What a line is: as before, or only there before or after; or it stands for lines that are left out."""

    SAME = " "
    REMOVED = "-"
    ADDED = "+"
    LEFT_OUT = "…"


class Piece(NamedTuple):
    """A part of a line, and whether the other side has it otherwise."""

    text: str
    changed: bool


class Line(NamedTuple):
    """A line with its mark. ``left_out`` says for how many it stands, with ``Mark.LEFT_OUT`` only."""

    mark: Mark
    pieces: tuple[Piece, ...] = ()
    left_out: int = 0


def word_changes(before: str, after: str) -> tuple[tuple[Piece, ...], tuple[Piece, ...]]:
    """Return both texts in pieces. Where hardly anything is alike, the whole text counts as changed."""
    parts = list(_parts(_WORD.findall(before), _WORD.findall(after)))
    alike = sum(len("".join(each.before).strip()) for each in parts if each.same)
    if alike * 4 < min(len(before.strip()), len(after.strip())):
        return _pieces([(before, True)]), _pieces([(after, True)])
    return (
        _pieces(("".join(each.before), not each.same) for each in parts),
        _pieces(("".join(each.after), not each.same) for each in parts),
    )


def line_changes(before: str, after: str) -> list[Line]:
    """Return the lines that differ, with some of those around them; what is left out between is a line of its own."""
    found: list[Line] = []
    for part in _parts(before.split("\n"), after.split("\n")):
        if part.same:
            found += _shortened([_line(Mark.SAME, text) for text in part.before], part.is_first, part.is_last)
        elif len(part.before) == len(part.after):
            both = [word_changes(*texts) for texts in zip(part.before, part.after, strict=True)]
            found += [Line(Mark.REMOVED, pieces) for pieces, _ in both]
            found += [Line(Mark.ADDED, pieces) for _, pieces in both]
        else:
            found += [_line(Mark.REMOVED, text) for text in part.before]
            found += [_line(Mark.ADDED, text) for text in part.after]
    return found


def starting_near_change(pieces: Sequence[Piece], room: int) -> tuple[Piece, ...]:
    """Return the pieces without much of what comes before the first change, if that would not be within ``room``."""
    lead = 0
    for at, piece in enumerate(pieces):
        if piece.changed:
            kept = max(room // 3, 1)
            if lead + min(len(piece.text), room // 2) < room or at == 0 or lead <= kept:
                return tuple(pieces)
            same = "".join(each.text for each in pieces[:at])
            return (Piece("…" + same[-kept:], changed=False), *pieces[at:])
        lead += len(piece.text)
    return tuple(pieces)


class _Part(NamedTuple):
    same: bool
    before: Sequence[str]
    after: Sequence[str]
    is_first: bool
    is_last: bool


def _parts(before: Sequence[str], after: Sequence[str]) -> Iterator[_Part]:
    """Yield what is alike and what is not, in turn."""
    start = _common(before, after)
    end = _common(before[start:][::-1], after[start:][::-1])
    middle = before[start : len(before) - end], after[start : len(after) - end]
    spans = [(True, before[:start], after[:start])]
    if len(middle[0]) * len(middle[1]) > _MOST_STEPS:
        spans.append((False, *middle))
    else:
        for tag, i, j, k, n in SequenceMatcher(None, *middle, autojunk=False).get_opcodes():
            spans.append((tag == "equal", middle[0][i:j], middle[1][k:n]))
    spans.append((True, before[len(before) - end :], after[len(after) - end :]))
    kept = [span for span in spans if span[1] or span[2]]
    for at, (same, one, other) in enumerate(kept):
        yield _Part(same, one, other, at == 0, at == len(kept) - 1)


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """How many are alike from the beginning on."""
    number = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        number += 1
    return number


def _shortened(lines: list[Line], is_first: bool, is_last: bool) -> list[Line]:
    """Leave out what is farther than ``_CONTEXT`` from a line that differs; never one line alone."""
    head = 0 if is_first else _CONTEXT
    tail = 0 if is_last else _CONTEXT
    left_out = len(lines) - head - tail
    if left_out < 2:
        return lines
    return [*lines[:head], Line(Mark.LEFT_OUT, left_out=left_out), *lines[len(lines) - tail :]]


def _line(mark: Mark, text: str) -> Line:
    return Line(mark, _pieces([(text, False)]))


def _pieces(texts: Iterable[tuple[str, bool]]) -> tuple[Piece, ...]:
    return tuple(Piece(text, changed) for text, changed in texts if text)
