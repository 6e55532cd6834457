"""How the values of an entry's column get into the live column, whose type may be another one by now.

PostgreSQL itself says whether a cast works, for the type and for each value. Here is decided what it is asked.
https://www.postgresql.org/docs/current/sql-createcast.html
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from snapkit.core.comparison.row_changes import Column, Pair
from snapkit.core.values import dataclass

FIRST_OF_USERS = 16384
"""Types with a lower OID are PostgreSQL's own: the same in every database of the server."""


class Way(StrEnum):
    """How a value travels."""

    SAME = "same"
    """The types are the same."""
    CAST = "cast"
    """It arrives in the entry's type. An assignment cast does the rest."""
    TEXT = "text"
    """It arrives as text, and is read by the input function of the live type, which may refuse it."""
    NONE = "none"
    """There is no way."""


@dataclass(frozen=True, slots=True)
class ColumnFit:
    """One column that both have: its names there and here, and the way of its values."""

    entry: Column
    live: Column
    way: Way

    @property
    def arrives_as(self) -> str:
        """The type, as format_type() prints it, in which the values arrive in the live database."""
        return {Way.SAME: self.live.type, Way.CAST: self.entry.type}.get(self.way, "text")


def fits(pair: Pair) -> tuple[ColumnFit, ...]:
    """Return the columns that are written: those that both have, but no generated ones."""
    return tuple(
        ColumnFit(entry, live, _way(entry, live, related=pair.related))
        for entry, live in pair.columns
        if not live.generated
    )


def _way(entry: Column, live: Column, *, related: bool) -> Way:
    is_own = entry.type_oid < FIRST_OF_USERS
    if entry.type == live.type and entry.type_oid == live.type_oid and is_own:
        return Way.SAME
    if is_own:
        return Way.CAST
    same_type = entry.type_oid == live.type_oid if related else entry.type == live.type
    if same_type or live.type.startswith(("text", "character varying")):
        return Way.TEXT
    return Way.NONE


def columns_gone(pair: Pair) -> tuple[Column, ...]:
    """Return the entry's columns that the live table no longer has. What they hold cannot be brought back."""
    if pair.before is None:
        return ()
    known = {entry.number for entry, _ in pair.columns}
    return tuple(each for each in pair.before.columns if each.number not in known and not each.generated)


def sets(columns: Iterable[ColumnFit], key: Iterable[Column]) -> tuple[ColumnFit, ...]:
    """Return the columns that an update sets: not those of the key, by which the row was found.

    A key whose equal values may print differently (citext, numeric) is set, too.
    """
    keyed = {each.number for each in key if each.loose is None}
    return tuple(each for each in columns if each.live.number not in keyed)


def takes_rows_as_they_are(pair: Pair) -> bool:
    """Whether the live table takes the entry's rows as they come: it has the same columns, of the same types."""
    if pair.before is None or pair.after is None or pair.before.partitioned or pair.after.partitioned:
        return False
    stored = {each.number for each in pair.after.columns if not each.generated}
    columns = fits(pair)
    return (
        {each.live.number for each in columns} == stored
        and not columns_gone(pair)
        and all(each.way is Way.SAME and each.entry.not_null >= each.live.not_null for each in columns)
    )
