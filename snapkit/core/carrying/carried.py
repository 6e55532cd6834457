"""What came of carrying late writes along: rows by table, conflicts, and what stays aside."""

from __future__ import annotations

from enum import StrEnum

from snapkit.core.comparison.writes import Rows
from snapkit.core.values import dataclass


class Triggers(StrEnum):
    """Whether triggers run for the rows that are brought along."""

    ON = "on"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class CarriedTable:
    """Rows of one table. ``merged`` are the keys of those of which only some columns were brought."""

    schema: str
    table: str
    rows: Rows
    merged: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RowConflict:
    """A row that cannot be brought along without guessing; ``key`` are the columns of its key and their values."""

    schema: str
    table: str
    key: tuple[tuple[str, str], ...]
    reason: str


@dataclass(frozen=True, slots=True)
class LeftAside:
    """Rows of one table that were not brought along, and why. ``rows`` None: they are not counted."""

    schema: str
    table: str
    rows: Rows | None
    reason: str


@dataclass(frozen=True, slots=True)
class Carried:
    """What was brought along. ``displaced`` is the name of the database that keeps the rest."""

    displaced: str
    tables: tuple[CarriedTable, ...] = ()
    conflicts: tuple[RowConflict, ...] = ()
    not_carried: tuple[LeftAside, ...] = ()
    triggers: Triggers = Triggers.OFF

    @property
    def rows(self) -> int:
        return sum(each.rows.total for each in self.tables)
