"""Patterns that choose tables, as psql's ``\\d`` takes them.

``*`` stands for any characters, ``?`` for one. A dot parts schema and table; without one, any schema will do. Letters
are folded to small ones, and everything is taken as it is between double quotes.
https://www.postgresql.org/docs/current/app-psql.html#APP-PSQL-PATTERNS
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from snapkit.core.values import dataclass
from snapkit.errors import NOTHING_CHANGED, NotFoundError

_PIECE = re.compile(r'"(?P<quoted>(?:[^"]|"")*)"|(?P<plain>[^"])')
_NEEDS_NO_QUOTES = re.compile(r"[a-z_][a-z0-9_]*")
_WILD = {"*": ".*", "?": "."}
_MAX_CLOSE = 3


@dataclass(frozen=True, slots=True)
class TablePattern:
    """A pattern; ``schema`` and ``name`` are regular expressions for the whole of a name, and None fits any schema."""

    text: str
    schema: str | None
    name: str

    def fits(self, schema: str, name: str) -> bool:
        """Whether the pattern chooses that table."""
        return _is(self.name, name) and (self.schema is None or _is(self.schema, schema))


def _is(expression: str, name: str) -> bool:
    return re.fullmatch(expression, name, re.DOTALL) is not None


def table_pattern(text: str) -> TablePattern:
    """Read a pattern; raise ValueError if it is none."""
    parts = [""]
    read = 0
    for piece in _PIECE.finditer(text):
        if piece.start() != read:
            break
        read = piece.end()
        quoted, plain = piece["quoted"], piece["plain"]
        if plain == ".":
            parts.append("")
        elif plain is not None:
            parts[-1] += _WILD.get(plain) or re.escape(_folded(plain))
        else:
            parts[-1] += re.escape(quoted.replace('""', '"'))
    if read != len(text):
        raise ValueError(f"{text}: a double quote is not closed")
    if len(parts) > 2:
        raise ValueError(f"{text}: a pattern has at most a schema and a table, with one dot between them")
    if not all(parts):
        raise ValueError(f"{text!r}: it names no table. All of a schema's tables: 'schema.*'")
    *schema, name = parts
    return TablePattern(text, schema[0] if schema else None, name)


def _folded(letter: str) -> str:
    """As PostgreSQL folds a name that stands in no quotes, in UTF-8."""
    return letter.lower() if letter.isascii() else letter


def pattern_for(schema: str, name: str) -> str:
    """Return the pattern that chooses just that table, as one types it."""
    return f"{_typed(schema)}.{_typed(name)}"


def _typed(name: str) -> str:
    if _NEEDS_NO_QUOTES.fullmatch(name):
        return name
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def chosen_by(patterns: Sequence[TablePattern], schema: str, name: str) -> bool:
    """Whether one of the patterns chooses that table; without any pattern all tables are."""
    return not patterns or any(each.fits(schema, name) for each in patterns)


def check_each_fits(patterns: Iterable[TablePattern], names: Sequence[tuple[str, str]], where: str) -> None:
    """Raise NotFoundError if a pattern fits none of the tables, which are (schema, name), and name those close to it.

    ``where`` the tables are is said as in ``neither in 'a' nor in 'b'``.
    """
    for pattern in patterns:
        if not any(pattern.fits(*name) for name in names):
            close = close_names(pattern, names)
            raise NotFoundError(
                f"No table fits {pattern.text!r}, {where}.",
                state=NOTHING_CHANGED,
                hint=f"Did you mean {' or '.join(close)}?"
                if close
                else "A pattern is as in psql: 'public.*', 'order?'",
            )


def close_names(pattern: TablePattern, names: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Return the tables that somebody may have meant by a pattern that fits none, the closest first."""
    from difflib import SequenceMatcher  # needed for an error only

    wanted = pattern.text.lower()
    scored = []
    for schema, name in names:
        whole = pattern_for(schema, name)
        compared = (name, whole) if pattern.schema is None else (whole,)
        likeness = max(SequenceMatcher(None, wanted, each.lower()).ratio() for each in compared)
        if likeness >= 0.6:
            scored.append((-likeness, whole))
    return tuple(whole for _, whole in sorted(scored)[:_MAX_CLOSE])
