"""What a plan assumes about the databases that its statements name, and how that is checked.

A database is identified by its OID. Statements use names, and act on whatever has the name when they run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields

from snapkit.core.inventory.database import Database
from snapkit.core.values import dataclass
from snapkit.errors import BusyError

ROLLED_BACK = "The transaction was rolled back: nothing was changed."
LOOK_AGAIN = "See what there is now (snapkit list), then run the command again."


@dataclass(frozen=True, slots=True)
class Facts:
    """What pg_database says of one database, and its whole comment."""

    name: str
    owner: str
    allow_connections: bool
    connection_limit: int
    is_template: bool
    comment: str | None
    access: int | None
    """The hash of its access list; see ``Database``."""


def facts_of(database: Database, comment: str | None) -> Facts:
    """Return what was read of a database, and of its ``comment``, when the plan was made."""
    return Facts(
        name=database.name,
        owner=database.owner,
        allow_connections=database.allow_connections,
        connection_limit=database.connection_limit,
        is_template=database.is_template,
        comment=comment,
        access=database.access,
    )


class AlteredMeanwhileError(BusyError):
    """The databases are the right ones, but something about them was changed. It may help to read them again."""


def check_names_found(names: Mapping[int, str], found: Mapping[int, str], state: str) -> None:
    """Raise BusyError unless each OID has the name that the statements use. ``state`` is that of the error."""
    for oid, name in names.items():
        if found.get(oid) != name:
            was = f"renamed to {found[oid]!r}" if oid in found else "dropped or replaced"
            raise BusyError(
                f"{name!r} is no longer the same database: the one that was checked (OID {oid}) was {was} meanwhile.",
                state=state,
                hint=LOOK_AGAIN,
            )


EVERYTHING = frozenset(field.name for field in fields(Facts)) - {"access"}
"""A transaction that does not change the access list leaves it as it finds it."""


def check_facts_found(
    assumed: Mapping[int, Facts], found: Mapping[int, Facts], state: str, only: Collection[str] = EVERYTHING
) -> None:
    """Raise BusyError for another database, and AlteredMeanwhileError for one that is no longer as it was.

    ``only`` says which of the facts count besides the name.
    """
    check_names_found(
        {oid: facts.name for oid, facts in assumed.items()}, {oid: facts.name for oid, facts in found.items()}, state
    )
    for oid, facts in assumed.items():
        altered = list(_altered(facts, found[oid], only))
        if altered:
            raise AlteredMeanwhileError(
                f"Somebody has changed {facts.name!r} meanwhile: {', '.join(altered)}.",
                state=state,
                hint=LOOK_AGAIN,
            )


def _altered(before: Facts, now: Facts, only: Collection[str]) -> Iterator[str]:
    """Name what differs."""
    for field in fields(Facts):
        if field.name in only and getattr(before, field.name) != getattr(now, field.name):
            yield field.name.replace("_", " ")
