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


class TriggerWay(StrEnum):
    """How triggers of users are treated."""

    FIRE = "fire"
    SESSION = "session"
    """They do not fire in our session. Nor do foreign keys then, which we check ourselves."""
    TABLE = "table"
    """They are disabled in the tables until COMMIT, which keeps other writers out. Foreign keys stay enforced."""

    @property
    def mode(self) -> TriggerMode:
        return TriggerMode.ON if self is TriggerWay.FIRE else TriggerMode.OFF


def trigger_way(asked: TriggerMode | None, *, may_switch: bool, beyond_us: bool) -> TriggerWay:
    """Return how triggers are treated.

    ``may_switch``: the role may switch them off for its session. ``beyond_us``: there is a foreign key that only
    PostgreSQL itself can check. Where nothing was asked for they are off if that disturbs nobody.
    """
    if asked is TriggerMode.ON:
        return TriggerWay.FIRE
    if may_switch and not beyond_us:
        return TriggerWay.SESSION
    return TriggerWay.FIRE if asked is None else TriggerWay.TABLE


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
