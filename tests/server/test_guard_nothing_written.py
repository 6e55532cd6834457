"""A guarded command that has provably written nothing: nothing is swapped. What cannot be proved is swapped."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from psycopg import sql

from snapkit.core.inventory.kinds import Kind
from snapkit.postgres.connection.conninfo import target_of
from snapkit.postgres.connection.server import Server
from snapkit.services.run.any_writes import Mark, mark_moment, nothing_written_since
from tests.cluster import PASSWORD
from tests.sandbox import Sandbox, wait_until


@contextmanager
def marked(sandbox: Sandbox, url: str | None = None) -> Iterator[tuple[Server, Mark]]:
    """A server with a session in reserve, as a guard has it, and a mark; what others do may spoil the first one."""

    def nothing(session: object) -> None:
        pass

    server = Server(target_of(url or sandbox.url))
    oid = sandbox.row(sandbox.name)["oid"]
    with server.in_reserve(nothing, nothing):
        found: list[Mark] = []

        def mark() -> bool:
            made = mark_moment(server, oid)
            found.extend([made] if made is not None else [])
            return made is not None

        wait_until(mark)
        yield server, found[-1]


READING = [
    "SELECT count(*) FROM item",
    "BEGIN; SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; SELECT * FROM item; COMMIT",
    "EXPLAIN ANALYZE SELECT * FROM item ORDER BY name",
    "SELECT currval('numbers') FROM (SELECT 1) AS one WHERE false",
]
WRITING = [
    "INSERT INTO item VALUES (1000, 'x')",
    "BEGIN; INSERT INTO item VALUES (1000, 'x'); ROLLBACK",  # it wrote, if nothing that stays
    "CREATE TABLE other (id int)",
    "SELECT lo_create(0)",
    "SELECT nextval('numbers')",  # without a transaction ID: of the values fetched beforehand
    "SELECT setval('numbers', 7)",
    "SELECT setval('fresh', 7, false)",
    "SELECT nextval('fresh')",
    "COMMENT ON TABLE item IS 'x'",
    "CREATE TEMPORARY TABLE t AS SELECT 1 AS a",
    "ANALYZE item",
]


def _prepare(sandbox: Sandbox) -> None:
    with sandbox.connect() as connection:
        connection.execute("CREATE SEQUENCE numbers")
        connection.execute("CREATE SEQUENCE fresh")
        connection.execute("SELECT nextval('numbers')")


@pytest.mark.parametrize("statement", READING)
def test_reading_is_no_writing(sandbox: Sandbox, statement: str) -> None:
    _prepare(sandbox)

    def is_still() -> bool:  # what the server does by itself meanwhile may cost a transaction ID
        with marked(sandbox) as (server, mark):
            with sandbox.connect() as connection:
                connection.execute(statement)
            return nothing_written_since(server, mark)

    wait_until(is_still)


@pytest.mark.parametrize("statement", WRITING)
def test_writing_is_seen(sandbox: Sandbox, statement: str) -> None:
    _prepare(sandbox)
    with marked(sandbox) as (server, mark):
        with sandbox.connect() as connection:
            connection.execute(statement)
        assert not nothing_written_since(server, mark)


def test_a_value_fetched_beforehand_takes_no_transaction_id(sandbox: Sandbox) -> None:
    """Why sequences are compared: an ID alone does not tell."""
    _prepare(sandbox)
    with sandbox.connect() as connection:
        rows = connection.execute("SELECT nextval('numbers'), pg_current_xact_id_if_assigned()").fetchall()
        assert rows == [(2, None)]


def test_what_is_at_work_or_cannot_be_seen_proves_nothing(sandbox: Sandbox) -> None:
    _prepare(sandbox)
    with marked(sandbox) as (server, mark), sandbox.connect() as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT 1")
        assert not nothing_written_since(server, mark), "it may write yet"
    with marked(sandbox) as (server, mark):
        sandbox.execute("SELECT pg_terminate_backend(%s, 10000)", mark.pid)
        assert not nothing_written_since(server, mark), "the server may have crashed meanwhile"
    oid = sandbox.row(sandbox.name)["oid"]
    with sandbox.connect() as connection:
        connection.execute("BEGIN")
        connection.execute("INSERT INTO item VALUES (1000, 'x')")
        assert mark_moment(sandbox.server(), oid) is None, "a transaction that has its ID already may write on"
        connection.execute("ROLLBACK")
        if sandbox.version >= 15:
            connection.execute("CREATE UNLOGGED SEQUENCE loose")
            assert mark_moment(sandbox.server(), oid) is None, "its values change without an ID"
    assert mark_moment(sandbox.server(), oid + 1) is None


def test_a_sequence_that_the_role_may_not_read_proves_nothing(sandbox: Sandbox) -> None:
    _prepare(sandbox)
    owner = sandbox.role("owner", f"LOGIN CREATEDB PASSWORD '{PASSWORD}'")
    alter = sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(sandbox.name), sql.Identifier(owner))
    sandbox.execute(alter)
    url = sandbox.cluster.url(sandbox.name, user=owner)
    oid = sandbox.row(sandbox.name)["oid"]
    assert mark_moment(sandbox.server(url), oid) is None
    with sandbox.connect() as connection:
        connection.execute(sql.SQL("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {}").format(sql.Identifier(owner)))
    with marked(sandbox, url) as (_, mark):
        assert sorted(value or 0 for value in mark.sequences.values()) == [0, 1]


# --- the whole command ----------------------------------------------------------------------------------------------


def _guard(sandbox: Sandbox, statement: str) -> tuple[str, ...]:
    code = (
        "import psycopg, sys\n"
        f"with psycopg.connect({sandbox.url!r}, autocommit=True) as c:\n"
        f"    c.execute({statement!r})\n"
        "sys.exit(3)"
    )
    return ("guard", "--json", "--", sys.executable, "-c", code)


@pytest.mark.promise("nothing is swapped for a command that wrote nothing")
def test_nothing_is_swapped_for_a_command_that_wrote_nothing(sandbox: Sandbox) -> None:
    def swaps_nothing() -> bool:
        done = sandbox.run(*_guard(sandbox, "SELECT count(*) FROM item"))
        assert (done.code, done.document["error"]["code"]) == (20, "rolled_back"), done
        warned = [each["code"] for each in done.document["warnings"]]
        is_still = done.document["data"]["rollback"] is None
        assert ("nothing_written" in warned) is is_still
        return is_still

    wait_until(swaps_nothing)
    newest, *_ = sandbox.entries()
    assert newest.kind is Kind.BACKUP


def test_a_command_that_wrote_is_undone(sandbox: Sandbox) -> None:
    done = sandbox.run(*_guard(sandbox, "DELETE FROM item"))
    assert done.code == 20, done
    assert done.document["data"]["rollback"] is not None
    assert len(sandbox.items()) == 100


def test_a_statement_that_goes_on_without_its_client_is_no_stillness(sandbox: Sandbox) -> None:
    """The command is gone; what it has sent is still at work, and would write."""
    later = "SELECT pg_sleep(3600); INSERT INTO item VALUES (1000, 'x')"
    code = (
        "import psycopg, os, threading\n"
        f"c = psycopg.connect({sandbox.url!r}, autocommit=True)\n"
        f"threading.Thread(target=c.execute, args=({later!r},), daemon=True).start()\n"
        f"with psycopg.connect({sandbox.url!r}, autocommit=True) as other:\n"
        "    while not other.execute(\"SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = "
        'current_database()").fetchone():\n'
        "        pass\n"
        "os._exit(3)"
    )
    done = sandbox.run("guard", "--json", "--", sys.executable, "-c", code)
    assert done.code == 20, done
    assert done.document["data"]["rollback"] is not None
    assert sandbox.sessions(sandbox.name) == 0
