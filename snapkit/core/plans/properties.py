"""The properties that CREATE DATABASE ... TEMPLATE does not copy, as values, and the statements that restore them.

https://www.postgresql.org/docs/current/manage-ag-templatedbs.html
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import field, fields, replace
from itertools import groupby

from snapkit.core.plans.statements import (
    AlterDatabase,
    GrantOnDatabase,
    LabelDatabase,
    ResetParameters,
    RevokeAllOnDatabase,
    SetParameter,
    SetRole,
    Statement,
    StoreParameter,
)
from snapkit.core.values import dataclass

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
    """One item of a database's access list; ``grantee`` "" is PUBLIC. ``place`` is where in the list it stands."""

    grantor: str
    grantee: str
    privilege: str
    grantable: bool
    place: int = field(default=0, compare=False, repr=False)


@dataclass(frozen=True, slots=True, order=True)
class Setting:
    """One parameter set for the database, for one role in it or, with ``role`` "", for all; ``value`` as stored.

    ``place`` is where it stands among those of its role, which is the order that a session takes them in.
    """

    role: str
    parameter: str
    value: str
    place: int = field(default=0, compare=False, repr=False)


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


def for_roles(properties: Properties, names: Mapping[str, str | None]) -> Properties:
    """Return the properties with roles renamed by ``names``. Where that is None, what belongs to the role is left out.

    A role that ``names`` does not know keeps its name. So does the owner, unless another one is given.
    """

    def now(role: str) -> str | None:
        return names.get(role, role)

    privileges = None
    if properties.privileges is not None:
        found = ((now(each.grantor), now(each.grantee), each) for each in properties.privileges)
        privileges = frozenset(
            replace(each, grantor=grantor, grantee=grantee)
            for grantor, grantee, each in found
            if grantor is not None and grantee is not None
        )
    settings = ((now(each.role), each) for each in properties.settings)
    return replace(
        properties,
        owner=now(properties.owner) or properties.owner,
        privileges=privileges,
        settings=frozenset(replace(each, role=role) for role, each in settings if role is not None),
    )


def statements_to_set(name: str, wanted: Properties) -> tuple[Statement, ...]:
    """Give a new clone the properties of its source. CREATE DATABASE has set the owner already."""
    return (
        *(() if wanted.privileges is None else _privilege_statements(name, wanted.owner, wanted.privileges)),
        *_setting_statements(name, wanted.settings),
        *_label_statements(name, wanted.security_labels),
        AlterDatabase(name, connection_limit=wanted.connection_limit),
    )


def statements_to_replace(name: str, present: Properties, wanted: Properties) -> tuple[Statement, ...]:
    """Replace the properties of a database. Its owner (in ``present``) has to be the wanted one already."""
    grantees = sorted({item.grantee for item in present.privileges or ()} - {"", wanted.owner})
    roles = sorted({setting.role for setting in present.settings})
    plainly = default_privileges(wanted.owner) if present.privileges is not None else None
    privileges = plainly if wanted.privileges is None else wanted.privileges
    providers = {each.provider for each in present.security_labels} - {each.provider for each in wanted.security_labels}
    return (
        *((RevokeAllOnDatabase(name, tuple(grantees)),) if grantees else ()),
        *(LabelDatabase(name, provider, None) for provider in sorted(providers)),
        *(ResetParameters(name, role or None) for role in roles),
        *statements_to_set(name, replace(wanted, privileges=privileges)),
    )


def statements_to_add(name: str, wanted: Properties) -> tuple[Statement, ...]:
    """Give a database these privileges, settings and labels besides what it has."""
    return (
        *statements_to_grant(name, wanted.owner, wanted.privileges or ()),
        *_setting_statements(name, wanted.settings),
        *_label_statements(name, wanted.security_labels),
    )


def _label_statements(name: str, labels: Collection[SecurityLabel]) -> Iterator[Statement]:
    for label in sorted(labels):
        yield LabelDatabase(name, label.provider, label.label)


