"""The order in which tables are written."""

from __future__ import annotations

from snapkit.core.restoring.live_table import ForeignKey, parents_first


def _key(child: int, parent: int) -> ForeignKey:
    return ForeignKey("k", child, ("public", "c"), ("p",), parent, ("public", "p"), ("id",), ("=",))


def test_parents_come_first() -> None:
    assert parents_first([3, 2, 1], [_key(2, 1), _key(3, 2), _key(3, 3), _key(3, 9), _key(8, 1)]) == [1, 2, 3]


def test_a_circle_is_no_obstacle() -> None:
    order = parents_first([1, 2, 3, 4], [_key(1, 2), _key(2, 1), _key(3, 1), _key(1, 4)])
    assert sorted(order) == [1, 2, 3, 4]
    assert order.index(1) < order.index(3)
    assert order.index(4) < order.index(1)
