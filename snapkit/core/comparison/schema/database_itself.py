"""What is defined of a database as a whole: settings, privileges, comment, owner. It is named in none of the texts,
since an entry has another name than the live database."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

from snapkit.core.comparison.schema.defined_objects import Definition
from snapkit.core.values import dataclass

DATABASE = "database"
"""The name under which it is told."""


@dataclass(frozen=True, slots=True)
class DatabaseItself:
    """A database as a whole.

    ``settings`` are role ("" for all), parameter and value; ``privileges`` are statements such as ``GRANT CONNECT TO
    app``; ``labels`` are provider and label.
    """

    owner: str
    comment: str | None
    connection_limit: int
    settings: frozenset[tuple[str, str, str]] = frozenset()
    privileges: frozenset[str] = frozenset()
    labels: frozenset[tuple[str, str]] = frozenset()


def definitions_of(database: DatabaseItself) -> Iterator[Definition]:
    """Return the definitions of a database as a whole."""
    yield Definition("0.0.0", DATABASE, None, (DATABASE,), "DATABASE", "", owner=database.owner)
    if database.comment is not None:
        yield _said("comment", DATABASE, f"COMMENT ON DATABASE IS {_quoted(database.comment)};")
    if database.connection_limit >= 0:
        yield _said("setting", "connection limit", f"CONNECTION LIMIT {database.connection_limit}")
    if database.privileges:
        yield _said("privilege", DATABASE, "\n".join(sorted(database.privileges)))
    for provider, label in sorted(database.labels):
        yield _said("security label", f"{DATABASE} {provider}", f"SECURITY LABEL FOR {provider} IS {_quoted(label)};")
    for role, parameter, value in sorted(database.settings):
        yield _setting(role, parameter, value)


def _said(kind: str, name: str, text: str) -> Definition:
    return Definition(f"0.0.0 {kind} {name}", kind, None, (name,), "DATABASE", text, raw=text)


def _setting(role: str, parameter: str, value: str) -> Definition:
    """A setting. The value of a parameter of one's own, which has a dot in its name, may be a secret."""
    name = f"{parameter} for role {role}" if role else parameter
    shown = "***" if "." in parameter else _quoted(value)
    found = _said("setting", name, f"SET {parameter} TO {shown}" + (f" FOR ROLE {role}" if role else ""))
    return found._replace(hidden=sha256(value.encode(errors="surrogateescape")).hexdigest())


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
