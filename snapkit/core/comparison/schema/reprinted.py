"""Whether two texts define the same, though PostgreSQL prints one of them in another way.

Of ``v IN ('a', 'b')`` over a varchar PostgreSQL makes an array that is cast as a whole, ``(ARRAY['a', 'b'])::text[]``.
When it has read that again, it casts each element, ``ARRAY[('a')::text, ('b')::text]``. So a database and its restored
dump differ in this way, and in no other.
"""

from __future__ import annotations

import re

_ARRAY = "(ARRAY["
_CAST = re.compile(
    r"\)::(?P<type>(?:\"(?:[^\"]|\"\")+\"|[\w. ])+(?:\(\d+(?:,\d+)?\))?(?: with(?:out)? time zone)?)\[\]",
)
_OPENING, _CLOSING = "([", ")]"


def means_the_same(one: str, other: str) -> bool:
    """Whether the two are the same, but for arrays that are cast as a whole in one and by element in the other."""
    return one == other or (_ARRAY in one + other and by_element(one) == by_element(other))


def by_element(text: str) -> str:
    """Return a text in which each array that is cast as a whole is cast by element."""
    start = text.find(_ARRAY)
    if start < 0:
        return text
    inner = start + len(_ARRAY)
    elements, end = _elements(text, inner)
    cast = _CAST.match(text, end + 1)
    if cast is None:
        return text[:inner] + by_element(text[inner:])
    cast_ones = ", ".join(f"({by_element(each)})::{cast['type']}" for each in elements)
    return f"{text[:start]}ARRAY[{cast_ones}]{by_element(text[cast.end() :])}"


def _elements(text: str, start: int) -> tuple[list[str], int]:
    """Split what follows ``[`` at its commas; return the parts, and where the ``]`` is that ends it."""
    parts: list[str] = []
    depth, begin, at = 0, start, start
    while at < len(text):
        char = text[at]
        if char in "'\"":
            at = _end_of_quoted(text, at)
        elif char in _OPENING:
            depth += 1
        elif char in _CLOSING:
            if depth == 0:
                break
            depth -= 1
        elif char == "," and depth == 0:
            parts.append(text[begin:at].strip())
            begin = at + 1
        at += 1
    return [*parts, text[begin:at].strip()], at


def _end_of_quoted(text: str, start: int) -> int:
    """Return where the quote is that ends the one at ``start``. A doubled quote is two quoted texts in a row."""
    end = text.find(text[start], start + 1)
    return len(text) if end < 0 else end
