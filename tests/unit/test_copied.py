"""What differs between an online copy and its source."""

from __future__ import annotations

import pytest

from snapkit.core.comparison.schema.copied import compare_copied
from snapkit.core.comparison.schema.defined_objects import DISABLED, INVALID, Definition
from tests.unit.test_schema_changes import SHOP, column, lying, table

ORDERS = table("orders", 1)
KEY = lying("constraint", ORDERS, "fk", 5, "FOREIGN KEY (a) REFERENCES b(c)", tail=DISABLED)
EXTENSION = Definition("e.1.0", "extension", None, ("hstore",), "EXTENSION hstore", "CREATE EXTENSION", owner="app")
GIVEN = Definition("f.1.0 privilege", "privilege", None, ("FUNCTION pg_catalog.now()",), "", "GRANT ...")
USUAL = Definition("d.1.0 default", "privilege", None, ("default on TABLES",), "", "ALTER DEFAULT PRIVILEGES ...")
BROKEN = lying("index", ORDERS, "i", 6, "CREATE INDEX i ON shop.orders", tail=INVALID)


def test_what_differs_is_named() -> None:
    source = [SHOP, ORDERS, column(ORDERS, "a", 1), column(ORDERS, "b", 2), USUAL]
    copy = [SHOP, ORDERS._replace(owner="root"), column(ORDERS, "a", 1, "int"), column(ORDERS, "c", 3)]
    assert compare_copied(source, source) == ()
    assert compare_copied(source, copy) == (
        "column shop.orders.a: differs",
        "column shop.orders.b: not in the copy",
        "column shop.orders.c: not in the source",
        "owner shop.orders: differs",
        "privilege default on TABLES: not in the copy",
    )


@pytest.mark.parametrize(
    ("source", "copy"),
    [
        ([KEY], [KEY._replace(tail="")]),
        ([EXTENSION], [EXTENSION._replace(owner="root")]),
        ([GIVEN], []),
        ([BROKEN], []),
        ([KEY], [KEY._replace(text="FOREIGN KEY ((a)::text) REFERENCES b(c)", tail="")]),
    ],
    ids=["a disabled key", "the owner of an extension", "what is PostgreSQL's", "an invalid index", "a cast"],
)
def test_what_such_a_copy_cannot_have_is_told_elsewhere(source: list[Definition], copy: list[Definition]) -> None:
    assert compare_copied([SHOP, ORDERS, *source], [SHOP, ORDERS, *copy]) == ()


def test_an_invalid_index_on_a_partitioned_table_is_copied() -> None:
    whole = BROKEN._replace(text="CREATE INDEX i ON ONLY shop.orders")
    assert compare_copied([SHOP, ORDERS, whole], [SHOP, ORDERS]) == ("index shop.orders.i: not in the copy",)
