"""The order in which tables are written, and which stand alone."""

from __future__ import annotations

import pytest

from snapkit.core.restoring.live_table import ForeignKey, LiveTable, UniqueRule, parents_first, stands_alone


def _key(child: int, parent: int) -> ForeignKey:
    return ForeignKey("k", child, ("public", "c"), ("p",), parent, ("public", "p"), ("id",), ("=",))


def test_parents_come_first() -> None:
    assert parents_first([3, 2, 1], [_key(2, 1), _key(3, 2), _key(3, 3), _key(3, 9), _key(8, 1)]) == [1, 2, 3]


def test_a_circle_is_no_obstacle() -> None:
    order = parents_first([1, 2, 3, 4], [_key(1, 2), _key(2, 1), _key(3, 1), _key(1, 4)])
    assert sorted(order) == [1, 2, 3, 4]
    assert order.index(1) < order.index(3)
    assert order.index(4) < order.index(1)


PRIMARY = UniqueRule("t_pkey", ("id",), ("OPERATOR(pg_catalog.=)",), columns=("id",))


@pytest.mark.parametrize(
    ("unique", "keys", "alone"),
    [
        ((PRIMARY,), (), True),
        ((), (), True),
        ((PRIMARY, UniqueRule("t_email", ("lower(email)",), ("=",))), (), False),
        ((UniqueRule("part", ("id",), ("=",), "id > 1", columns=("id",)),), (), False),
        ((PRIMARY,), (_key(1, 9), _key(9, 1), _key(2, 9)), True),
        ((PRIMARY,), (_key(1, 2),), False),
        ((PRIMARY,), (_key(2, 1),), False),
        ((PRIMARY,), (_key(1, 1),), False),
    ],
)
def test_a_table_that_stands_alone(unique: tuple[UniqueRule, ...], keys: tuple[ForeignKey, ...], alone: bool) -> None:
    assert stands_alone(LiveTable(1, unique), ["id"], keys, {1, 2}) is alone
