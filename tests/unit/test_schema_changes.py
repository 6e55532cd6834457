"""Definitions of two databases, and what differs."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from snapkit.core.comparison.differences import ChangedDefinition, DefinitionChange
from snapkit.core.comparison.schema.defined_objects import Definition
from snapkit.core.comparison.schema.schema_changes import schema_changes


def schema(name: str = "shop", at: str = "ns.1") -> Definition:
    return Definition(at, "schema", None, (name,), f"SCHEMA {name}", f"CREATE SCHEMA {name}", raw=name)


def table(name: str, at: int, tail: str = "", **more: Any) -> Definition:
    values: dict[str, Any] = {"schema": "shop", "scope": "ns.1", "owner": "app", "raw": f"{name} {tail}"} | more
    title = f"TABLE {values['schema']}.{name}"
    return Definition(f"t.{at}.0", "table", path=(name,), title=title, text=f"CREATE {title}", tail=tail, **values)


def column(of: Definition, name: str, number: int, kind: str = "text", **more: Any) -> Definition:
    at = of.address[:-1] + str(number)
    values: dict[str, Any] = {"raw": f"{name} {kind}", "place": number} | more
    return Definition(
        at, "column", of.schema, (*of.path, name), "", f"{name} {kind}", scope=of.address, parent=of.address, **values
    )


def lying(kind: str, of: Definition, name: str, at: int, text: str, **more: Any) -> Definition:
    values: dict[str, Any] = {"raw": text} | more
    return Definition(
        f"{kind}.{at}.0", kind, of.schema, (*of.path, name), "", text, scope=of.address, parent=of.address, **values
    )


def comment(of: Definition, text: str, title: str | None = None) -> Definition:
    said = f"COMMENT ON {title or of.title} IS '{text}';"
    return Definition(
        f"{of.address} comment", "comment", of.schema, of.path, "", said, raw=text, scope=of.address, parent=of.address
    )


def told(before: list[Definition], after: list[Definition], *, related: bool = True) -> list[str]:
    return [f"{each.change} {each.object} {each.name}" for each in schema_changes(before, after, related=related)]


SHOP = schema()
ORDERS = table("orders", 1)
ID, NOTE = column(ORDERS, "id", 1, "int"), column(ORDERS, "note", 2)


def test_what_is_the_same_is_not_told() -> None:
    both = [SHOP, ORDERS, ID, NOTE, comment(ORDERS, "x")]
    for related in (True, False):
        assert schema_changes(both, both, related=related) == ()


def test_a_change_has_both_texts() -> None:
    changed = ORDERS._replace(tail="WITH (fillfactor=70)", raw="other")
    assert schema_changes([SHOP, ORDERS], [SHOP, changed], related=True) == (
        ChangedDefinition(
            "table",
            "shop",
            "orders",
            DefinitionChange.CHANGED,
            "CREATE TABLE shop.orders",
            "CREATE TABLE shop.orders\nWITH (fillfactor=70)",
        ),
    )


def test_what_belongs_to_a_table_comes_and_goes_with_it() -> None:
    index = lying("index", ORDERS, "by_note", 5, "CREATE INDEX by_note ON shop.orders (note)")
    parts = [ORDERS, ID, NOTE, index, comment(ORDERS, "who"), comment(NOTE, "what", "COLUMN shop.orders.note")]
    (removed,) = schema_changes([SHOP, *parts], [SHOP], related=True)
    (added,) = schema_changes([SHOP], [SHOP, *parts], related=False)
    assert (removed.change, removed.after) == (DefinitionChange.REMOVED, None)
    assert (added.change, added.before) == (DefinitionChange.ADDED, None)
    assert removed.before == added.after
    assert (added.after or "").splitlines()[:5] == [
        "CREATE TABLE shop.orders (", "    id int,", "    note text", ")", "OWNER TO app",
    ]  # fmt: skip
    for text in ("CREATE INDEX by_note", "COMMENT ON TABLE", "COMMENT ON COLUMN"):
        assert (added.after or "").count(text) == 1


def test_a_renamed_table_is_changed_where_the_databases_are_related() -> None:
    bills = ORDERS._replace(path=("bills",), title="TABLE shop.bills", text="CREATE TABLE shop.bills", raw="bills")
    key = lying("constraint", table("lines", 2), "fk", 1, "FOREIGN KEY (a) REFERENCES shop.orders(id)", raw="same")
    before = [SHOP, ORDERS, NOTE, comment(ORDERS, "x"), key]
    after = [
        SHOP,
        bills,
        NOTE._replace(path=("bills", "note")),
        comment(bills, "x"),
        key._replace(text="FOREIGN KEY (a) REFERENCES shop.bills(id)"),
    ]
    assert told(before, after) == ["changed table bills"]
    assert told(before, after, related=False) == [
        "added table bills",
        "removed table orders",
        "changed constraint lines.fk",
    ]


def test_what_was_made_anew_alike_is_no_change() -> None:
    again = table("orders", 7)
    before = [SHOP, ORDERS, ID, NOTE, lying("index", ORDERS, "i", 5, "CREATE INDEX i")]
    after = [SHOP, again, column(again, "note", 1), column(again, "id", 2, "int")]
    assert told(before, [*after, lying("index", again, "i", 9, "CREATE INDEX i")]) == []
    assert told(before, after) == ["removed index orders.i"]


def test_in_a_renamed_table_what_was_made_anew_is_found_by_name() -> None:
    bills = ORDERS._replace(path=("bills",), text="CREATE TABLE shop.bills", raw="bills")
    assert told([SHOP, ORDERS, NOTE], [SHOP, bills, column(bills, "note", 9)]) == ["changed table bills"]


def test_a_name_that_was_given_to_another_table_is_another_table() -> None:
    old = ORDERS._replace(path=("old",), text="CREATE TABLE shop.old", raw="old")
    assert told([SHOP, ORDERS], [SHOP, old, table("orders", 9)]) == ["changed table old", "added table orders"]


def test_an_address_of_another_kind_of_object_proves_nothing() -> None:
    view = ORDERS._replace(object="view")
    assert told([SHOP, ORDERS], [SHOP, view]) == ["removed table orders", "added view orders"]


def test_the_name_counts_where_the_scope_is_not_told() -> None:
    own = Definition("f.9.0", "function", "pg_catalog", ("f()",), "", "one", raw="1", scope="ns.11")
    other = own._replace(address="f.10.0", text="two", raw="2", scope="ns.12")
    both = ["added function f()", "removed function f()"]
    assert told([own], [other], related=False) == ["changed function f()"]
    assert told([own], [other._replace(schema="public")], related=False) == both[::-1]
    assert told([own], [other], related=True) == both
    assert told([own], [other._replace(scope="ns.11", schema="renamed")], related=True) == ["changed function f()"]


def test_the_owner_is_told_by_itself() -> None:
    (change,) = schema_changes([SHOP, ORDERS], [SHOP, ORDERS._replace(owner='"Mine"')], related=True)
    assert (change.object, change.name, change.change) == ("owner", "orders", DefinitionChange.CHANGED)
    assert change.before == "ALTER TABLE shop.orders OWNER TO app;"
    assert change.after == 'ALTER TABLE shop.orders OWNER TO "Mine";'


def test_what_is_hidden_counts() -> None:
    assert told([ORDERS], [ORDERS._replace(hidden="other")]) == ["changed table orders"]


def test_what_partitions_inherit_is_told_once() -> None:
    part = table("orders_1", 2, "PARTITION OF shop.orders", parent=ORDERS.address)
    own = column(part, "own", 7)

    def with_note(kind: str) -> list[Definition]:
        one = column(ORDERS, "note", 2, kind)
        return [SHOP, ORDERS, part, own, one, column(part, "note", 2, kind, origin=one.address)]

    without = [SHOP, ORDERS, part, own]
    assert told(without, with_note("text")) == ["added column orders.note"]
    assert told(with_note("text"), without) == ["removed column orders.note"]
    assert told(with_note("text"), with_note("int")) == ["changed column orders.note"]
    differing = [*with_note("text")[:-1], column(part, "note", 2, "text DEFAULT 1", origin=NOTE.address)]
    assert told(without, differing) == ["added column orders.note", "added column orders_1.note"]
    assert told(with_note("text"), differing) == ["changed column orders_1.note"]
    assert told(with_note("text"), [*with_note("text")[:-1]]) == ["removed column orders_1.note"]
    one = lying("index", ORDERS, "i", 5, "CREATE INDEX i ON shop.orders")
    two = lying("index", part, "j", 6, "CREATE INDEX j ON shop.orders_1", origin=one.address)
    assert told(without, [*without, one, two]) == ["added index orders.i"]
    assert told([*without, one], [*without, one, two]) == ["added index orders_1.j"]
    assert told([*without, one, two], [*without, one._replace(raw="x", text="x")]) == [
        "changed index orders.i",
        "removed index orders_1.j",
    ]


def test_they_stand_in_the_order_in_which_they_are_read() -> None:
    view = Definition("v.1.0", "view", "shop", ("a",), "", "", scope="ns.1")
    odd = Definition("o.1.0", "something new", None, ("a",), "", "")
    before = [SHOP, ORDERS]
    after = [SHOP, odd, view, comment(ORDERS, "x"), ORDERS, NOTE, schema("other", "ns.2")]
    expected = ["added schema other", "added column orders.note", "added view a", "added comment orders"]
    assert told(before, after) == [*expected, "added something new a"]


_TABLES = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["", "X"])), unique_by=lambda each: each[0])


@given(_TABLES, _TABLES, st.booleans())
def test_nothing_is_told_only_if_nothing_differs(one: Any, other: Any, related: bool) -> None:
    before, after = ([table(name, ord(name), tail) for name, tail in side] for side in (one, other))
    expected = {name for name in "abc" if dict(one).get(name) != dict(other).get(name)}
    assert {each.name for each in schema_changes(before, after, related=related)} == expected
    backwards = schema_changes(after, before, related=related)
    assert {each.name for each in backwards} == expected
