"""Whatever keeps one row from coming back keeps all of them, is found before anything is written, and is named."""

from __future__ import annotations

import pytest

from tests.restoring import conflicts, counts, do, restore, rows, undo_restore
from tests.sandbox import Sandbox

SHOP = (
    "CREATE TABLE customer (id int PRIMARY KEY, email text UNIQUE, name text)",
    "CREATE TABLE purchase (id bigserial PRIMARY KEY, customer int REFERENCES customer, total numeric(10,2))",
    "INSERT INTO customer SELECT n, 'c' || n || '@example.org', 'name ' || n FROM generate_series(1, 20) AS n",
    "INSERT INTO purchase (customer, total) SELECT 1 + n % 20, n FROM generate_series(0, 99) AS n",
)


@pytest.fixture
def shop(sandbox: Sandbox) -> Sandbox:
    do(sandbox, *SHOP)
    sandbox.back_up()
    return sandbox


def _unchanged(box: Sandbox, *tables: str) -> list[object]:
    return [rows(box, f"SELECT *, xmin, ctid FROM {table} ORDER BY 1") for table in tables]


def test_parents_and_children_come_back_together(shop: Sandbox) -> None:
    before = _unchanged(shop, "customer")[0]
    do(shop, "DELETE FROM purchase WHERE customer <= 3", "DELETE FROM customer WHERE id <= 3")
    found = counts(restore(shop, "purchase", "customer"))
    assert found == {"public.customer": (3, 0, 0), "public.purchase": (15, 0, 0)}
    assert [row[:3] for row in before] == rows(shop, "TABLE customer ORDER BY 1")  # type: ignore[attr-defined]


def test_a_parent_that_is_gone_is_a_conflict(shop: Sandbox) -> None:
    do(shop, "DELETE FROM purchase WHERE customer <= 1", "DELETE FROM customer WHERE id <= 1")
    before = _unchanged(shop, "customer", "purchase")
    found = conflicts(restore(shop, "purchase"))
    assert len(found) == 5
    assert found[0] == (
        "public.purchase (id=1): the row of public.customer that it refers to is gone (purchase_customer_fkey)"
    )
    assert _unchanged(shop, "customer", "purchase") == before


def test_a_row_to_which_others_refer_is_not_deleted(shop: Sandbox) -> None:
    do(
        shop,
        "INSERT INTO customer VALUES (100, 'new@example.org', 'new'), (101, 'other@example.org', 'other')",
        "INSERT INTO purchase (customer, total) VALUES (100, 1)",
    )
    assert conflicts(restore(shop, "customer", exact=True)) == [
        "public.customer (id=100): rows of public.purchase refer to it (purchase_customer_fkey), so it is not deleted"
    ]
    assert counts(restore(shop, "customer", exact=True, where="id <> 100")) == {"public.customer": (0, 0, 1)}
    assert counts(restore(shop, "customer", "purchase", exact=True)) == {
        "public.customer": (0, 0, 1),
        "public.purchase": (0, 0, 1),
    }


def test_a_value_that_must_be_unique_is_taken(shop: Sandbox) -> None:
    do(
        shop,
        "DELETE FROM purchase WHERE customer = 2",
        "DELETE FROM customer WHERE id = 2",
        "UPDATE customer SET email = 'c2@example.org' WHERE id = 3",
    )
    found = conflicts(restore(shop, "customer", "purchase", changed=False))
    assert found == ["public.customer (id=2): another row has what must be unique (customer_email_key) by now"]
    assert counts(restore(shop, "customer", "purchase"))["public.customer"] == (1, 1, 0)  # 3 gives it back


_NOT_NULL = (
    "ALTER TABLE customer ADD COLUMN added int; UPDATE customer SET added = 1; "
    "ALTER TABLE customer ALTER COLUMN added SET NOT NULL"
)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("CREATE UNIQUE INDEX lowered ON customer (lower(email)) WHERE id <> 4", "must be unique (lowered)"),
        ("ALTER TABLE customer ADD EXCLUDE USING btree (email WITH =)", "must be unique (customer_email_excl)"),
        ("ALTER TABLE customer ADD CHECK (id <> 2)", "customer_id_check"),
        (_NOT_NULL, 'null value in column "added"'),
        ("ALTER TABLE customer ALTER COLUMN name TYPE int USING 1", "there is no assignment cast from text"),
        ("ALTER TABLE customer DROP COLUMN name", "a value in a column that the table no longer has (name)"),
        ("ALTER TABLE customer ALTER COLUMN name TYPE varchar(3) USING 'abc'", "value too long"),
    ],
)  # fmt: skip
def test_what_the_table_asks_by_now(shop: Sandbox, change: str, reason: str) -> None:
    do(
        shop,
        "DELETE FROM purchase WHERE customer = 2",
        "DELETE FROM customer WHERE id = 2",
        *(("UPDATE customer SET email = 'C2@example.org' WHERE id = 3",) if "lower" in change else ()),
        *(("UPDATE customer SET email = 'c2@example.org' WHERE id = 3",) if "EXCLUDE" in change else ()),
        change,
    )
    before = _unchanged(shop, "customer")
    found = conflicts(restore(shop, "customer", changed=False))
    assert found
    assert any(reason in each for each in found), found
    assert _unchanged(shop, "customer") == before


