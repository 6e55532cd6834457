"""Reading definitions: by any role, and while they are changed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg
import pytest
from psycopg import sql

from snapkit.core.comparison.schema.schema_changes import schema_changes
from snapkit.errors import BusyError
from snapkit.postgres.comparison.definitions.read import read_definitions
from snapkit.postgres.connection.conninfo import target_of
from snapkit.postgres.connection.server import Server
from tests.cluster import PASSWORD, Cluster
from tests.sandbox import Sandbox
from tests.server.test_schema_comparison import BASE, READER, base

__all__ = ["base"]


def test_a_role_without_rights_reads_all_but_the_options_of_user_mappings(cluster: Cluster, base: str) -> None:
    with psycopg.connect(base, autocommit=True) as connection:
        connection.execute(sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(READER), PASSWORD))
    with Server(target_of(base)).enter(BASE, {}) as superuser:
        wanted = read_definitions(superuser)
    with Server(target_of(cluster.url(BASE, user=READER))).enter(BASE, {}) as reader:
        found = read_definitions(reader)
    (change,) = schema_changes(wanted, found, related=True)
    assert change.object == "user mapping"
    assert "sesame" not in repr(wanted) + repr(found)


@contextmanager
def ddl(sandbox: Sandbox, *scripts: str) -> Iterator[None]:
    """Run the scripts again and again, each in a transaction, while the block runs."""
    stopped = threading.Event()

    def work() -> None:
        with sandbox.connect() as connection:
            while not stopped.is_set():
                for script in scripts:
                    connection.execute(script.encode())
                    stopped.wait(0.3)  # else nothing could be read in between

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join(60)
    assert not thread.is_alive()


def test_what_is_read_while_definitions_are_changed_is_of_one_moment(sandbox: Sandbox) -> None:
    there = "CREATE TABLE one (id int PRIMARY KEY, CHECK (id > 0)); CREATE VIEW over AS SELECT id FROM one"
    scripts = ("ALTER TABLE one RENAME TO two", "DROP TABLE two CASCADE", there)
    complete = 0
    with sandbox.connect() as connection:
        connection.execute(there)
    with ddl(sandbox, *scripts), sandbox.server().enter(sandbox.name, {}) as connection:
        deadline = time.monotonic() + 120
        while complete < 10 and time.monotonic() < deadline:
            with suppress(BusyError):
                found = {each.name: each for each in read_definitions(connection)}
                complete += 1
                assert not {"one", "two"} <= found.keys()
                if "over" in found:
                    name = "one" if "one" in found else "two"
                    assert f"FROM public.{name}" in found["over"].text
                    assert found[f"{name}.one_id_check"].text == "CONSTRAINT one_id_check CHECK ((id > 0))"
    assert complete == 10


def test_a_locked_table_is_not_waited_for_without_end(sandbox: Sandbox) -> None:
    with sandbox.connect() as connection:
        connection.execute("CREATE VIEW over AS SELECT id FROM item")
    with sandbox.connect() as locker, sandbox.server().enter(sandbox.name, {}) as reader:
        locker.execute("BEGIN; LOCK TABLE item IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(BusyError):
            read_definitions(reader)
        locker.execute("ROLLBACK")
        assert any(each.name == "over" for each in read_definitions(reader))
