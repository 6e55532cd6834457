"""What came of a restore: rows by table, or the conflicts that kept it from beginning."""

from __future__ import annotations

from enum import StrEnum

from snapkit.core.comparison.writes import Rows
from snapkit.core.values import dataclass

Key = tuple[tuple[str, str | None], ...]
"""The columns of a key and their values as text; of a table without a key, all columns."""


class TriggerMode(StrEnum):
    """Whether triggers of users run for the rows that are brought back."""

    ON = "on"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class RestoredTable:
    """How many rows of a table were brought back, or with a dry run would be."""

    schema: str
    table: str
    rows: Rows


@dataclass(frozen=True, slots=True)
class RestoreConflict:
    """A row that cannot be brought back as asked. ``key`` None: it is about the table, or PostgreSQL did not say."""

    schema: str
    table: str
    key: Key | None
    reason: str

    def describe(self) -> str:
        """Name table, row and reason in one line."""
        row = "" if self.key is None else " " + shown_key(self.key)
        return f"{self.schema}.{self.table}{row}: {self.reason}"


def shown_key(key: Key) -> str:
    """Return a key as people read it: ``(id=7)``."""
    return "(" + ", ".join(f"{column}={'NULL' if value is None else value}" for column, value in key) + ")"
