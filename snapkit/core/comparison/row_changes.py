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
    """A column of a table; ``number`` is its attnum, ``type`` is as format_type() prints it."""

    number: int
    name: str
    type: str
    type_oid: int
    not_null: bool = False
    generated: str = ""
    """How it is generated, as in pg_attribute: empty, ``s`` or ``v``."""
    identity: str = ""
    """As in pg_attribute: empty, ``a`` or ``d``."""
    loose: str | None = None
    """By which type or collation equal values may print differently (1.0 and 1.00; -0 and 0); None: never."""
    shapes: tuple[tuple[int, str], ...] = ()
    """What its values print by, and may be changed without a rewrite: labels of enums, attributes of composite types.
    By OID, of the label or of the type."""
    type_name: str = ""
    """Its type without length or precision, as in pg_type."""
    stored_as: str | None = None
    """``oid`` or ``oid[]`` where its values are OIDs that print as names, as those of regclass do."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A table that holds rows itself: a plain one, or a partition.

    ``file`` is its relfilenode, ``blocks`` how many it has, ``persistence`` as in pg_class. ``numbers`` are the attnums
    of its columns, in the order of the root's.
    """

    oid: int
    schema: str
    name: str
    file: int
    blocks: int
    persistence: str = "p"
    numbers: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Relation:
    """A table as users know it: a plain one with itself as its only leaf, or the root of partitions with all of them.

    ``keys`` are the columns of its primary key first, then those of its unique indexes over NOT NULL columns.
    ``reason`` says why it cannot be read; None: it can.
    """

    oid: int
    schema: str
    name: str
    columns: tuple[Column, ...]
    leaves: tuple[Leaf, ...]
    keys: tuple[tuple[str, ...], ...] = ()
    partitioned: bool = False
    kind: str = "r"
    """As in pg_class: ``r`` or ``p`` for tables, ``m`` for materialised views, ``f`` for foreign tables."""
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Pair:
    """A table in both databases, or in one of them.

    ``columns`` are those that both have, as each side knows them, without virtual ones. ``key`` are the pairs of
    columns by which rows are recognised; None: by whole value. Of a table of one side only both have its own columns,
    twice. ``reason`` says why the two cannot be compared.
    """

    before: Relation | None
    after: Relation | None
    columns: tuple[tuple[Column, Column], ...] = ()
    key: tuple[tuple[Column, Column], ...] | None = None
    reason: str | None = None
    versions_tell: bool = False
    """Whether the same row version in both databases has the same values: not where types print otherwise since."""
    related: bool = False
    """Whether the two databases were once the same files, so that an OID means the same in both."""

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
    method: Method
    as_of: datetime | None
    reason: str | None
    """Why the table was not compared; with ``Method.NOT_COMPARED`` only."""

    @property
    def counts(self) -> Rows: ...

    def __iter__(self) -> Iterator[ChangedRow]: ...
