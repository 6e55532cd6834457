"""What may be secret among the words of a command, cut out before they are shown: in messages, JSON and to hooks.

Rather too much is cut than too little: the words are shown so that a person knows which command is meant.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

CUT = "..."

_NAMES = r"(?:pass(?:word|wd|phrase)?|pwd|secret|token|credentials?|api[_-]?key|access[_-]?key|private[_-]?key)"

_USERINFO = re.compile(r"(?P<before>[a-z][a-z0-9+.-]*://[^\s:/@?#]*):[^\s]*@", re.IGNORECASE)
"""To the last "@": libpq takes the first, others the last, and a password may have any."""

_HTTP_USER = re.compile(r"(?P<before>https?://)[^\s/@:?#]+@", re.IGNORECASE)
"""A token, as GitHub has it in place of a user."""

_VALUE = r"""(?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|[^\s&'"]+)"""
_ASSIGNED = re.compile(rf"(?P<before>(?<!\w)[\w.-]*{_NAMES}[\w.-]*\s*=\s*){_VALUE}", re.IGNORECASE)
"""In a connection string, in the query of a URL, before a command (PGPASSWORD=...), and of an option."""

_IN_SQL = re.compile(r"(?P<before>\bpassword\s+)[eE]?'(?:''|[^'])*'", re.IGNORECASE)
"""https://www.postgresql.org/docs/current/sql-alterrole.html"""

_OPTION = re.compile(rf"--?[\w-]*{_NAMES}", re.IGNORECASE)


_OPTION_IN_TEXT = re.compile(rf"(?P<before>(?<![\w-])--?[\w-]*{_NAMES}[\w-]*\s+)(?!-){_VALUE}", re.IGNORECASE)
_QUOTED_OPTION = re.compile(
    rf"(?P<before>(?P<quote>['\"])--?[\w-]*{_NAMES}[\w-]*=)(?:(?!(?P=quote)).)*(?P=quote)", re.IGNORECASE | re.DOTALL
)
"""In a script for a shell."""


def without_secrets(words: Sequence[str]) -> tuple[str, ...]:
    """Return the words with three dots in place of what may be secret."""
    shown: list[str] = []
    is_value = False
    for word in words:
        shown.append(CUT if is_value and not word.startswith("-") else cut_secrets(word))
        is_value = _OPTION.fullmatch(word) is not None
    return tuple(shown)


def cut_secrets(text: str) -> str:
    """Return a text, such as a script for a shell, with three dots in place of what may be secret."""
    text = _USERINFO.sub(rf"\g<before>:{CUT}@", text)
    text = _HTTP_USER.sub(rf"\g<before>{CUT}@", text)
    text = _QUOTED_OPTION.sub(rf"\g<before>{CUT}\g<quote>", text)
    text = _OPTION_IN_TEXT.sub(rf"\g<before>{CUT}", text)
    text = _IN_SQL.sub(rf"\g<before>{CUT}", text)
    return _ASSIGNED.sub(rf"\g<before>{CUT}", text)
