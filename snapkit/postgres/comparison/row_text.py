"""What is read of the rows of a table to compare them, as SQL.

A row is compared by its text, which its types' own output functions write under the settings that all our sessions
have. No cast is used, and no operator looked up, since users can define their own. psycopg composes the statements:
SQLAlchemy has no word for ONLY, for ranges of ctids, and for the binary format. They are run with parameters, be it
none: see ``identifier``.
https://www.postgresql.org/docs/current/rowtypes.html#ROWTYPES-IO-SYNTAX
"""

from __future__ import annotations

from collections.abc import Iterable

from psycopg import sql

from snapkit.core.comparison.row_changes import Column, Leaf, Pair, Relation
from snapkit.core.values import dataclass

_ROW = sql.Identifier("t")
"""The alias of the table whose rows are read."""

CTID = sql.SQL("{}.ctid").format(_ROW)
LEAF = sql.SQL("{}.tableoid").format(_ROW)


@dataclass(frozen=True, slots=True)
class RowText:
    """The expressions for the rows of one side of a pair.

    ``recoded``: the two databases are in different encodings, so that bytes differ where texts do not.
    """

    pair: Pair
    is_before: bool
    recoded: bool = False

    @property
    def relation(self) -> Relation:
        found = self.pair.before if self.is_before else self.pair.after
        assert found is not None  # noqa: S101 - who reads a side has seen that there is one
        return found

    def from_leaf(self, leaf: Leaf) -> sql.Composed:
        return sql.SQL("ONLY {} AS {}").format(identifier(leaf.schema, leaf.name), _ROW)

    @property
    def from_all(self) -> sql.Composed:
        """All rows of the table, of all its partitions."""
        only = sql.SQL("" if self.relation.partitioned else "ONLY ")
        name = identifier(self.relation.schema, self.relation.name)
        return sql.SQL("{}{} AS {}").format(only, name, _ROW)

    def leaf(self, oid: int) -> Leaf:
        return next(leaf for leaf in self.relation.leaves if leaf.oid == oid)

    @property
    def value(self) -> sql.Composed:
        """The text of the columns that are compared."""
        return self._text(map(self._compared, self.pair.columns))

    def identity(self, seed: int) -> sql.Composed:
        """A hash of 64 bits: the same for rows that are one row, by the key's own equality; without a key by value."""
        if self.pair.key is None:
            return hashed(self.value, seed)
        loose = [self.column(pair) for pair in self.pair.key if self._is_loose(pair)]
        strict = [pair for pair in self.pair.key if not self._is_loose(pair)]
        text = self._text(map(self._compared, strict))
        if not loose:
            return hashed(text, seed)
        # The type's own hash function; that of text does not depend on how the collation sorts.
        row = sql.SQL(", ").join([*loose, sql.SQL('{} COLLATE "C"').format(text)])
        return sql.SQL("hash_record_extended(ROW({}), {})").format(row, seed)

    def column(self, pair: tuple[Column, Column]) -> sql.Composed:
        return sql.SQL("{}.{}").format(_ROW, identifier(pair[0 if self.is_before else 1].name))

    def _is_loose(self, pair: tuple[Column, Column]) -> bool:
        """Whether equal values may print differently, and both sides take the same ones for equal."""
        before, after = pair
        return before.loose is not None and before.loose == after.loose and not self.recoded

    def _compared(self, pair: tuple[Column, Column]) -> sql.Composed:
        """OIDs mean the same in databases that were once the same files; in others only the names may."""
        before, after = pair
        column = self.column(pair)
        if self.pair.related and before.stored_as is not None and before.stored_as == after.stored_as:
            return sql.SQL("CAST({} AS {})").format(column, sql.SQL(before.stored_as))
        return column

    def _text(self, columns: Iterable[sql.Composable]) -> sql.Composed:
        text = sql.SQL("textin(record_out(ROW({})))").format(sql.SQL(", ").join(columns))
        return sql.SQL("encode(convert_to({}, 'UTF8'), 'escape')").format(text) if self.recoded else text


def identifier(*parts: str) -> sql.Identifier:
    """Queries with parameters mark these by percent signs, so each that is meant is doubled."""
    return sql.Identifier(*(part.replace("%", "%%") for part in parts))


def hashed(text: sql.Composable, seed: int) -> sql.Composed:
    return sql.SQL('hashtextextended({} COLLATE "C", {})').format(text, seed)
