"""Privileges, comments and labels, and the objects that they are said of."""

from __future__ import annotations

from snapkit.core.comparison.schema.said_of_objects import (
    Alias,
    Granted,
    Remark,
    comments_of,
    default_privileges_of,
    labels_of,
    privileges_of,
)
from tests.unit.test_schema_changes import column, lying, table

ORDERS = table("orders", 1)
NOTE = column(ORDERS, "note", 2)._replace(title="COLUMN shop.orders.note")
KEY = lying("constraint", ORDERS, "pk", 5, "PRIMARY KEY (id)")
OBJECTS = {each.address: each for each in (ORDERS, NOTE, KEY)}
ALIASES = {"i.5.0": Alias("i.5.0", KEY.address, "INDEX shop.pk"), "i.6.0": Alias("i.6.0", "gone", "INDEX shop.x")}


def test_all_privileges_on_an_object_are_one_definition() -> None:
    granted = [
        Granted("t.1.0", "TABLE x", "GRANT", "INSERT, SELECT", "TO reader"),
        Granted("t.1.0", "TABLE x", "REVOKE", "DELETE", "FROM app"),
        Granted("f.1.0", "FUNCTION pg_catalog.now()", "GRANT", "EXECUTE", "TO reader"),
    ]
    own, given = privileges_of(granted, OBJECTS, ALIASES)
    assert own.text == (
        "GRANT INSERT, SELECT ON TABLE shop.orders TO reader;\nREVOKE DELETE ON TABLE shop.orders FROM app;"
    )
    assert (own.object, own.schema, own.name, own.parent) == ("privilege", "shop", "orders", ORDERS.address)
    assert own.is_remark
    assert (given.schema, given.name, given.parent) == (None, "FUNCTION pg_catalog.now()", None)
    renamed = {ORDERS.address: ORDERS._replace(title="TABLE shop.bills")}
    assert next(privileges_of(granted, renamed, {})).raw == own.raw


def test_default_privileges_are_for_a_role() -> None:
    granted = [
        Granted("d.1.0", "TABLES FOR ROLE app IN SCHEMA shop", "GRANT", "SELECT", "TO reader"),
        Granted("d.1.0", "TABLES FOR ROLE app IN SCHEMA shop", "REVOKE", "INSERT", "FROM app"),
    ]
    (found,) = default_privileges_of(granted)
    assert found.name == "default on TABLES for ROLE app IN SCHEMA shop"
    assert found.text == (
        "ALTER DEFAULT PRIVILEGES FOR ROLE app IN SCHEMA shop GRANT SELECT ON TABLES TO reader;\n"
        "ALTER DEFAULT PRIVILEGES FOR ROLE app IN SCHEMA shop REVOKE INSERT ON TABLES FROM app;"
    )


def test_a_comment_is_told_of_the_object_or_of_what_it_is_told_as() -> None:
    remarks = [
        Remark("t.1.2", "", "'note'"),
        Remark("i.5.0", "", "'key'"),
        Remark("i.6.0", "", "'of what is not told'"),
        Remark("t.1.9", "", "'of a column that is told as its view'"),
        Remark("t.7.0", "", "'of an extension'"),
    ]
    note, key, other = comments_of(remarks, OBJECTS, ALIASES)
    assert (note.name, note.text) == ("orders.note", "COMMENT ON COLUMN shop.orders.note IS 'note';")
    assert (key.name, key.text) == ("orders.pk", "COMMENT ON INDEX shop.pk IS 'key';")
    assert (key.parent, key.raw) == (KEY.address, "'key'")
    assert other.name == "orders"


def test_a_label_is_told_with_its_provider() -> None:
    labels = list(labels_of([Remark("t.1.0", "one", "'a'"), Remark("t.1.0", "two", "'b'")], OBJECTS, {}))
    assert [each.text for each in labels] == [
        "SECURITY LABEL FOR one ON TABLE shop.orders IS 'a';",
        "SECURITY LABEL FOR two ON TABLE shop.orders IS 'b';",
    ]
    assert len({each.address for each in labels}) == 2
    assert list(labels_of([Remark("t.7.0", "one", "'a'")], OBJECTS, {})) == []
