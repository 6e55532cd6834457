"""What belongs to a database as an object, and a clone by template does not carry: as values, and how to bring it back.

https://www.postgresql.org/docs/current/manage-ag-templatedbs.html
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

from snapkit.core.statements import (
    AlterDatabase,
    GrantOnDatabase,
    LabelDatabase,
    RevokeAllOnDatabase,
    SetParameter,
    SetRole,
    Statement,
)

LIST_QUOTED = frozenset(
    (
        "local_preload_libraries",
        "search_path",
        "session_preload_libraries",
        "shared_preload_libraries",
        "temp_tablespaces",
        "unix_socket_directories",
    )
)
"""The parameters that PostgreSQL flags GUC_LIST_QUOTE. No catalog shows the flag, and extensions may not set it, so
pg_dump carries this same list (``variable_is_guc_list_quote`` in its source)."""


@dataclass(frozen=True, slots=True, order=True)
class Privilege:
    """One item of a database's access list; ``grantee`` "" is PUBLIC."""

    grantor: str
    grantee: str
    privilege: str
    grantable: bool


@dataclass(frozen=True, slots=True, order=True)
class Setting:
    """One parameter set for the database, for one role in it or, with ``role`` "", for all; ``value`` as stored."""

    role: str
    parameter: str
    value: str


@dataclass(frozen=True, slots=True, order=True)
class SecurityLabel:
    provider: str
    label: str


@dataclass(frozen=True, slots=True)
class Properties:
    """The properties of one database. ``privileges`` None means that the defaults were never changed."""

    owner: str
    connection_limit: int
    privileges: frozenset[Privilege] | None
    settings: frozenset[Setting]
    security_labels: frozenset[SecurityLabel]


def statements_to_set(name: str, wanted: Properties) -> tuple[Statement, ...]:
    """Give a fresh clone the properties of its source, save the owner, which CREATE DATABASE gave it already."""
    return (
        *_privilege_statements(name, wanted),
        *(
            SetParameter(name, setting.role or None, setting.parameter, _values(setting))
            for setting in sorted(wanted.settings)
        ),
        *(LabelDatabase(name, label.provider, label.label) for label in sorted(wanted.security_labels)),
        AlterDatabase(name, connection_limit=wanted.connection_limit),
    )


def _privilege_statements(name: str, wanted: Properties) -> Iterator[Statement]:
    if wanted.privileges is None:
        return
    yield RevokeAllOnDatabase(name, None)
    yield RevokeAllOnDatabase(name, wanted.owner)
    by_grantor: dict[str, dict[tuple[str, bool], list[str]]] = defaultdict(lambda: defaultdict(list))
    for item in sorted(wanted.privileges):
        by_grantor[item.grantor][item.grantee, item.grantable].append(item.privilege)
    for grantor in _grant_order(wanted):
        if grantor != wanted.owner:
            yield SetRole(grantor)
        for (grantee, grantable), privileges in by_grantor[grantor].items():
            yield GrantOnDatabase(name, tuple(privileges), grantee or None, grantable)
        if grantor != wanted.owner:
            yield SetRole(None)


def _grant_order(wanted: Properties) -> list[str]:
    """Grantors in an order in which each has its grant option before it uses it; the owner always has."""
    privileges = wanted.privileges or frozenset()
    waiting = {item.grantor for item in privileges} - {wanted.owner}
    order = [wanted.owner]
    while waiting:
        able = {item.grantee for item in privileges if item.grantable and item.grantor in order}
        ready = sorted(waiting & able) or sorted(waiting)
        order += ready
        waiting -= set(ready)
    return order


def _values(setting: Setting) -> tuple[str, ...]:
    if setting.parameter.lower() in LIST_QUOTED:
        return split_identifiers(setting.value)
    return (setting.value,)


def split_identifiers(text: str) -> tuple[str, ...]:
    """Split a list as PostgreSQL stores it: comma-separated, each element an identifier, quoted where need be."""
    values: list[str] = []
    position = 0
    while position < len(text):
        if text[position] in ", ":
            position += 1
        elif text[position] == '"':
            value, position = _quoted(text, position + 1)
            values.append(value)
        else:
            end = min((at for mark in ", " if (at := text.find(mark, position)) >= 0), default=len(text))
            values.append(text[position:end])
            position = end
    return tuple(values) or ("",)


def _quoted(text: str, position: int) -> tuple[str, int]:
    """Read from behind an opening quote; a doubled quote stands for one."""
    value = ""
    while position < len(text):
        if text[position] != '"':
            value += text[position]
        elif text[position + 1 : position + 2] == '"':
            value += '"'
            position += 1
        else:
            return value, position + 1
        position += 1
    return value, position


def describe(properties: Properties) -> Iterator[tuple[str, str]]:
    """Yield what a person would want to know of the properties, as (name, text)."""
    limit = properties.connection_limit
    yield "Connection limit", "none" if limit < 0 else str(limit)
    yield "Privileges", _shown(properties.privileges)
    yield "Settings", _shown(properties.settings)
    if properties.security_labels:
        yield "Security labels", _shown(properties.security_labels)


@dataclass(frozen=True, slots=True)
class Difference:
    """A property that is not as it should be; both sides fit for a message."""

    name: str
    wanted: str
    found: str


def compare(wanted: Properties, found: Properties) -> tuple[Difference, ...]:
    """Return what differs, property by property; empty when the two are the same."""
    return tuple(
        Difference(field.name.replace("_", " "), *_only_in(getattr(wanted, field.name), getattr(found, field.name)))
        for field in fields(Properties)
        if getattr(wanted, field.name) != getattr(found, field.name)
    )


def _only_in(wanted: object, found: object) -> tuple[str, str]:
    if isinstance(wanted, frozenset) and isinstance(found, frozenset):
        return _listed(sorted(wanted - found)), _listed(sorted(found - wanted))
    return _shown(wanted), _shown(found)


def _listed(items: Sequence[object]) -> str:
    return "; ".join(_shown(item) for item in items) or "nothing"


def _shown(value: object) -> str:
    match value:
        case None:
            return "the defaults"
        case Privilege():
            option = " with grant option" if value.grantable else ""
            return f"{value.privilege} to {value.grantee or 'PUBLIC'} by {value.grantor}{option}"
        case Setting():
            return f"{value.parameter}" + (f" for role {value.role}" if value.role else "")
        case SecurityLabel():
            return f"{value.provider} label"
        case frozenset():
            return _listed(sorted(value))
        case _:
            return str(value)
