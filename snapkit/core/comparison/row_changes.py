"""What differs between the rows of a table in two databases.

All is said from ``before``, mostly an entry, to ``after``, mostly the live database.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, Protocol

from snapkit.core.comparison.writes import Rows
from snapkit.core.values import dataclass


class Method(StrEnum):
    """How a table was compared."""

    VERSIONS = "versions"
    SUMMARIES = "summaries"
    KEYS = "keys"
    VALUES = "values"
    NOT_COMPARED = "not_compared"


class Change(StrEnum):
    """What became of a row."""

    INSERTED = "inserted"
    UPDATED = "updated"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table; ``type`` is as format_type() prints it, ``collation`` None for the type's own."""

    number: int
    name: str
    type: str
    type_oid: int
    not_null: bool = False
    generated: str = ""
    """How it is generated, as in pg_attribute: empty, ``s`` or ``v``."""
    identity: str = ""
    """As in pg_attribute: empty, ``a`` or ``d``."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A table that holds rows itself: a plain one, or a partition. ``file`` is its relfilenode."""

    oid: int
    schema: str
    name: str
    file: int
    blocks: int
    persistence: str = "p"


@dataclass(frozen=True, slots=True)
class Relation:
    """A table as users know it: a plain one with itself as its only leaf, or the root of partitions with all of them.

    ``key`` names the columns of its primary key, else of a unique index over NOT NULL columns; None: it has neither.
    ``reason`` says why it cannot be read; None: it can.
    """

    oid: int
    schema: str
    name: str
    columns: tuple[Column, ...]
    leaves: tuple[Leaf, ...]
    key: tuple[str, ...] | None = None
    partitioned: bool = False
    kind: str = "r"
    """As in pg_class: ``r`` or ``p`` for tables, ``m`` for materialised views."""
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Pair:
    """A table in both databases, or in one of them; ``columns`` are those that both have, as each side knows them.

    ``key`` are the pairs of columns by which rows are recognised; None: by whole value. ``reason`` says why they cannot
    be compared.
    """

    before: Relation | None
    after: Relation | None
    columns: tuple[tuple[Column, Column], ...] = ()
    key: tuple[tuple[Column, Column], ...] | None = None
    reason: str | None = None

    @property
    def shown(self) -> Relation:
        """The table under its newest name."""
        found = self.after or self.before
        assert found is not None  # noqa: S101 - a pair has at least one side
        return found


class Place(NamedTuple):
    """Where a row version lies: the OID of its leaf, its block, its line in the block. ``ctid`` is (block, line)."""

    leaf: int
    block: int
    line: int


class ChangedRow(NamedTuple):
    """One row that differs. ``key`` are the values of its key, as text, in the order of ``Pair.key``.

    Without a key it is None, and a changed row is one deleted and one inserted.
    """

    change: Change
    key: tuple[str, ...] | None
    before: Place | None
    after: Place | None


class RowChanges(Protocol):
    """All rows of a table that differ; they may be many, so they lie on disk, and can be read as often as you like."""

    pair: Pair
    counts: Rows
    method: Method
    as_of: datetime | None
    reason: str | None
    """Why the table was not compared; with ``Method.NOT_COMPARED`` only."""

    def __iter__(self) -> Iterator[ChangedRow]: ...
