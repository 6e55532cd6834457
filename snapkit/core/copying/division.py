"""Which tables of an online copy go by themselves, and which go through pg_dump.

Large tables go from session to session (``relayed``). The rest, and all that is not a table, goes through pg_dump,
which knows of sequences, large objects and the tables of extensions.
"""

from __future__ import annotations

from collections.abc import Sequence

from snapkit.core.values import dataclass

WORTH_RELAYING = 2**20
"""Bytes from which on a table goes by itself."""

MOST_RELAYED = 400
"""pg_dump is told of each on its command line, which systems limit."""


@dataclass(frozen=True, slots=True)
class Table:
    """An ordinary table or a partition, with its rows. ``columns`` are those that are stored and not generated,
    ``generated`` those that are both.

    ``hashed_root`` is the partitioned table above it where one between them divides its rows by their hash.
    """

    oid: int
    schema: str
    name: str
    bytes: int
    columns: tuple[str, ...]
    is_extensions: bool = False
    hashed_root: tuple[str, str] | None = None
    generated: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        return title_of(self.schema, self.name)

    @property
    def as_compared(self) -> Counted:
        """Whose rows are compared: those of the root where a row may be in another partition of the copy."""
        columns = tuple(sorted((*self.columns, *self.generated)))  # a child's may be in another order in the copy
        if self.hashed_root is not None:
            return Counted(*self.hashed_root, only=False, columns=columns)
        return Counted(self.schema, self.name, columns=columns)


def title_of(schema: str, name: str) -> str:
    """Return the name of a table as SQL has it, and as a pattern by which pg_dump knows just this one.

    https://www.postgresql.org/docs/current/app-psql.html#APP-PSQL-PATTERNS
    """
    return ".".join('"' + part.replace('"', '""') + '"' for part in (schema, name))


@dataclass(frozen=True, slots=True, order=True)
class Counted:
    """Rows that are compared, by these ``columns``; with ``only`` without those of the table's descendants."""

    schema: str
    name: str
    only: bool = True
    columns: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        return title_of(self.schema, self.name)


@dataclass(frozen=True, slots=True)
class Division:
    """The tables that are relayed, largest first, and the rest, which pg_dump copies. Those of extensions are in
    neither: pg_dump takes along what an extension declares as a user's."""

    relayed: tuple[Table, ...]
    rest: tuple[Counted, ...]


def divide(tables: Sequence[Table], encoding: str) -> Division:
    """Divide the tables of a database in ``encoding``.

    Rows divided by the hash of an enum's value belong elsewhere in the copy, where its values have other numbers:
    pg_dump puts them in from the top. An extension says itself which rows of its tables are a user's. And a name that
    is not ASCII reaches pg_dump as it is meant only where both speak UTF-8.
    """
    relayed = [
        table
        for table in tables
        if table.bytes >= WORTH_RELAYING
        and table.columns
        and not table.is_extensions
        and table.hashed_root is None
        and (encoding == "UTF8" or all(each.isascii() for each in (table.schema, table.name, *table.columns)))
    ]
    relayed.sort(key=lambda table: (-table.bytes, table.title))
    relayed = relayed[:MOST_RELAYED]
    oids = {table.oid for table in relayed}
    rest = {table.as_compared for table in tables if table.oid not in oids and not table.is_extensions}
    return Division(tuple(relayed), tuple(sorted(rest)))
