"""Clients write all the while: each of their writes is live afterwards, or is named and in the displaced database."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from snapkit.core.inventory.kinds import Kind
from tests.sandbox import Sandbox

SHOP = """
    CREATE TABLE customer (id int PRIMARY KEY, rating int NOT NULL);
    CREATE TABLE visit (customer int PRIMARY KEY, times int NOT NULL);
    CREATE TABLE orders (id serial PRIMARY KEY, customer int NOT NULL REFERENCES customer, token text UNIQUE);
    CREATE TABLE line (id serial PRIMARY KEY, orders int NOT NULL REFERENCES orders, what text);
    CREATE TABLE price (what text PRIMARY KEY, cents int);
    INSERT INTO customer SELECT n, 5 FROM generate_series(1, 200) AS n;
    INSERT INTO visit SELECT n, 0 FROM generate_series(1, 200) AS n;
    INSERT INTO price SELECT 'thing ' || n, n FROM generate_series(1, 2000) AS n;
"""


class Writers:
    """Eight clients, each with customers of its own; they connect again when they are disconnected."""

    def __init__(self, url: str) -> None:
        self.tokens: list[tuple[str, float]] = []
        """What was committed, and when its transaction began."""
        self.problems: list[Exception] = []
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(url, number)) for number in range(1, 9)]

    @contextmanager
    def at_work(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            for thread in self._threads:
                thread.join()

    def _work(self, url: str, number: int) -> None:
        count = 0
        while not self._stopped.is_set():
            try:
                with suppress(psycopg.OperationalError), psycopg.connect(url, autocommit=True) as connection:
                    while not self._stopped.is_set():
                        count += 1
                        self._write(connection, number, f"{number}/{count}")
            except Exception as error:
                self.problems.append(error)
                return

    def _write(self, connection: psycopg.Connection[Any], number: int, token: str) -> None:
        began = time.time()
        with connection.transaction():
            row = connection.execute(
                "INSERT INTO orders (customer, token) VALUES (%s, %s) RETURNING id", [number, token]
            ).fetchone()
            assert row is not None
            connection.execute("INSERT INTO line (orders, what) VALUES (%s, %s)", [row[0], token])
        self.tokens.append((token, began))
        connection.execute("UPDATE visit SET times = times + 1 WHERE customer = %s", [number])
        self._stopped.wait(0.01)  # two cores are enough for all of them


def everything(box: Sandbox, name: str) -> tuple[set[str], set[str], int, dict[int, int]]:
    with box.connect(name) as connection:
        orders = {row[0] for row in connection.execute("SELECT token FROM orders")}
        items = {row[0] for row in connection.execute("SELECT what FROM line")}
        damage = len(connection.execute("SELECT FROM price WHERE cents = 0").fetchall())
        return orders, items, damage, dict(connection.execute("SELECT customer, times FROM visit").fetchall())


@pytest.mark.promise("--carry brings late writes along and loses none")
@pytest.mark.long
@pytest.mark.parametrize("how", [(), pytest.param(("--carry-clone",))], ids=["scan", "clone"])
def test_no_write_of_a_client_is_lost(sandbox: Sandbox, tmp_path: Path, how: tuple[str, ...]) -> None:
    with sandbox.connect() as connection:
        connection.execute(SHOP)
    flag = tmp_path / "flag"
    writers = Writers(sandbox.url)
    command = "UPDATE price SET cents = 0; UPDATE customer SET rating = 1 WHERE id % 2 = 0; SELECT pg_sleep(0.3)"
    health = f"test -e {flag} || touch {flag}; sleep 0.2; false"
    with writers.at_work():
        ran = sandbox.run(
            "guard", "--carry", *how, "--health-command", health, "--health-timeout", "1s", "--json", "--",
            "psql", "-qXc", command,
        )  # fmt: skip
        came = len(writers.tokens)
        deadline = time.monotonic() + 30
        while len(writers.tokens) < came + 50 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert (ran.code, writers.problems) == (20, []), (ran.err, ran.out)
    assert "carried" in ran.document["data"]["rollback"], (ran.document["warnings"], ran.err)
    data = ran.document["data"]["rollback"]
    old = next(entry.name for entry in sandbox.entries() if entry.kind is Kind.OLD)
    sandbox.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(old)))
    orders, items, damage, visits = everything(sandbox, sandbox.name)
    aside, items_aside, _, visits_aside = everything(sandbox, old)
    assert damage == 0
    committed = {token for token, _ in writers.tokens}
    assert committed <= orders | aside and committed <= items | items_aside
    assert orders == items  # none without its items
    ended = flag.stat().st_mtime
    late = {token for token, began in writers.tokens if began > ended}
    assert late
    assert {each["table"] for each in data["carried"]["conflicts"]} <= {"visit"}
    assert late <= orders
    assert {each["table"]: each["rows_inserted"] for each in data["not_carried"] if each["rows_inserted"]} == {
        "orders": len(aside - orders),
        "line": len(items_aside - items),
    }
    conflicts = {each["key"]["customer"] for each in data["carried"]["conflicts"]}
    assert conflicts <= set(map(str, range(1, 9)))
    for number in range(1, 9):
        # They are counted up while the command runs, too. So what came later is named, or all of it is there.
        assert str(number) in conflicts or visits[number] >= visits_aside[number]
    assert {each["code"] for each in ran.document["warnings"]} <= {"conflicts"}
