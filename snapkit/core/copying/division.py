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
"""pg_dump gets each of them on its command line, and systems limit its length."""


@dataclass(frozen=True, slots=True)
class Table:
    """An ordinary table or a partition.

    ``columns`` are the stored columns that are not generated, ``generated`` the stored ones that are. ``hashed_root``
    is the root of the partition tree, if a table between the root and this one divides its rows by hash.
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
        """What is compared for this table: the root's rows, if a row may be in another partition of the copy."""
        columns = tuple(sorted((*self.columns, *self.generated)))  # a child's may be in another order in the copy
        if self.hashed_root is not None:
            return Counted(*self.hashed_root, only=False, columns=columns)
        return Counted(self.schema, self.name, columns=columns)


def title_of(schema: str, name: str) -> str:
    """Return the name of a table as SQL writes it. It is also a pattern that matches only this table in pg_dump.

    https://www.postgresql.org/docs/current/app-psql.html#APP-PSQL-PATTERNS
    """
    return ".".join('"' + part.replace('"', '""') + '"' for part in (schema, name))


@dataclass(frozen=True, slots=True, order=True)
class Counted:
    """Rows that are compared, by these ``columns``. With ``only``, the rows of descendants are left out."""

    schema: str
    name: str
    only: bool = True
    columns: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        return title_of(self.schema, self.name)


@dataclass(frozen=True, slots=True)
class Division:
    """The tables that are relayed, largest first, and the rest, which pg_dump copies.

    Tables of extensions are in neither: pg_dump copies those of their rows that the extension declares as the user's.
    """

    relayed: tuple[Table, ...]
    rest: tuple[Counted, ...]


def divide(tables: Sequence[Table], encoding: str) -> Division:
    """Divide the tables of a database in ``encoding``.

    Some tables are left to pg_dump. Rows that are divided by the hash of an enum go to another partition in the copy,
    because the enum's values have other numbers there: pg_dump inserts them at the root. Tables of extensions: the
    extension says which rows are the user's. Names that are not ASCII: pg_dump understands them only if both sides use
    UTF-8.
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
