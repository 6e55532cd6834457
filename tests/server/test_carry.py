"""Late writes go along with a rollback: what clients wrote is there, what the deploy did is gone, nothing is lost."""

from __future__ import annotations

from pathlib import Path
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
    CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
                         customer int REFERENCES customer, state text);
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
        return connection.execute(statement).fetchall()


def do(box: Sandbox, *statements: str) -> None:
    with box.connect() as connection:
        for statement in statements:
            connection.execute(statement)


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


def guard(box: Sandbox, command: str, *options: str, health: str | None = None) -> Any:
    """Guard a command, and return what it said."""
    checks = ["--health-command", health, "--health-timeout", "1s"] if health else []
    return box.run("guard", "--carry", *options, *checks, "--json", "--", "psql", "-qXc", command)


def late(box: Sandbox, flag: Path, *statements: str) -> str:
    """A health check that fails; the first time it does what clients would do meanwhile."""
    written = " && ".join(f'psql -qX "{box.url}" -c "{each}"' for each in statements)
    return f"test -e {flag} || {{ touch {flag}; {written}; }}; false"


@pytest.mark.parametrize("how", [(), ("--carry-clone",)], ids=["scan", "clone"])
def test_a_guarded_deploy_that_fails_takes_late_writes_along(
    shop: Sandbox, tmp_path: Path, how: tuple[str, ...]
) -> None:
    ran = guard(
        shop,
        "UPDATE price SET cents = 0; INSERT INTO orders (customer, state) VALUES (1, 'by the command'); "
        "UPDATE orders SET state = 'by the command' WHERE id IN (20, 21, 22); "
        "ALTER TABLE customer ADD note text; CREATE TABLE news (id int PRIMARY KEY)",
        *how,
        health=late(
            shop,
            tmp_path / "flag",
            "INSERT INTO orders (customer, state) VALUES (2, 'late')",
            "UPDATE customer SET town = 'Rom', note = 'lost' WHERE id = 3",
            "UPDATE orders SET state = 'late' WHERE id = 20",
            "UPDATE orders SET customer = 9 WHERE id = 21",
            "DELETE FROM price WHERE what = 'thing 7'",
            "DELETE FROM orders WHERE id = 30",
            "INSERT INTO news VALUES (1)",
        ),
    )
    assert ran.code == 20, ran.err
    data = ran.document["data"]["rollback"]
    assert {each["table"]: rows(each) for each in data["carried"]["tables"]} == {
        "customer": (0, 1, 0),
        "orders": (1, 1, 1),
    }
    assert {(each["table"], *each["key"].values()): each["reason"] for each in data["carried"]["conflicts"]} == {
        ("orders", "20"): "the same columns were changed while the command ran and afterwards",
        ("price", "thing 7"): "it was changed while the command ran, and deleted afterwards",
    }
    assert [each["key"] for each in data["carried"]["merged"]] == [{"id": "21"}]
    own = "written while the command ran: it cannot be told apart from the command's own"
    assert {(each["table"], each["reason"]): rows(each) for each in data["not_carried"]} == {
        ("news", "the backup has no such table"): (1, 0, 0),
        ("orders", own): (1, 1, 0),
        ("price", own): (0, 49, 0),
    }
    assert query(shop, "SELECT sum(cents) FROM price") == [(1275,)]
    assert query(
        shop, "SELECT id, customer, state FROM orders WHERE id IN (20, 21, 22, 30) OR id > 50 ORDER BY id"
    ) == [
        (20, 20, "new"),
        (21, 9, "new"),
        (22, 22, "new"),
        (52, 2, "late"),
    ]
    assert query(shop, "SELECT * FROM customer WHERE id = 3") == [(3, "customer 3", "Rom")]
    assert {each["code"] for each in ran.document["warnings"]} == {"conflicts"}
    assert all(entry.state is State.READY and entry.opened is None for entry in shop.entries())
    old = next(entry for entry in shop.entries() if entry.kind is Kind.OLD)
    assert old.metadata is not None and old.metadata.late_after is not None


def rows(found: dict[str, Any]) -> tuple[int, int, int]:
    return found["rows_inserted"], found["rows_updated"], found["rows_deleted"]
