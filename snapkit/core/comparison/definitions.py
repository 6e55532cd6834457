"""Compare a copy with its source: definitions, rows, and the objects that pg_dump does not dump."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import field

from snapkit.core.reporting import Caution
from snapkit.core.values import dataclass

_TITLE = re.compile(r"^--\n-- Name: (.*)\n--\n", re.MULTILINE)
_BY_ORDER = re.compile(
    r"^(?:SET default_(?:tablespace|table_access_method) = .*;|\\(?:un)?restrict .*)$",
    re.MULTILINE,
)
"""Lines that depend on the order of the objects, or that are different in each dump."""
_END = "\n--\n-- PostgreSQL database dump complete\n--\n"
_CAST = re.compile(
    r"::(?:\"[^\"]+\"|\w+)(?:\.(?:\"[^\"]+\"|\w+))?"
    r"(?: varying| precision| with(?:out)? time zone)?(?:\(\d+(?:,\d+)?\))?(?:\[\])*"
)
_FILLING = re.compile(r"[\s()]+")


def compare_definitions(wanted: str, found: str) -> tuple[str, ...]:
    """Compare two dumps of definitions, and name what differs.

    The order does not matter. Casts and parentheses in expressions do not matter either: PostgreSQL writes ``IN`` over
    varchar in another way once it has read what it has written.
    """
    before, after = _definitions(wanted), _definitions(found)
    lacking, surplus = before - after, after - before
    titles = sorted({title for title, _ in (*lacking, *surplus)})
    has, had = {title for title, _ in after}, {title for title, _ in before}
    return tuple(
        f"{title}: {'not in the copy' if title not in has else 'not in the source' if title not in had else 'differs'}"
        for title in titles
    )


def _definitions(dump: str) -> Counter[tuple[str, str]]:
    pieces = _TITLE.split(dump.rpartition(_END)[0])
    return Counter((title, _plain(title, body)) for title, body in zip(pieces[1::2], pieces[2::2], strict=True))


def _plain(title: str, body: str) -> str:
    lines = _BY_ORDER.sub("", body).splitlines()
    if "Type: ACL" in title or "Type: DEFAULT ACL" in title:
        lines.sort()
    return plain("\n".join(lines))


def plain(text: str) -> str:
    """Return a text without casts, parentheses and blanks."""
    return _FILLING.sub("", _CAST.sub("", text))


def compare_numbers(wanted: Mapping[str, int], found: Mapping[str, int]) -> tuple[str, ...]:
    """Compare numbers by name, and name those that differ."""
    return tuple(
        f"{what}: {wanted.get(what, 0)} in the source, {found.get(what, 0)} in the copy"
        for what in sorted({*wanted, *found})
        if wanted.get(what, 0) != found.get(what, 0)
    )


@dataclass(frozen=True, slots=True)
class Contents:
    """The number of rows, and the sum of a 64-bit hash of each. The order of the rows does not matter."""

    rows: int
    checksum: int


def compare_contents(wanted: Mapping[str, Contents], found: Mapping[str, Contents]) -> tuple[str, ...]:
    """Compare the rows of each table, and name what differs."""
    numbers = [{name: each.rows for name, each in side.items()} for side in (wanted, found)]
    others = [
        f"{name}: as many in the copy, but other ones"
        for name, each in wanted.items()
        if name in found and found[name].rows == each.rows and found[name].checksum != each.checksum
    ]
    return tuple(sorted((*compare_numbers(*numbers), *others)))


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """An object that pg_dump does not dump: a hash of what it does, and a hash of its owner, cost, privileges and
    comment."""

    definition: int
    rest: int


def compare_given(
    wanted: Mapping[str, Fingerprint], found: Mapping[str, Fingerprint]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of objects that are defined differently or exist on one side only, and the names of those of
    which only the rest differs."""
    names = sorted({*wanted, *found})
    differing = tuple(name for name in names if _definition(wanted, name) != _definition(found, name))
    changed = (name for name in names if name not in differing and wanted[name] != found[name])
    return differing, tuple(changed)


def _definition(objects: Mapping[str, Fingerprint], name: str) -> int | None:
    return objects[name].definition if name in objects else None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What pg_dump does not dump, or dumps without a detail.

    These are: the owner of each extension; foreign keys that are not enforced; objects of PostgreSQL or of an
    extension; rows in tables of extensions; rows of materialized views, which are computed again.
    """

    extension_owners: Mapping[str, str]
    disabled_keys: frozenset[str]
    given: Mapping[str, Fingerprint] = field(default_factory=dict)
    of_extensions: Mapping[str, Contents] = field(default_factory=dict)
    views: Mapping[str, Contents] = field(default_factory=dict)


def cautions_of(wanted: LeftOut, found: LeftOut) -> tuple[Caution, ...]:
    """Warn of what the copy could not be given."""
    owners = [
        f"{name} ({found.extension_owners[name]!r} instead of {owner!r})"
        for name, owner in sorted(wanted.extension_owners.items())
        if found.extension_owners.get(name, owner) != owner
    ]
    views = {name: each for name, each in found.views.items() if name in wanted.views}
    keys = sorted(wanted.disabled_keys - found.disabled_keys)
    given = compare_given(wanted.given, found.given)[1]
    own = compare_contents(wanted.of_extensions, found.of_extensions)
    anew = compare_contents(wanted.views, views)
    told = (
        (owners, Caution("extension_owners", f"Extensions have another owner in the backup: {', '.join(owners)}.")),
        (
            keys,
            Caution(
                "keys_enforced",
                "These foreign keys are enforced in the backup, although their triggers are disabled in the "
                f"source (ALTER TABLE ... DISABLE TRIGGER ALL): {', '.join(keys)}.",
            ),
        ),
        (
            given,
            Caution(
                "given_objects_changed",
                "Objects of PostgreSQL itself, or of an extension, have another owner, other privileges, another "
                f"cost or another comment in the backup: {', '.join(given)}.",
            ),
        ),
        (
            own,
            Caution(
                "extension_rows",
                "Tables of extensions hold other rows in the backup, because the extension does not declare these "
                f"rows as the user's: {', '.join(own)}.",
            ),
        ),
        (
            anew,
            Caution(
                "views_refreshed",
                "Materialized views hold other rows in the backup, because they were computed again: "
                f"{', '.join(anew)}.",
            ),
        ),
    )
    return tuple(caution for names, caution in told if names)


def compare_versions(installed: Mapping[str, str], offered: Mapping[str, str | None]) -> tuple[str, ...]:
    """Name the extensions that the copy would have in another version, or not at all."""
    return tuple(
        f"{name} {version} ("
        + ("the server does not offer it" if offered.get(name) is None else f"the server would install {offered[name]}")
        + ")"
        for name, version in sorted(installed.items())
        if offered.get(name) != version
    )
