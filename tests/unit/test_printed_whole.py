"""An object with all that belongs to it."""

from __future__ import annotations

from snapkit.core.comparison.schema.defined_objects import Definition
from snapkit.core.comparison.schema.printed_whole import parts_by_owner, whole
from tests.unit.test_schema_changes import column, comment, lying, table


def test_an_empty_table_and_a_view() -> None:
    assert whole(table("t", 1, owner=None), {}) == "CREATE TABLE shop.t ()"
    view = Definition("v", "view", "shop", ("v",), "VIEW v", "CREATE VIEW v AS\n SELECT 1;", owner="app")
    assert whole(view, {}) == "CREATE VIEW v AS\n SELECT 1;\nOWNER TO app"


def test_columns_and_constraints_stand_in_the_table_and_the_rest_behind_it() -> None:
    orders = table("orders", 1, "WITH (fillfactor=70)")
    ident, note = column(orders, "id", 1, "int"), column(orders, "note", 2, tail="ALTER COLUMN note SET STATISTICS 5")
    key = lying("constraint", orders, "pk", 1, "CONSTRAINT pk PRIMARY KEY (id)")
    index = lying("index", orders, "i", 2, "CREATE INDEX i ON shop.orders (note)")
    sequence = Definition("s", "sequence", "shop", ("s",), "", "CREATE SEQUENCE shop.s", parent=ident.address)
    all_of_it = [index, key, note, ident, orders, comment(key, "k", "CONSTRAINT pk"), comment(index, "i"), sequence]
    assert whole(orders, parts_by_owner(all_of_it)).splitlines() == [
        "CREATE TABLE shop.orders (",
        "    id int,",
        "    note text,",
        "    CONSTRAINT pk PRIMARY KEY (id)",
        ")",
        "WITH (fillfactor=70)",
        "OWNER TO app",
        "",
        "CREATE SEQUENCE shop.s",
        "",
        "ALTER COLUMN note SET STATISTICS 5",
        "",
        "COMMENT ON CONSTRAINT pk IS 'k';",
        "",
        "CREATE INDEX i ON shop.orders (note)",
        "",
        "COMMENT ON  IS 'i';",
    ]


def test_a_partition_is_printed_behind_its_root() -> None:
    root = table("root", 1, owner=None)
    part = table("part", 2, "PARTITION OF shop.root", owner=None, parent=root.address)
    printed = whole(root, parts_by_owner([part, root, column(part, "a", 1)]))
    assert printed == ("CREATE TABLE shop.root ()\n\nCREATE TABLE shop.part (\n    a text\n)\nPARTITION OF shop.root")