def default_privileges(owner: str) -> frozenset[Privilege]:
    """What a database's access list is taken to be while nobody has changed it (acldefault('d', owner)).

    https://www.postgresql.org/docs/current/ddl-priv.html
    """
    public = (Privilege(owner, "", privilege, False) for privilege in ("CONNECT", "TEMPORARY"))
    own = (Privilege(owner, owner, privilege, False) for privilege in ("CONNECT", "CREATE", "TEMPORARY"))
    return frozenset((*public, *own))


def _privilege_statements(name: str, owner: str, wanted: frozenset[Privilege]) -> Iterator[Statement]:
    """Write the access list anew: revoke everything, then grant each privilege once its grantor may grant it."""
    yield RevokeAllOnDatabase(name, (None,))
    yield RevokeAllOnDatabase(name, (owner,))
    yield from statements_to_grant(name, owner, wanted)


def statements_to_grant(name: str, owner: str, wanted: Collection[Privilege]) -> Iterator[Statement]:
    """Grant each privilege once its grantor may grant it, and otherwise in the order of the list."""
    pending = sorted(wanted, key=lambda item: (item.place, *_recipient(item)))
    may_give: set[tuple[str, str]] = set()
    while pending:
        able = [item for item in pending if item.grantor == owner or (item.grantor, item.privilege) in may_give]
        ready = able or pending  # a grantor whose option has gone: PostgreSQL is asked all the same
        yield from _grants(name, owner, ready)
        may_give |= {(item.grantee, item.privilege) for item in ready if item.grantable}
        done = frozenset(ready)
        pending = [item for item in pending if item not in done]


def _recipient(item: Privilege) -> tuple[str, str]:
    """The key of one element of an access list: grantor and grantee."""
    return item.grantor, item.grantee


_Held = tuple[tuple[bool, tuple[str, ...]], ...]
"""The privileges of an element, without and with the grant option."""

_MANY = 50
"""From so many statements on it counts that each writes the whole list anew, and the order of the list does not."""


def _grants(name: str, owner: str, items: Sequence[Privilege]) -> Iterator[Statement]:
    """Put neighbours with the same privileges into one GRANT."""
    elements = [(grantor, _held(group), grantee) for (grantor, grantee), group in groupby(items, _recipient)]
    runs = _runs(elements)
    if len(runs) > _MANY:
        runs = _runs(sorted(elements))
    for grantor, held, grantees in runs:
        for grantable, privileges in held:
            grant = GrantOnDatabase(name, privileges, tuple(grantee or None for grantee in grantees), grantable)
            yield from (grant,) if grantor == owner else (SetRole(grantor), grant, SetRole(None))


def _held(items: Iterable[Privilege]) -> _Held:
    ordered = sorted(items, key=lambda item: (item.grantable, item.privilege))
    groups = groupby(ordered, lambda item: item.grantable)
    return tuple((grantable, tuple(item.privilege for item in group)) for grantable, group in groups)


def _runs(elements: Iterable[tuple[str, _Held, str]]) -> list[tuple[str, _Held, list[str]]]:
    grouped = groupby(elements, lambda element: element[:2])
    return [(grantor, held, [grantee for *_, grantee in group]) for (grantor, held), group in grouped]


def _setting_statements(name: str, settings: Collection[Setting]) -> Iterator[Statement]:
    for setting in sorted(settings, key=lambda each: (each.role, each.place, each.parameter)):
        role, parameter = setting.role or None, setting.parameter
        if parameter.lower() not in LIST_QUOTED:
            yield SetParameter(name, role, parameter, (setting.value,))
        elif (values := split_identifiers(setting.value)) and _joined(values) == setting.value:
            yield SetParameter(name, role, parameter, values)
        else:
            yield StoreParameter(name, role, parameter, setting.value)


def _joined(values: Iterable[str]) -> str:
    """Write a list as PostgreSQL stores it, except that keywords are quoted, too."""
    return ", ".join(value if _PLAIN.fullmatch(value) else '"' + value.replace('"', '""') + '"' for value in values)


_PLAIN = re.compile("[a-z_][a-z0-9_]*")