def test_values_go_where_they_have_a_cast(sandbox: Sandbox) -> None:
    do(
        sandbox,
        "CREATE TYPE mood AS ENUM ('sad', 'glad')",
        "CREATE DOMAIN positive AS int CHECK (VALUE > 0)",
        "CREATE TABLE t (id int PRIMARY KEY, n int, m mood, p positive, d date, v varchar(10), j json, a mood[])",
        "INSERT INTO t VALUES (1, 1, 'sad', 1, '2026-01-01', 'x', '{\"a\": 1}', '{sad,glad}'),"
        " (2, 2, 'glad', 2, '2026-01-02', 'y', '[]', '{}'), (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
    )
    sandbox.back_up()
    do(
        sandbox,
        "DELETE FROM t WHERE id < 3",
        "UPDATE t SET v = 'z' WHERE id = 3",
        "ALTER TABLE t ALTER COLUMN n TYPE bigint, ALTER COLUMN m TYPE text, ALTER COLUMN d TYPE timestamp,"
        " ALTER COLUMN v TYPE text, ADD COLUMN more int NOT NULL DEFAULT 7",
    )
    assert counts(restore(sandbox, "t")) == {"public.t": (2, 1, 0)}
    assert rows(sandbox, "SELECT id, n, m, p, d::text, v, j::text, a::text, more FROM t ORDER BY id") == [
        (1, 1, "sad", 1, "2026-01-01 00:00:00", "x", '{"a": 1}', "{sad,glad}", 7),
        (2, 2, "glad", 2, "2026-01-02 00:00:00", "y", "[]", "{}", 7),
        (3, None, None, None, None, None, None, None, 7),
    ]
    assert counts(undo_restore(sandbox)) == {"public.t": (0, 1, 2)}
    assert rows(sandbox, "SELECT id, v, more FROM t") == [(3, "z", 7)]


def test_a_label_that_is_gone_and_a_domain_that_refuses(sandbox: Sandbox) -> None:
    do(
        sandbox,
        "CREATE DOMAIN positive AS int CHECK (VALUE > 0)",
        "CREATE TABLE t (id int PRIMARY KEY, p positive)",
        "INSERT INTO t SELECT n, n FROM generate_series(1, 50) AS n",
    )
    sandbox.back_up()
    do(
        sandbox,
        "DELETE FROM t WHERE id IN (3, 17, 40)",
        "UPDATE t SET p = 100 WHERE id < 17",
        "ALTER DOMAIN positive ADD CHECK (VALUE <> 17 AND VALUE <> 4) NOT VALID",
    )
    assert [each.split(":")[0] for each in conflicts(restore(sandbox, "t"))] == ["public.t (id=17)", "public.t (id=4)"]


def test_a_partition_that_is_gone(sandbox: Sandbox) -> None:
    do(
        sandbox,
        "CREATE TABLE t (id int, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at)",
        "CREATE TABLE t1 PARTITION OF t FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')",
        "CREATE TABLE t2 PARTITION OF t FOR VALUES FROM ('2026-02-01') TO ('2026-03-01')",
        "INSERT INTO t VALUES (1, '2026-01-10'), (2, '2026-02-10')",
    )
    sandbox.back_up()
    do(sandbox, "DROP TABLE t1", "DELETE FROM t")
    found = conflicts(restore(sandbox, "t"))
    assert found == ["public.t (id=1, at=2026-01-10): there is no partition for it any more"]
    assert counts(restore(sandbox, "t", where="id = 2")) == {"public.t": (1, 0, 0)}
    do(sandbox, "CREATE TABLE other PARTITION OF t DEFAULT")
    assert counts(restore(sandbox, "t")) == {"public.t": (1, 0, 0)}
    assert counts(undo_restore(sandbox)) == {"public.t": (0, 0, 1)}


def test_a_table_that_was_dropped(shop: Sandbox) -> None:
    do(shop, "DROP TABLE purchase", "DELETE FROM customer WHERE id = 1")
    (found,) = conflicts(restore(shop, "purchase", "customer"))
    assert found.startswith("public.purchase: the table was dropped since")
    assert counts(restore(shop, "customer")) == {"public.customer": (1, 0, 0)}


def test_a_renamed_table_and_column_are_the_same(shop: Sandbox) -> None:
    do(
        shop,
        "DELETE FROM purchase WHERE id = 1",
        "ALTER TABLE purchase RENAME TO sale",
        "ALTER TABLE sale RENAME COLUMN total TO amount",
    )
    assert counts(restore(shop, "purchase")) == {"public.sale": (1, 0, 0)}
    assert rows(shop, "SELECT amount::text FROM sale WHERE id = 1") == [("0.00",)]


def test_rows_refer_to_each_other_in_a_circle(sandbox: Sandbox) -> None:
    do(
        sandbox,
        "CREATE TABLE a (id int PRIMARY KEY, b int)",
        "CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a)",
        "ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b DEFERRABLE",
        "CREATE TABLE tree (id int PRIMARY KEY, parent int REFERENCES tree)",
        "INSERT INTO a VALUES (1, NULL); INSERT INTO b VALUES (1, 1); UPDATE a SET b = 1",
        "INSERT INTO tree VALUES (1, NULL), (2, 1), (3, 2)",
    )
    sandbox.back_up()
    do(sandbox, "UPDATE a SET b = NULL", "DELETE FROM b", "DELETE FROM a", "DELETE FROM tree")
    expected = {"public.a": (1, 0, 0), "public.b": (1, 0, 0), "public.tree": (3, 0, 0)}
    assert counts(restore(sandbox, "a", "b", "tree")) == expected
    assert counts(undo_restore(sandbox)) == {name: (0, 0, number) for name, (number, _, _) in expected.items()}
    assert rows(sandbox, "SELECT 1 FROM a, b, tree") == []
