"""Where sequences stand, and what large objects are told."""

from __future__ import annotations

from datetime import UTC, datetime

from snapkit.core.comparison.differences import ChangedTable
from snapkit.core.comparison.other_data import (
    LargeObjects,
    SequenceState,
    changed_sequences,
    pair_sequences,
    unread_sequences,
)
from snapkit.core.comparison.row_changes import Method
from snapkit.core.comparison.writes import Rows

NOW = datetime(2026, 12, 1, tzinfo=UTC)


def state(oid: int, name: str, value: int | None = 1, *, called: bool = True) -> SequenceState:
    return SequenceState(oid, "public", name, value, called)


def test_sequences_pair_by_oid_where_databases_are_related_and_else_by_name() -> None:
    before = [state(1, "a"), state(2, "b"), state(3, "gone")]
    after = [state(1, "renamed"), state(9, "b"), state(8, "new"), state(7, "a")]
    assert pair_sequences(before, after, related=True) == [(before[0], after[0]), (before[1], after[1])]
    assert pair_sequences(before, after, related=False) == [(before[0], after[3]), (before[1], after[1])]


def test_a_sequence_that_stands_elsewhere_is_told_with_its_values() -> None:
    (changed,) = changed_sequences([(state(1, "old", 5), state(1, "new", 7)), (state(2, "s", 3), state(2, "s", 3))])
    assert (changed.object, changed.name, changed.before, changed.after) == (
        "sequence",
        "new",
        "last value 5",
        "last value 7",
    )


def test_a_value_that_was_given_is_another_than_one_that_is_to_be_given() -> None:
    (changed,) = changed_sequences([(state(1, "s", 1, called=False), state(1, "s", 1))])
    assert (changed.before, changed.after) == ("next value 1", "last value 1")


def test_a_sequence_that_may_not_be_read_is_not_compared() -> None:
    pairs = [(state(1, "s", None), state(1, "s", 2)), (state(2, "t", 1), state(2, "t", 1))]
    assert changed_sequences(pairs) == ()
    (unread,) = unread_sequences(pairs)
    assert (unread.table, unread.rows, unread.method) == ("s", None, Method.NOT_COMPARED)


def test_large_objects_are_counted_one_by_one() -> None:
    objects = LargeObjects()
    objects.compare({1: "a", 2: "b", 3: "c"}, {2: "b", 3: "d", 4: "e"})
    objects.compare({}, {9: None})
    assert objects.changed(NOW) == (ChangedTable("pg_catalog", "pg_largeobject", Rows(2, 1, 1), Method.VALUES, NOW),)


def test_large_objects_that_are_the_same_are_not_told() -> None:
    objects = LargeObjects()
    objects.compare({1: "a"}, {1: "a"})
    assert objects.changed(NOW) == ()


def test_large_objects_that_may_not_be_read_are_named() -> None:
    objects = LargeObjects()
    objects.compare({1: "a", 2: None}, {1: "b", 2: "c"})
    (found,) = objects.changed(NOW)
    assert (found.rows, found.reason) == (None, "this role may not read 1 of 2 large objects")