def statements_to_correct(name: str, wanted: Properties, found: Properties) -> tuple[Statement, ...]:
    """Return the statements for lists that differ from the ``wanted`` ones in the quotes around a keyword."""
    present = {(each.role, each.parameter) for each in found.settings}
    return tuple(
        StoreParameter(name, each.role or None, each.parameter, each.value)
        for each in sorted(wanted.settings - found.settings)
        if each.parameter.lower() in LIST_QUOTED and (each.role, each.parameter) in present
    )


_BETWEEN = ", \t\n\r\f\v"


def split_identifiers(text: str) -> tuple[str, ...]:
    """Split a list as PostgreSQL stores it: identifiers separated by commas, and quoted where they have to be.

    An identifier without quotes is folded to lower case, as PostgreSQL does when it reads the setting. An empty text is
    a list without elements. That is not the same as a list with one empty name.
    """
    values: list[str] = []
    position = 0
    while position < len(text):
        if text[position] in _BETWEEN:
            position += 1
        elif text[position] == '"':
            value, position = _quoted(text, position + 1)
            values.append(value)
        else:
            end = min((at for mark in _BETWEEN if (at := text.find(mark, position)) >= 0), default=len(text))
            # Of letters without quotes PostgreSQL folds A to Z only, in UTF-8.
            values.append("".join(char.lower() if char.isascii() else char for char in text[position:end]))
            position = end
    return tuple(values)


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


def explains(refused: Statement, difference: Difference) -> bool:
    """Whether a statement that the role may not run explains a difference."""
    match refused:
        case SetParameter() | StoreParameter() | ResetParameters():
            return difference.name == "settings"
        case LabelDatabase():
            return difference.name == "security_labels"
        case GrantOnDatabase():
            return difference.name == "privileges" and not difference.widens
        case _:
            return False


def describe(properties: Properties) -> Iterator[tuple[str, str]]:
    """Yield what a person would want to know of the properties, as (name, text)."""
    limit = properties.connection_limit
    yield "Connection limit", "none" if limit < 0 else str(limit)
    yield "Privileges", "the defaults" if properties.privileges is None else _by_grantee(properties.privileges)
    # Without their values, which may be secrets.
    yield "Settings", "; ".join(map(shown, sorted(properties.settings))) or "none"
    if properties.security_labels:
        yield "Security labels", shown(properties.security_labels)


@dataclass(frozen=True, slots=True)
class Difference:
    """A property that is not as it should be; both sides fit for a message.

    ``widens`` says that the database is open to somebody to whom it should not be.
    """

    name: str
    wanted: str
    found: str
    widens: bool = False


def compare(wanted: Properties, found: Properties) -> tuple[Difference, ...]:
    """Return what differs, property by property; empty when the two are the same.

    They are compared as they are stored, but for the default privileges, which are the same written out.
    """
    wanted, found = _in_effect(wanted), _in_effect(found)
    widens = not (found.privileges or frozenset()) <= (wanted.privileges or frozenset())
    return tuple(
        Difference(
            field.name,
            *_only_in(getattr(wanted, field.name), getattr(found, field.name)),
            widens=widens and field.name == "privileges",
        )
        for field in fields(Properties)
        if getattr(wanted, field.name) != getattr(found, field.name)
    )


def _by_grantee(privileges: frozenset[Privilege]) -> str:
    words: dict[str, list[str]] = {}
    for item in sorted(privileges):
        words.setdefault(item.grantee or "PUBLIC", []).append(
            item.privilege + (" (may grant it)" if item.grantable else "")
        )
    return "; ".join(f"{grantee}: {', '.join(held)}" for grantee, held in words.items()) or "none"


def _in_effect(properties: Properties) -> Properties:
    """Write out the default privileges."""
    privileges = default_privileges(properties.owner) if properties.privileges is None else properties.privileges
    return replace(properties, privileges=privileges)


def _only_in(wanted: object, found: object) -> tuple[str, str]:
    if isinstance(wanted, frozenset) and isinstance(found, frozenset):
        return _listed(sorted(wanted - found)), _listed(sorted(found - wanted))
    return shown(wanted), shown(found)


def _listed(items: Sequence[object]) -> str:
    return "; ".join(shown(item) for item in items) or "nothing"


def shown(value: object) -> str:
    """Say what a property is, without its value."""
    match value:
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
