"""What is shown of a user's command: in messages, JSON and the audit log.

Only the program and the number of words are shown. The words may be secret, and no list of patterns finds every
secret. A user who wants to see them asks for it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from snapkit.core.values import dataclass

CUT = "..."

_USERINFO = re.compile(r"(?P<before>[a-z][a-z0-9+.-]*://[^\s:/@?#]*):[^\s]*@", re.IGNORECASE)
"""To the last "@": libpq takes the first, others the last, and a password may have any."""

_HTTP_USER = re.compile(r"(?P<before>https?://)[^\s/@:?#]+@", re.IGNORECASE)
"""A token, as GitHub has it in place of a user."""

_IN_QUERY = re.compile(r"(?P<before>[?&](?:\w*(?:password|secret|token)|scram_\w+_key)=)[^&\s'\"]+", re.IGNORECASE)

_NAME = re.compile(r"[^\s=:@?&'\"]*")


@dataclass(frozen=True, slots=True)
class ShownCommand:
    """A command as it is shown: ``shown`` are some of its words, ``words`` is how many it has."""

    shown: tuple[str, ...]
    words: int

    def __str__(self) -> str:
        return shlex.join(self.shown)


def shown_command(words: Sequence[str], *, in_full: bool) -> ShownCommand:
    """Return what is shown of a command: its program or, ``in_full``, all of it but passwords in URLs."""
    if not in_full:
        return ShownCommand((shown_program(words[0]),), len(words))
    return ShownCommand(tuple(map(without_passwords, words)), len(words))


def shown_program(word: str) -> str:
    """Return a program's name; of a word that is more (a whole command, a variable's value, a URL) the beginning."""
    name = _NAME.match(word)
    assert name is not None  # noqa: S101 - it matches nothing at least
    return word if name.end() == len(word) else name.group() + CUT


def without_passwords(text: str, instead: str = CUT) -> str:
    """Return a text with ``instead`` in place of the passwords in its URLs."""
    text = _USERINFO.sub(rf"\g<before>:{instead}@", text)
    return _IN_QUERY.sub(rf"\g<before>{instead}", _HTTP_USER.sub(rf"\g<before>{instead}@", text))


_VALUE = re.compile(r'".*', re.DOTALL)


def without_values(message: str) -> str:
    """Return PostgreSQL's message about a value that it refuses up to that: rows are nobody's business in a log.

    Where a constraint is violated, what is quoted are names. A value may hold quotes: all behind the first goes.
    """
    return message if "violates" in message else _VALUE.sub("...", message)
