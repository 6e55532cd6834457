"""What ``diff`` finds: definitions and tables that differ, as it is shown."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

from snapkit.core.comparison.row_changes import Change, Method
from snapkit.core.comparison.writes import Rows
from snapkit.core.values import dataclass


class DefinitionChange(StrEnum):
    """What became of an object."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class ChangedDefinition:
    """An object that is defined otherwise, with its definition on either side as PostgreSQL prints it.

    ``object`` is its kind in small letters, as in ``table``, ``column``, ``materialized view``. ``schema`` is None for
    what is in no schema. Of a column ``name`` is ``table.column``, of what lies on a table ``table.name``.
    """

    object: str
    schema: str | None
    name: str
    change: DefinitionChange
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class ShownRow:
    """One changed row: columns and values as text, None for NULL; a side is None where there was no row."""

    change: Change
    key: Mapping[str, str | None] | None
    before: Mapping[str, str | None] | None
    after: Mapping[str, str | None] | None


@dataclass(frozen=True, slots=True)
class ChangedTable:
    """A table with differences, or one that was not compared (``rows`` None, and a ``reason``).

    ``as_of`` is the moment of the live side. ``shown`` are some of the changed rows; None: they were not asked for.
    """

    schema: str
    table: str
    rows: Rows | None
    method: Method
    as_of: datetime | None = None
    reason: str | None = None
    shown: tuple[ShownRow, ...] | None = None
