"""Late writes go along with a rollback: what clients wrote is there, what the deploy did is gone, nothing is lost."""

from __future__ import annotations

from typing import Any

import pytest

from snapkit.core.comparison.patterns import table_pattern
from snapkit.core.comparison.writes import Rows
from snapkit.core.inventory.kinds import Kind, State
from snapkit.core.restoring.restored import RestoredTable
from snapkit.services.carrying.carry import Carrying
from snapkit.services.carrying.knowledge import NamedTables
from snapkit.services.carrying.request import CarryRequest
from tests.sandbox import Sandbox

SHOP = """
    CREATE TABLE customer (id serial PRIMARY KEY, name text, town text);
    CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer int REFERENCES customer, state text);
    CREATE TABLE price (what text PRIMARY KEY, cents int);
    INSERT INTO customer (name, town) SELECT 'customer ' || n, 'Ulm' FROM generate_series(1, 50) AS n;
    INSERT INTO orders (customer, state) SELECT n, 'new' FROM generate_series(1, 50) AS n;
    INSERT INTO price SELECT 'thing ' || n, n FROM generate_series(1, 50) AS n;
"""


@pytest.fixture
def shop(sandbox: Sandbox) -> Sandbox:
    with sandbox.connect() as connection:
        connection.execute(SHOP)
    return sandbox


def query(box: Sandbox, statement: str) -> list[tuple[Any, ...]]:
    with box.connect() as connection:
        return connection.execute(statement).fetchall()  # type: ignore[arg-type]


def do(box: Sandbox, *statements: str) -> None:
    with box.connect() as connection:
        for statement in statements:
            connection.execute(statement)  # type: ignore[arg-type]


def named(*patterns: str) -> Carrying:
    return Carrying(CarryRequest(NamedTables(list(map(table_pattern, patterns)))))


@pytest.mark.any_version
def test_what_was_written_to_named_tables_goes_along(shop: Sandbox) -> None:
    backup = shop.back_up().backup.name
    do(
        shop,
        "UPDATE price SET cents = 0",
        "INSERT INTO customer (name) VALUES ('new')",
        "INSERT INTO orders (customer, state) SELECT currval('customer_id_seq'), 'late'",
        "UPDATE orders SET state = 'paid' WHERE id = 7",
        "DELETE FROM orders WHERE id = 8",
    )
    receipt = shop.roll_back(carry=named("orders", "customer"))
    assert receipt.restored_kept and receipt.carried is not None
    assert receipt.carried.tables == (
        RestoredTable("public", "customer", Rows(1)),
        RestoredTable("public", "orders", Rows(1, 1, 1)),
    )
    assert not receipt.carried.conflicts
    assert [(left.table, left.rows) for left in receipt.carried.not_carried] == [("price", Rows(0, 50, 0))]
    assert query(shop, "SELECT sum(cents) FROM price") == [(1275,)]
    assert query(shop, "SELECT id, state FROM orders WHERE state <> 'new' ORDER BY id") == [(7, "paid"), (51, "late")]
    assert query(shop, "SELECT count(*), max(id) FROM orders") == [(50, 51)]
    kept = {entry.name: (entry.kind, entry.state, entry.opened) for entry in shop.entries()}
    assert kept[backup] == (Kind.BACKUP, State.READY, None)
    assert all(state is State.READY and opened is None for _, state, opened in kept.values())
    assert receipt.cautions == ()


@pytest.mark.any_version
def test_sequences_go_on_past_those_of_the_displaced_database(shop: Sandbox) -> None:
    shop.back_up()
    do(shop, "INSERT INTO orders (customer) SELECT 1 FROM generate_series(1, 100)", "CREATE SEQUENCE later")
    receipt = shop.roll_back(carry=named("customer"))
    assert receipt.cautions == ()
    (next_one,) = query(shop, "INSERT INTO orders (customer) VALUES (1) RETURNING id")[0]
    assert next_one > 150 + 1000
    assert query(shop, "SELECT nextval('customer_id_seq')")[0][0] > 50 + 1000
