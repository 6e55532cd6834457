"""What came of carrying late writes along: rows by table, conflicts, and what stays aside."""

from __future__ import annotations

from collections.abc import Mapping

from snapkit.core.comparison.row_changes import Change
from snapkit.core.comparison.writes import Rows
from snapkit.core.restoring.restored import Key, RestoreConflict, RestoredTable, TriggerMode
from snapkit.core.values import dataclass


@dataclass(frozen=True, slots=True)
class LeftAside:
    """Rows of one table that were not brought along, and why. ``rows`` None: they were not counted."""

    schema: str
    table: str
    rows: Rows | None
    reason: str

    def describe(self) -> str:
        return f"{self.schema}.{self.table}: {'; '.join(filter(None, (rows_text(self.rows), self.reason)))}"


@dataclass(frozen=True, slots=True)
class MergedRow:
    """A row of which some columns were brought along, since the command had changed other ones."""

    schema: str
    table: str
    key: Key


@dataclass(frozen=True, slots=True)
class Carried:
    """What was brought along. ``displaced`` is the name of the database that keeps the rest.

    ``conflicts`` and ``merged`` are the first ones; ``number_of_conflicts`` is how many there were.
    """

    displaced: str
    tables: tuple[RestoredTable, ...] = ()
    conflicts: tuple[RestoreConflict, ...] = ()
    number_of_conflicts: int = 0
    merged: tuple[MergedRow, ...] = ()
    not_carried: tuple[LeftAside, ...] = ()
    triggers: TriggerMode = TriggerMode.OFF

    @property
    def rows(self) -> int:
        return sum(each.rows.total for each in self.tables)


def counted(changes: Mapping[Change, int]) -> Rows:
    return Rows(changes.get(Change.INSERTED, 0), changes.get(Change.UPDATED, 0), changes.get(Change.DELETED, 0))


def rows_text(rows: Rows | None) -> str:
    """Return how many rows, by what became of them; nothing where they were not counted."""
    if rows is None:
        return ""
    parts = ((rows.inserted, "inserted"), (rows.updated, "updated"), (rows.deleted, "deleted"))
    return ", ".join(f"{number:,} {word}" for number, word in parts if number)
