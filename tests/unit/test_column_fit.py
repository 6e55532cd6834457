"""How the values of an entry's column get into the live one."""

from __future__ import annotations

import pytest

from snapkit.core.comparison.row_changes import Column, Pair, Relation
from snapkit.core.restoring.column_fit import (
    ColumnFit,
    Way,
    columns_gone,
    fits,
    sets,
    takes_rows_as_they_are,
)

OWN = 20000


def _column(number: int, name: str, kind: str = "integer", oid: int = 23, generated: str = "") -> Column:
    return Column(number, name, kind, oid, generated=generated)


@pytest.mark.parametrize(
    ("entry", "live", "related", "way", "arrives_as"),
    [
        (("integer", 23), ("integer", 23), True, Way.SAME, "integer"),
        (("integer", 23), ("integer", 23), False, Way.SAME, "integer"),
        (("integer", 23), ("bigint", 20), True, Way.CAST, "integer"),
        (("character varying(20)", 1043), ("character varying(10)", 1043), True, Way.CAST, "character varying(20)"),
        (("mood", OWN), ("mood", OWN), True, Way.TEXT, "text"),
        (("mood", OWN), ("feeling", OWN), True, Way.TEXT, "text"),
        (("mood", OWN), ("mood", OWN + 1), True, Way.NONE, "text"),
        (("mood", OWN), ("mood", OWN + 1), False, Way.TEXT, "text"),
        (("mood", OWN), ("text", 25), True, Way.TEXT, "text"),
        (("mood", OWN), ("integer", 23), True, Way.NONE, "text"),
    ],
)
def test_the_way_of_a_value(
    entry: tuple[str, int], live: tuple[str, int], related: bool, way: Way, arrives_as: str
) -> None:
    pair = Pair(None, None, ((_column(1, "a", *entry), _column(1, "a", *live)),), related=related)
    (found,) = fits(pair)
    assert (found.way, found.arrives_as) == (way, arrives_as)


def test_a_generated_column_is_not_written() -> None:
    pair = Pair(None, None, ((_column(1, "a"), _column(1, "a", generated="s")),))
    assert fits(pair) == ()


def test_columns_that_are_gone() -> None:
    kept, gone, computed = _column(1, "a"), _column(2, "b"), _column(3, "c", generated="s")
    before = Relation(1, "public", "t", (kept, gone, computed), ())
    assert columns_gone(Pair(before, None, ((kept, kept),))) == (gone,)
    assert columns_gone(Pair(None, before)) == ()


def test_an_update_leaves_the_key_unless_equal_keys_may_differ() -> None:
    strict, other = _column(1, "a"), _column(3, "c")
    loose = Column(2, "b", "citext", OWN, loose="citext")
    columns = tuple(ColumnFit(each, each, Way.SAME) for each in (strict, loose, other))
    assert sets(columns, (strict, loose)) == columns[1:]


def _relation(*columns: Column, partitioned: bool = False) -> Relation:
    return Relation(1, "public", "t", columns, (), partitioned=partitioned)


@pytest.mark.parametrize(
    ("entry", "live", "takes"),
    [
        ((_column(1, "a"), _column(2, "b")), (_column(1, "a"), _column(2, "b")), True),
        ((_column(1, "a"),), (_column(1, "a"), _column(2, "b")), False),
        ((_column(1, "a"), _column(2, "b")), (_column(1, "a"),), False),
        ((_column(1, "a"),), (_column(1, "a"), _column(2, "b", generated="s")), True),
        ((_column(1, "a"),), (_column(1, "a", "bigint", 20),), False),
        ((_column(1, "a"),), (Column(1, "a", "integer", 23, not_null=True),), False),
    ],
)
def test_a_table_that_takes_rows_as_they_are(entry: tuple[Column, ...], live: tuple[Column, ...], takes: bool) -> None:
    columns = tuple((one, other) for one in entry for other in live if one.number == other.number)
    assert takes_rows_as_they_are(Pair(_relation(*entry), _relation(*live), columns)) is takes


def test_a_partitioned_table_does_not_nor_one_that_is_not_there() -> None:
    table, root = _relation(_column(1, "a")), _relation(_column(1, "a"), partitioned=True)
    assert not takes_rows_as_they_are(Pair(table, root))
    assert not takes_rows_as_they_are(Pair(root, table))
    assert not takes_rows_as_they_are(Pair(None, table))
    assert not takes_rows_as_they_are(Pair(table, None))
