"""Compare the definitions of an online copy with those of its source."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from snapkit.core.comparison.definitions import plain
from snapkit.core.comparison.differences import DefinitionChange
from snapkit.core.comparison.schema.defined_objects import DISABLED, INVALID, Definition
from snapkit.core.comparison.schema.schema_changes import schema_changes

_SAID = {
    DefinitionChange.ADDED: "not in the source",
    DefinitionChange.REMOVED: "not in the copy",
    DefinitionChange.CHANGED: "differs",
}


def compare_copied(source: Iterable[Definition], copy: Iterable[Definition]) -> tuple[str, ...]:
    """Name what differs, but for what a copy by pg_dump cannot have, of which ``LeftOut`` tells.

    Casts and parentheses do not matter: pg_restore has made the copy of what PostgreSQL had printed, and so a
    difference of that kind is one of printing.
    """
    changes = schema_changes(_copied(source), _copied(copy), related=False, same=_same)
    return tuple(
        f"{each.object} {each.schema + '.' if each.schema else ''}{each.name}: {_SAID[each.change]}" for each in changes
    )


def _same(one: str, other: str) -> bool:
    return one == other or plain(one) == plain(other)


def _copied(definitions: Iterable[Definition]) -> Iterator[Definition]:
    for each in definitions:
        lines = each.tail.split("\n")
        if INVALID in lines and each.object == "index" and " ON ONLY " not in each.text:
            continue  # pg_dump leaves it out
        if each.object == "privilege" and each.scope is None and not each.is_default_privilege:
            continue  # of an object of PostgreSQL or of an extension
        yield each._replace(
            tail="\n".join(line for line in lines if line != DISABLED),
            owner=None if each.object == "extension" else each.owner,
        )
