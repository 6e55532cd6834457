"""Which table is which, and which column is which."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from snapkit.core.comparison.pairing import pair_tables
from snapkit.core.comparison.row_changes import Column, Leaf, Pair, Relation


def column(number: int, name: str, **more: Any) -> Column:
    return replace(Column(number, name, "integer", 23), **more)


ID, NAME = column(1, "id", not_null=True), column(2, "name")


def relation(oid: int, name: str, *columns: Column, **more: Any) -> Relation:
    shown = columns or (ID, NAME)
    leaf = Leaf(oid, "public", name, oid, 1, numbers=tuple(each.number for each in shown))
    return replace(Relation(oid, "public", name, shown, (leaf,), keys=(("id",),)), **more)


def only(before: Relation | None, after: Relation | None, *, related: bool = True) -> Pair:
    (pair,) = pair_tables(filter(None, [before]), filter(None, [after]), related=related)
    return pair


def names(pair: Pair) -> list[tuple[str, str]]:
    return [(before.name, after.name) for before, after in pair.columns]


def test_a_renamed_table_is_the_same_table() -> None:
    pair = only(relation(1, "old"), relation(1, "new"))
    assert (pair.shown.name, pair.versions_tell, pair.related) == ("new", True, True)


def test_a_table_that_was_made_anew_pairs_by_name_and_its_versions_tell_nothing() -> None:
    before, after = relation(1, "item"), relation(2, "item")
    pair = only(before, after)
    assert (pair.before, pair.after, pair.versions_tell) == (before, after, False)


def test_tables_of_databases_that_are_not_related_pair_by_name_alone() -> None:
    pairs = pair_tables([relation(1, "a"), relation(2, "b")], [relation(1, "b"), relation(2, "c")], related=False)
    assert [(pair.before and pair.before.name, pair.after and pair.after.name) for pair in pairs] == [
        ("a", None),
        ("b", "b"),
        (None, "c"),
    ]
    assert not any(pair.versions_tell or pair.related for pair in pairs)


def test_a_table_whose_name_was_taken_by_another_goes_with_its_oid() -> None:
    pairs = pair_tables([relation(1, "a"), relation(2, "b")], [relation(1, "b"), relation(2, "a")], related=True)
    assert [(pair.before and pair.before.oid, pair.after and pair.after.oid) for pair in pairs] == [(2, 2), (1, 1)]


def test_a_table_of_one_side_has_its_own_columns_and_key() -> None:
    pair = only(None, relation(1, "item"))
    assert (pair.before, names(pair)) == (None, [("id", "id"), ("name", "name")])
    assert pair.key == ((ID, ID),)
    assert only(relation(1, "item", keys=()), None).key is None


def test_a_detached_partition_is_a_table_by_itself() -> None:
    leaf = relation(2, "part").leaves[0]
    root = relation(1, "root", partitioned=True, kind="p")
    before, after = replace(root, leaves=(leaf,)), replace(root, leaves=())
    pairs = pair_tables([before], [after, relation(2, "part")], related=True)
    assert [(pair.before and pair.before.name, pair.shown.name) for pair in pairs] == [(None, "part"), ("root", "root")]


def test_a_renamed_column_is_the_same_column_and_one_of_one_side_is_left_out() -> None:
    pair = only(
        relation(1, "t", ID, NAME, column(3, "gone")), relation(1, "t", ID, column(2, "title"), column(4, "new"))
    )
    assert names(pair) == [("id", "id"), ("name", "title")]
    assert pair.versions_tell


def test_swapped_names_are_two_renamed_columns() -> None:
    pair = only(
        relation(1, "t", ID, NAME, column(3, "other")), relation(1, "t", ID, column(2, "other"), column(3, "name"))
    )
    assert names(pair) == [("id", "id"), ("name", "other"), ("other", "name")]
    assert pair.versions_tell


def test_a_column_that_was_dropped_and_made_anew_is_compared_by_its_values() -> None:
    pair = only(relation(1, "t", ID, NAME), relation(1, "t", ID, column(3, "name")))
    assert names(pair) == [("id", "id"), ("name", "name")]
    assert not pair.versions_tell


def test_a_virtual_column_is_left_out_and_a_stored_one_is_not() -> None:
    stored, virtual = column(3, "stored", generated="s"), column(4, "virtual", generated="v")
    pair = only(relation(1, "t", ID, stored, virtual), relation(1, "t", ID, stored, replace(virtual, generated="s")))
    assert names(pair) == [("id", "id"), ("stored", "stored")]


def test_versions_tell_nothing_where_a_type_prints_otherwise() -> None:
    def tells(before: Column, after: Column) -> bool:
        return only(relation(1, "t", ID, before), relation(1, "t", ID, after)).versions_tell

    def of(oid: int) -> Column:
        return replace(NAME, type_oid=oid)

    assert tells(of(25), of(1043))
    assert not tells(of(1114), of(1184))
    enum = replace(NAME, shapes=((7, "red"), (8, "blue")))
    assert tells(enum, replace(NAME, shapes=((7, "red"), (8, "blue"), (9, "green"))))
    assert not tells(enum, replace(NAME, shapes=((7, "crimson"), (8, "blue"))))


def test_versions_tell_nothing_where_a_partition_has_another_column_in_its_place() -> None:
    before = relation(1, "t")
    after = replace(before, leaves=(replace(before.leaves[0], numbers=(1, 5)),))
    assert not only(before, after).versions_tell
    assert only(before, replace(after, leaves=(replace(after.leaves[0], oid=9),))).versions_tell


def test_rows_are_recognised_by_a_key_that_both_sides_have() -> None:
    before = relation(1, "t", keys=(("id",), ("name", "id")))
    assert only(before, relation(1, "t", keys=(("id", "name"),))).key == ((NAME, NAME), (ID, ID))
    assert only(before, relation(1, "t", ID, keys=(("id",),))).key == ((ID, ID),)
    assert only(before, relation(1, "t", NAME, keys=(("name",),))).key is None
    renamed = replace(ID, name="number")
    assert only(before, relation(1, "t", renamed, NAME, keys=(("number",),))).key == ((ID, renamed),)


def test_what_cannot_be_read_on_either_side_cannot_be_compared() -> None:
    closed = relation(1, "t", reason="closed")
    assert only(closed, relation(1, "t")).reason == "closed"
    assert only(relation(1, "t"), closed).reason == "closed"
    assert only(closed, None).reason == "closed"
    assert only(relation(1, "t"), relation(1, "t")).reason is None


def test_a_pair_is_shown_under_the_newest_name() -> None:
    assert only(relation(1, "old"), None).shown.name == "old"
