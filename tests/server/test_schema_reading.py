"""Reading definitions: by any role, and while they are changed."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg
import pytest
from psycopg import sql

from snapkit.core.comparison.schema.schema_changes import schema_changes
from snapkit.errors import NOTHING_CHANGED, BusyError
from snapkit.postgres.comparison.definitions.read import definitions_in_snapshot
from snapkit.postgres.connection.conninfo import target_of
from snapkit.postgres.connection.server import Server
from snapkit.postgres.connection.sqlstates import server_errors
from snapkit.services.comparison.schema import compare_schemas
from snapkit.services.comparison.sides import Sides
from tests.cluster import PASSWORD, Cluster
from tests.sandbox import Sandbox
from tests.server.test_schema_comparison import BASE, READER, base

__all__ = ["base"]


def test_a_role_without_rights_reads_all_but_the_options_of_user_mappings(cluster: Cluster, base: str) -> None:
    with psycopg.connect(base, autocommit=True) as connection:
        connection.execute(sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(READER), PASSWORD))
    with Server(target_of(base)).enter(BASE, {}) as superuser:
        wanted = definitions_in_snapshot(superuser)
    with Server(target_of(cluster.url(BASE, user=READER))).enter(BASE, {}) as reader:
        found = definitions_in_snapshot(reader)
    (change,) = schema_changes(wanted, found, related=True)
    assert change.object == "user mapping"
    assert "sesame" not in repr(wanted) + repr(found)


@contextmanager
def compared(sandbox: Sandbox) -> Iterator[Sides]:
    """A clone of the live database, and the live database."""
    clone = f"{sandbox.prefix}_clone"
    sandbox.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*map(sql.Identifier, (clone, sandbox.name))))
    server = sandbox.server()
    with server.enter(clone, {}) as entry, server.enter(sandbox.name, {}) as live, closing(Sides(entry, live)) as sides:
        yield sides


@contextmanager
def ddl(sandbox: Sandbox, *scripts: str) -> Iterator[threading.Semaphore]:
    """Run the scripts in turn, again and again, each in a transaction: one whenever the semaphore is released."""
    turns, stopped = threading.Semaphore(0), threading.Event()

    def work() -> None:
        with sandbox.connect() as connection:
            for script in itertools.cycle(scripts):
                turns.acquire()
                if stopped.is_set():
                    return
                connection.execute(script.encode())

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield turns
    finally:
        stopped.set()
        turns.release()
        thread.join(60)
    assert not thread.is_alive()


@pytest.mark.parametrize("related", [True, False])
def test_what_is_read_while_definitions_are_changed_is_of_one_moment(sandbox: Sandbox, related: bool) -> None:
    there = "CREATE TABLE one (id int PRIMARY KEY, CHECK (id > 0)); CREATE VIEW over AS SELECT id FROM one"
    scripts = (there, "ALTER TABLE one RENAME TO two", "DROP TABLE two CASCADE")
    with compared(sandbox) as sides, ddl(sandbox, *scripts) as turns:
        for _ in range(20):
            turns.release(2)
            found = {each.name: each.after or "" for each in compare_schemas(sides, related=related)}
            assert found.keys() in ({"one", "over"}, {"two", "over"}, set())
            for name in found.keys() - {"over"}:
                assert f"FROM public.{name}" in found["over"]
                assert "CONSTRAINT one_id_check CHECK ((id > 0))" in found[name]


def test_a_locked_table_is_not_waited_for_without_end(sandbox: Sandbox) -> None:
    with compared(sandbox) as sides, sandbox.connect() as locker:
        locker.execute("CREATE VIEW over AS SELECT id FROM item")
        locker.execute("BEGIN; LOCK TABLE item IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(BusyError), server_errors(NOTHING_CHANGED):
            compare_schemas(sides, related=True)
        locker.execute("ROLLBACK")
        assert [each.name for each in compare_schemas(sides, related=True)] == ["over"]


def test_of_related_databases_only_what_differs_is_read(sandbox: Sandbox) -> None:
    with sandbox.connect() as connection:
        connection.execute("CREATE SCHEMA shop; CREATE TABLE shop.customer (id int PRIMARY KEY, email text, old int)")
        connection.execute("CREATE VIEW shop.known AS SELECT email FROM shop.customer")
    with compared(sandbox) as sides:
        with sandbox.connect() as connection:
            connection.execute("COMMENT ON TABLE shop.customer IS 'who buys'")
            connection.execute("COMMENT ON COLUMN shop.known.email IS 'where to write'")
            connection.execute("COMMENT ON INDEX shop.customer_pkey IS 'the key'")
            connection.execute("ALTER TABLE shop.customer DROP old, ADD old bigint")
            connection.execute("ALTER SCHEMA shop RENAME TO store")
            connection.execute("CREATE INDEX by_email ON store.customer (email)")
        found = compare_schemas(sides, related=True)
    assert [f"{each.change} {each.object} {each.schema}.{each.name}" for each in found] == [
        "changed schema None.store",
        "changed column store.customer.old",
        "added index store.customer.by_email",
        "added comment store.customer",
        "added comment store.customer.customer_pkey",
        "added comment store.known",
    ]
