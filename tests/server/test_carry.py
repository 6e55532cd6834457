"""Late writes go along with a rollback: what clients wrote is there, what the deploy did is gone, nothing is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from psycopg import sql

from snapkit.core.comparison.patterns import table_pattern
from snapkit.core.comparison.writes import Rows
from snapkit.core.inventory.kinds import Kind, State
from snapkit.core.restoring.restored import RestoredTable
from snapkit.errors import BusyError
from snapkit.postgres.connection.driver import driver_connection
from snapkit.postgres.probe.any_writes import next_transaction_id
from snapkit.services import rollback
from snapkit.services.carrying import carry, sequence_margin
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
    checks = ["--health-command", health, "--health-timeout", "2s"] if health else []
    return box.run("guard", "--carry", *options, *checks, "--json", "--", "psql", "-qXc", command)


def late(box: Sandbox, flag: Path, *statements: str) -> str:
    """A health check that fails; the first time it does what clients would do meanwhile."""
    written = f'psql -qX "{box.url}" ' + " ".join(f'-c "{each}"' for each in statements)
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


def owned_shop(box: Sandbox) -> str:
    """Give everything to a role that is no superuser, and return its URL."""
    role = box.role("owner", "LOGIN CREATEDB")
    box.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(box.name), sql.Identifier(role)))
    with box.connect() as connection:
        for table in ("customer", "orders", "price", "item"):
            connection.execute(
                sql.SQL("ALTER TABLE {} OWNER TO {}").format(sql.Identifier(table), sql.Identifier(role))
            )
        connection.execute(sql.SQL("GRANT ALL ON SCHEMA public TO {}").format(sql.Identifier(role)))
    return box.cluster.url(box.name, user=role)


@pytest.mark.any_version
def test_an_owner_who_is_no_superuser_can_do_it_and_triggers_run(shop: Sandbox, tmp_path: Path) -> None:
    url = owned_shop(shop)
    do(
        shop,
        "CREATE TABLE log (what text)",
        "GRANT INSERT ON log TO PUBLIC",
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN INSERT INTO public.log VALUES (tg_op); RETURN NULL; END$$",
        "CREATE TRIGGER note AFTER INSERT ON customer FOR EACH ROW EXECUTE FUNCTION note()",
        "CREATE SEQUENCE others",
    )
    statements = (
        "INSERT INTO customer (id, name) VALUES (70, 'late')",
        "INSERT INTO orders (customer, state) VALUES (70, 'late')",
        "DELETE FROM orders WHERE id = 9",
    )
    health = late(shop, tmp_path / "flag", *statements)
    words = ["--health-command", health, "--health-timeout", "2s", "--json", "--"]
    ran = shop.run("guard", "--carry", *words, "psql", "-qXc", "UPDATE price SET cents = 0", url=url)
    assert ran.code == 20, ran.err
    data = ran.document["data"]["rollback"]
    assert "carried" in data, ran.document["warnings"]
    assert data["carried"]["tables"], (data["carried"]["conflicts"], data["not_carried"], ran.err)
    assert data["carried"]["triggers"] == "on"
    assert {each["table"]: rows(each) for each in data["carried"]["tables"]} == {
        "customer": (1, 0, 0),
        "orders": (1, 0, 1),
    }
    assert query(shop, "SELECT state FROM orders WHERE customer = 70") == [("late",)]
    assert query(shop, "SELECT * FROM log") == [("INSERT",)]
    # The table of another owner can be neither read nor written; the sequence cannot be set.
    assert [each["table"] for each in data["not_carried"] if each["rows_inserted"] is None] == ["log"]
    assert {each["code"] for each in ran.document["warnings"]} <= {"sequence_behind"}


def test_a_sequence_that_is_used_further_than_expected_is_a_warning(
    shop: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.back_up()
    moved = sequence_margin.move_past_live

    def then_used(context: Any, *others: Any) -> Any:
        done = moved(context, *others)
        do(shop, "SELECT setval('orders_id_seq', 9999)")
        return done

    monkeypatch.setattr(carry, "move_past_live", then_used)
    receipt = shop.roll_back(carry=named("price"))
    assert [each.code for each in receipt.cautions] == ["sequence_behind"]
    assert "public.orders_id_seq" in receipt.cautions[0].message


@pytest.mark.parametrize("gone", ["before the COMMIT", "after the COMMIT"])
def test_if_the_session_is_lost_it_is_found_out_what_became_of_it(
    shop: Sandbox, monkeypatch: pytest.MonkeyPatch, gone: str
) -> None:
    shop.back_up()
    do(shop, "UPDATE price SET cents = 7 WHERE what = 'thing 1'")
    asked = next_transaction_id

    def then_lost(live: Any) -> int:
        xid = asked(live)
        driver = driver_connection(live)
        if gone == "after the COMMIT":
            driver.execute("COMMIT")
        shop.execute("SELECT pg_terminate_backend(%s)", driver.info.backend_pid)
        return xid

    monkeypatch.setattr(carry, "next_transaction_id", then_lost)
    receipt = shop.roll_back(carry=named("price"))
    cents = query(shop, "SELECT cents FROM price WHERE what = 'thing 1'")
    if gone == "after the COMMIT":
        assert receipt.carried is not None and receipt.carried.rows == 1
        assert (cents, receipt.cautions) == ([(7,)], ())
    else:
        assert receipt.carried is None
        assert (cents, [each.code for each in receipt.cautions]) == ([(1,)], ["carry_failed"])
        assert receipt.displaced is not None
        command = f"snapkit restore {receipt.displaced.name} --late-writes --table TABLE"
        assert command in receipt.cautions[0].message
        ran = shop.run("restore", receipt.displaced.name, "--late-writes", "--table", "price", "--yes")
        assert ran.code == 0, ran.err
        assert query(shop, "SELECT cents FROM price WHERE what = 'thing 1'") == [(7,)]


def test_if_the_swap_is_not_taken_nothing_is_left_of_the_clone(shop: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.back_up()
    before = shop.databases()
    values = "SELECT sequencename::text, last_value FROM pg_sequences ORDER BY 1"
    had = query(shop, values)

    def refused(*arguments: Any, **options: Any) -> Any:
        raise BusyError("no swap", state="")

    monkeypatch.setattr(rollback, "swap_databases", refused)
    with pytest.raises(BusyError, match="no swap"):
        shop.roll_back(carry=named("orders"))
    assert (shop.databases(), query(shop, values)) == (before, had)
    monkeypatch.undo()
    shop.roll_back()
    assert query(shop, values) == had


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--carry"], "--carry-table"),
        (["--carry-table", "orders"], "--carry-table goes with --carry"),
        (["--carry", "--carry-table", "orders", "--sql"], "--sql"),
        (["--carry", "--carry-table", 'a"b'], "double quote"),
    ],
)
def test_options_that_do_not_go_together(shop: Sandbox, words: list[str], said: str) -> None:
    shop.back_up()
    ran = shop.run("rollback", "--latest", "--yes", *words)
    assert (ran.code, said in ran.err) == (2, True), ran.err


def test_what_would_be_done_is_shown(shop: Sandbox) -> None:
    shop.back_up()
    ran = shop.run("rollback", "--latest", "--carry", "--carry-table", "orders", "--dry-run", "--json")
    assert [each["step"] for each in ran.data["plan"]] == [
        "Clone the backup, so that it is kept",
        "Open the clone to its owner only, set its sequences ahead, and seal it",
        f"Swap, in one transaction, while new connections to {shop.name} wait",
        "Bring late writes along, in one transaction, while clients work",
    ]
    dry = shop.run("guard", "--carry", "--dry-run", "--", "true")
    assert "Note which rows it has written" in dry.out
    assert "swap a clone of the backup in, and bring late writes along" in dry.out


def test_the_text_tells_what_went_along_and_what_did_not(shop: Sandbox) -> None:
    shop.back_up()
    do(shop, "UPDATE price SET cents = 0", "INSERT INTO orders (customer) VALUES (1), (2)")
    out = shop.run("rollback", "--latest", "--carry", "--carry-table", "orders", "--yes").out
    assert "Brought along: 2 rows that clients wrote late" in out
    assert "public.price: 50 updated; no --carry-table names it" in out


def test_a_deferrable_rule_is_checked_by_nobody_but_triggers_so_such_a_table_stays_aside(shop: Sandbox) -> None:
    do(shop, "ALTER TABLE price ADD UNIQUE (cents) DEFERRABLE")
    shop.back_up()
    do(shop, "INSERT INTO price VALUES ('new', 1000)")
    carried = shop.roll_back(carry=named("*")).carried
    assert carried is not None and not carried.tables
    assert [left.reason for left in carried.not_carried] == [
        "it has a deferrable unique constraint, which triggers check"
    ]
