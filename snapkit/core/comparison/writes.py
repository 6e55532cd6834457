"""What a rollback would cost: how much was written since the backup, by PostgreSQL's statistics.

The counters only go up. So a backup notes them, and the noted values are subtracted from the present ones. They count
rows of rolled back transactions, too, arrive some seconds late, and begin again after a crash or a reset.
https://www.postgresql.org/docs/current/monitoring-stats.html#MONITORING-STATS-VIEWS
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from snapkit.core.values import dataclass

MAX_NOTED_TABLES = 100
"""A backup notes the counters of this many tables: those with most writes."""

MAX_TABLES = 100
"""This many tables are shown: those with most writes since the backup."""

_MAX_COUNT = 2**63


@dataclass(frozen=True, slots=True)
class Rows:
    """Numbers of rows."""

    inserted: int = 0
    updated: int = 0
    deleted: int = 0

    @property
    def total(self) -> int:
        return self.inserted + self.updated + self.deleted

    def since(self, before: Rows) -> Rows:
        """Return the increase since ``before``; 0 where a counter has gone down."""
        return Rows(
            max(self.inserted - before.inserted, 0),
            max(self.updated - before.updated, 0),
            max(self.deleted - before.deleted, 0),
        )

    def is_behind(self, before: Rows) -> bool:
        """Whether one of the numbers is lower than it was."""
        return self.inserted < before.inserted or self.updated < before.updated or self.deleted < before.deleted


@dataclass(frozen=True, slots=True)
class Activity:
    """The counters of one database at one moment.

    ``rows`` are the totals of all its tables, ``own`` the part of PostgreSQL's catalogs and TOAST tables. ``tables``
    has users' tables by OID. ``complete`` says whether ``tables`` has all of them.
    """

    oid: int
    transactions: int
    rows: Rows
    database_reset: datetime | None = None
    """When the counters of the database, or of a table in it, were last reset; None: never."""
    server_reset: datetime | None = None
    """When the server began to count. PostgreSQL loses all counters in a crash."""
    own: Rows = Rows()
    tables: Mapping[int, Rows] | None = field(default=None, hash=False)
    """None where nobody could look into the database."""
    complete: bool = False

    @property
    def users_rows(self) -> Rows:
        return self.rows.since(self.own)

    def is_behind(self, before: Activity) -> bool:
        """Whether a counter is lower than it was, so that all of them were reset."""
        return self.transactions < before.transactions or self.rows.is_behind(before.rows)


class Doubt(StrEnum):
    """Why figures are not reliable, or why there are none."""

    NOT_NOTED = "not_noted"
    OTHER_DATABASE = "other_database"
    UNREADABLE = "unreadable"
    NOT_COUNTED = "not_counted"
    STATISTICS_RESET = "statistics_reset"
    STATISTICS_LOST = "statistics_lost"
    COUNTER_LOWER = "counter_lower"

    def describe(self) -> str:
        return _DOUBTS[self]


_DOUBTS = {
    Doubt.NOT_NOTED: "the backup does not say what the counters were",
    Doubt.OTHER_DATABASE: "the live database is not the one that was backed up",
    Doubt.UNREADABLE: "the counters could not be read",
    Doubt.NOT_COUNTED: "the server does not count (track_counts is off)",
    Doubt.STATISTICS_RESET: "statistics were reset since then, so there may be more",
    Doubt.STATISTICS_LOST: "the server has lost its statistics since then, as it does in a crash, so there may be more",
    Doubt.COUNTER_LOWER: "the counters are lower than they were, so there may be more",
}


@dataclass(frozen=True, slots=True)
class TableName:
    schema: str
    name: str


@dataclass(frozen=True, slots=True)
class TableWrites:
    """What was written to one table."""

    table: TableName
    rows: Rows


@dataclass(frozen=True, slots=True)
class Present:
    """The counters of the live database now, and the names of its tables by OID."""

    activity: Activity | None
    names: Mapping[int, TableName]
    last_commit: datetime | None = None
    """When a transaction that wrote was last committed, in any database of the server; None: not known."""
    counting: bool = True


@dataclass(frozen=True, slots=True)
class Written:
    """What was written to the live database since a backup; ``rows`` is None where that is not known.

    ``transactions`` are the committed ones, including those that only read. ``tables`` are sorted, most written first;
    ``all_tables`` says whether there are no others.
    """

    since: datetime
    transactions: int | None = None
    rows: Rows | None = None
    tables: tuple[TableWrites, ...] = ()
    all_tables: bool = False
    last_commit: datetime | None = None
    doubt: Doubt | None = None


def written_since(since: datetime, noted: Activity | None, live_oid: int, present: Present) -> Written:
    """Compare the counters at a backup made at ``since`` with those of now."""
    now = present.activity
    doubt = _doubt(noted, live_oid, present)
    if now is None or noted is None or doubt in (Doubt.NOT_COUNTED, Doubt.OTHER_DATABASE):
        return Written(since, last_commit=present.last_commit, doubt=doubt)
    base = Activity(noted.oid, 0, Rows(), tables={}, complete=True) if now.is_behind(noted) else noted
    tables, all_tables = _by_table(base, now, present.names)
    return Written(
        since=since,
        transactions=now.transactions - base.transactions,
        rows=now.users_rows.since(base.users_rows) if _both_looked(base, now) else now.rows.since(base.rows),
        tables=tables,
        all_tables=all_tables,
        last_commit=present.last_commit,
        doubt=doubt,
    )


def _both_looked(noted: Activity, now: Activity) -> bool:
    return noted.tables is not None and now.tables is not None


def _doubt(noted: Activity | None, live_oid: int, present: Present) -> Doubt | None:
    now = present.activity
    if noted is None:
        return Doubt.NOT_NOTED
    if noted.oid != live_oid:
        return Doubt.OTHER_DATABASE
    if not present.counting:
        return Doubt.NOT_COUNTED
    if now is None:
        return Doubt.UNREADABLE
    if now.server_reset != noted.server_reset:
        return Doubt.STATISTICS_LOST
    if now.database_reset != noted.database_reset:
        return Doubt.STATISTICS_RESET
    tables, before = now.tables or {}, noted.tables or {}
    if now.is_behind(noted) or any(tables[oid].is_behind(before[oid]) for oid in tables.keys() & before.keys()):
        return Doubt.COUNTER_LOWER
    return None


def _by_table(noted: Activity, now: Activity, names: Mapping[int, TableName]) -> tuple[tuple[TableWrites, ...], bool]:
    """Return what was written to each table. Where not all were noted, the others are not known."""
    if noted.tables is None or now.tables is None:
        return (), False
    known = [oid for oid in now.tables if oid in names and (noted.complete or oid in noted.tables)]
    found = [TableWrites(names[oid], _more(noted.tables.get(oid, Rows()), now.tables[oid])) for oid in known]
    written = sorted(
        (each for each in found if each.rows.total),
        key=lambda each: (-each.rows.total, each.table.schema, each.table.name),
    )
    return tuple(written[:MAX_TABLES]), noted.complete and now.complete and len(written) <= MAX_TABLES


def _more(before: Rows, now: Rows) -> Rows:
    """The increase since then. A counter that was reset counts whole."""
    return now if now.is_behind(before) else now.since(before)


def to_document(activity: Activity) -> dict[str, Any]:
    """Return what stands under ``activity`` in a backup's document: short, and without the names of tables, since every
    role on the server can read it."""
    document: dict[str, Any] = {
        "oid": activity.oid,
        "transactions": activity.transactions,
        "rows": _numbers(activity.rows),
        "database_reset": _time(activity.database_reset),
        "server_reset": _time(activity.server_reset),
    }
    if activity.tables is not None:
        document |= {
            "own": _numbers(activity.own),
            "tables": [[oid, *_numbers(rows)] for oid, rows in activity.tables.items()],
            "complete": activity.complete,
        }
    return document


def _numbers(rows: Rows) -> list[int]:
    return [rows.inserted, rows.updated, rows.deleted]


def _time(at: datetime | None) -> str | None:
    return at.astimezone(UTC).isoformat() if at else None


def from_document(document: object) -> Activity | None:
    """Read what ``to_document`` wrote; None for anything else. Never raises."""
    try:
        return _read(document)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        return None


def _read(document: Any) -> Activity:
    tables = document.get("tables")
    if tables is not None:
        tables = {_count(oid): _rows(rows) for oid, *rows in tables[:MAX_NOTED_TABLES]}
    return Activity(
        oid=_count(document["oid"]),
        transactions=_count(document["transactions"]),
        rows=_rows(document["rows"]),
        database_reset=_read_time(document["database_reset"]),
        server_reset=_read_time(document["server_reset"]),
        own=_rows(document["own"]) if tables is not None else Rows(),
        tables=tables,
        complete=document["complete"] is True if tables is not None else False,
    )


def _rows(numbers: Any) -> Rows:
    inserted, updated, deleted = map(_count, numbers)
    return Rows(inserted, updated, deleted)


def _count(number: Any) -> int:
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < _MAX_COUNT:
        raise ValueError("not a count")
    return number


def _read_time(text: Any) -> datetime | None:
    at = None if text is None else datetime.fromisoformat(text)
    if at is not None and at.tzinfo is None:
        raise ValueError("no time zone")
    return at
