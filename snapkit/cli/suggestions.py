"""What may have been meant by a word that is no command and no option: only what one could have mistyped."""

from __future__ import annotations

import re
from collections.abc import Iterable

import typer

_GUESS = re.compile(r"(No such command '(.*)')\. Did you mean (.*)\?")


def message_of(error: typer.TyperException) -> str:
    """Return what the parser says, without suggestions that are far off (``list --sort``: ``--json``)."""
    possibilities = getattr(error, "possibilities", None)
    if possibilities:
        word = str(getattr(error, "option_name", ""))
        near = sorted(meant(word, possibilities))
        message: str = error.message
        return f"{message.removesuffix('.')}. Did you mean {', '.join(near)}?" if near else message
    message = error.format_message()
    guess = _GUESS.fullmatch(message)
    if guess is None:
        return message
    near = sorted(meant(guess[2], re.findall(r"'([^']*)'", guess[3])))
    return f"{guess[1]}. Did you mean {', '.join(map(repr, near))}?" if near else f"{guess[1]}."


def meant(word: str, known: Iterable[str]) -> list[str]:
    """Return those of ``known`` that ``word`` may stand for: a beginning of them, or a slip or two away."""
    word = word.lstrip("-")
    allowed = 1 if len(word) < 6 else 2
    found = ((each, each.lstrip("-")) for each in known)
    return [each for each, bare in found if bare.startswith(word) or _slips(word, bare) <= allowed]


def _slips(one: str, other: str) -> int:
    """How many letters are wrong, missing, too many or swapped."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        earlier, before, row = before, row, [i]
        for j, b in enumerate(other, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b))
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                cost = min(cost, earlier[j - 2] + 1)
            row.append(cost)
    return row[-1]
