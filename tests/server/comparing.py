"""Two databases that are compared in a test, and the truth, which is found the slow way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass

from psycopg import sql

from snapkit.core.comparison.pairing import pair_tables
from snapkit.core.comparison.row_changes import Pair
from snapkit.core.comparison.writes import Rows
from snapkit.postgres.comparison.relations import relations
from snapkit.services.comparison.changed_rows import ChangedRows
from snapkit.services.comparison.methods.by_keys import by_keys
from snapkit.services.comparison.sides import Sides
from snapkit.services.comparison.values import values_of
from tests.sandbox import Sandbox

Row = tuple[str | None, ...]
Changed = tuple[str, Row | None, Row | None, Row | None]
"""Change, key, before, after."""


@dataclass(frozen=True)
class TwoDatabases:
    """``before`` and ``after``, both open to the test."""

    sandbox: Sandbox
    before: str
    after: str

    def run(self, name: str, *statements: str) -> None:
        with self.sandbox.connect(name) as connection:
            for statement in statements:
                connection.execute(statement)

    @contextmanager
    def sides(self) -> Iterator[Sides]:
        server = self.sandbox.server()
        with (
            server.enter(self.before, {}) as before,
            server.enter(self.after, {}) as after,
            closing(Sides(before, after)) as sides,
        ):
            yield sides

    def pairs(self, sides: Sides, *, related: bool) -> dict[str, Pair]:
        found = pair_tables(relations(sides.before), relations(sides.after), related=related)
        return {pair.shown.name: pair for pair in found}

    def compared(self, name: str, *, related: bool = True) -> Compared:
        """Compare one table by keys, and read all that there is to know of its changed rows."""
        with self.sides() as sides:
            pair = self.pairs(sides, related=related)[name]
            assert pair.reason is None, pair.reason
            with sides.snapshot(pair.before, pair.after):
                return Compared.of(sides, by_keys(sides, pair, lambda blocks: None))


@dataclass(frozen=True)
class Compared:
    """What was found: counts, and all rows, sorted."""

    counts: Rows
    method: str
    rows: list[Changed]

    @classmethod
    def of(cls, sides: Sides, found: ChangedRows) -> Compared:
        values = values_of(sides, found.pair, found)
        rows = [(each.row.change.value, each.row.key, each.before, each.after) for each in values]
        return cls(found.counts, found.method.value, sorted(rows, key=repr))


@contextmanager
def two_databases(sandbox: Sandbox, *statements: str) -> Iterator[TwoDatabases]:
    """Prepare the source with some statements, and clone it: the clone is ``before``."""
    with sandbox.connect() as connection:
        for statement in statements:
            connection.execute(statement)
    before = f"{sandbox.prefix}_before"
    names = map(sql.Identifier, (before, sandbox.name))
    sandbox.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*names))
    yield TwoDatabases(sandbox, before, sandbox.name)


def truth(both: TwoDatabases, table: str, columns: Sequence[str], key: Mapping[str, str]) -> list[Changed]:
    """Find what differs between a table of both databases by reading all of it, and comparing in Python.

    ``columns`` are expressions that are compared, as text. ``key`` are some of them, each with an expression whose text
    is the same for values that are equal; empty: by whole value.
    """
    names = [*columns, *key.values()]
    sides = [_read(both.sandbox, name, table, names) for name in (both.before, both.after)]
    width = len(columns)
    if not key:
        before, after = map(Counter, sides)
        gone: list[Changed] = [("deleted", None, row, None) for row in (before - after).elements()]
        came: list[Changed] = [("inserted", None, None, row) for row in (after - before).elements()]
        return sorted([*gone, *came], key=repr)
    at = [columns.index(each) for each in key]
    old, new = ({row[width:]: row[:width] for row in side} for side in sides)
    found: list[Changed] = []
    for each in old.keys() | new.keys():
        was, now = old.get(each), new.get(each)
        if was != now:
            change = "inserted" if was is None else "deleted" if now is None else "updated"
            found.append((change, tuple((now or was or ())[place] for place in at), was, now))
    return sorted(found, key=repr)


def _read(sandbox: Sandbox, database: str, table: str, columns: Sequence[str]) -> list[Row]:
    with sandbox.connect(
        database, options="-c timezone=UTC -c extra_float_digits=3 -c search_path=pg_catalog"
    ) as connection:
        cursor = connection.execute(f"SELECT {', '.join(columns)} FROM {table}")
        result = cursor.pgresult
        assert result is not None
        return [
            tuple(_text(result.get_value(row, column)) for column in range(result.nfields))
            for row in range(result.ntuples)
        ]


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()
