"""What is asked of the server: few questions, and none of SQLAlchemy's own."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from psycopg import sql
from sqlalchemy import false, func, select

from snapkit.postgres.catalog import databases as catalog
from snapkit.postgres.catalog import server_facts
from snapkit.postgres.connection.driver import began_with, driver_connection
from snapkit.postgres.outage.eviction import DoorLook, make_ready
from tests.crash.stage import url_through
from tests.gate import Gate
from tests.sandbox import Sandbox, run_snapkit

SAFE = "read pg_settings, set_config"
GLANCE = "read set_config"
INVENTORY = (
    "read pg_roles, current_setting, pg_settings, pg_has_role, pg_snapshot_xmax, pg_current_snapshot, pg_database, "
    "pg_tablespace, pg_shdescription"
)
STRANDED = ["read pg_replication_slots, pg_database", "read pg_subscription, pg_database"]
SIZES = "read pg_database, pg_has_role, pg_database_size"


@pytest.fixture
def gate(sandbox: Sandbox) -> Iterator[Gate]:
    gate = Gate(sandbox.cluster.port)
    yield gate
    gate.close()


def _asked(gate: Gate, sandbox: Sandbox, *words: str) -> list[tuple[int, str]]:
    """Run a command; return what it sent, with the number of the connection."""
    gate.points.clear()
    ran = run_snapkit(*words, url=url_through(gate, sandbox.name))
    assert ran.code == 0, ran.err
    return [(point.connection, point.label) for point in gate.points]


def _labels(gate: Gate, sandbox: Sandbox, *words: str) -> list[str]:
    asked = _asked(gate, sandbox, *words)
    assert len({connection for connection, _ in asked}) == 1
    return [label for _, label in asked]


def test_list_asks_once_for_all_that_it_shows(sandbox: Sandbox, gate: Gate) -> None:
    for _ in range(3):
        sandbox.back_up()
    assert _labels(gate, sandbox, "list") == ["connect", SAFE, INVENTORY]
    assert _labels(gate, sandbox, "list", "--all") == ["connect", SAFE, INVENTORY]
    assert _labels(gate, sandbox, "list", "--sizes") == ["connect", SAFE, INVENTORY, SIZES]
    assert _labels(gate, sandbox, "list", "--sizes", "--all", "--json") == ["connect", SAFE, INVENTORY, SIZES]
    assert _labels(gate, sandbox, "status", "--max-age", "24h") == ["connect", SAFE, INVENTORY, *STRANDED]
    whole = ["connect", SAFE, INVENTORY, SIZES, *STRANDED]
    assert _labels(gate, sandbox, "status", "--sizes", "--all", "--prometheus") == whole


def test_each_connection_begins_with_the_one_question_that_makes_it_safe(sandbox: Sandbox, gate: Gate) -> None:
    for words, glances in (
        (["backup"], 1),
        (["rollback", "--latest"], 1),
        (["undo"], 0),
        (["prune", "--keep-old", "0"], 0),
    ):
        asked = _asked(gate, sandbox, *words)
        begun = [
            [label for connection, label in asked if connection == number][:2]
            for number in {connection for connection, _ in asked}
        ]
        assert begun.count(["connect", GLANCE]) == glances, words
        assert all(each in (["connect", SAFE], ["connect", GLANCE]) for each in begun), begun
        assert not [label for _, label in asked if "SHOW" in label.upper() or "version()" in label]


def test_a_glance_is_safe_whatever_role_and_database_have_set(sandbox: Sandbox) -> None:
    role = sandbox.role("contrary", "LOGIN SUPERUSER")
    contrary = {
        "statement_timeout": "1h", "lock_timeout": "1h", "idle_in_transaction_session_timeout": "1h",
        "standard_conforming_strings": "off", "client_min_messages": "debug1", "row_security": "on",
        "search_path": "public",
    }  # fmt: skip
    for name, value in contrary.items():
        for kind, whose in (("ROLE", role), ("DATABASE", sandbox.name)):
            setting = sql.SQL(f"ALTER {kind} {{}} SET {{}} = {{}}")
            sandbox.execute(setting.format(sql.Identifier(whose), sql.Identifier(name), sql.Literal(value)))
    server = sandbox.server(sandbox.cluster.url(sandbox.name, user=role))
    with server.probe(sandbox.name, timedelta(seconds=2), {}) as inside:
        found = {name: inside.execute(select(func.current_setting(name))).scalar_one() for name in contrary}
        assert inside.execute(select(func.current_setting("transaction_read_only"))).scalar_one() == "on"
    assert found == {
        "statement_timeout": "2s", "lock_timeout": "500ms", "idle_in_transaction_session_timeout": "10s",
        "standard_conforming_strings": "on", "client_min_messages": "warning", "row_security": "off",
        "search_path": "pg_catalog",
    }  # fmt: skip


def test_a_drop_takes_twenty_statements_however_many_there_are(sandbox: Sandbox, gate: Gate) -> None:
    numbers = []
    for backups in (2, 5):
        for _ in range(backups):
            sandbox.back_up()
        numbers.append(len(_labels(gate, sandbox, "prune", "--keep", "1")))
        sandbox.run("delete", sandbox.entries()[0].name)
    few, many = numbers
    # Three keep guards away from what is dropped, and six give it a name under which it surely is what was meant.
    assert many - few == 20 * 3


def test_what_sqlalchemy_would_have_asked_is_known(sandbox: Sandbox) -> None:
    with sandbox.server().connect() as connection:
        dialect = connection.dialect
        version = server_facts.server_facts(connection).version
        assert dialect.server_version_info == divmod(version, 10000)
        assert dialect.default_schema_name == "pg_catalog"
        assert dialect.default_isolation_level == "READ COMMITTED"
        assert began_with(connection, "lock_timeout").source == "default"


def test_a_backslash_is_one_whatever_the_role_has_set(sandbox: Sandbox) -> None:
    role = sandbox.role("old_fashioned", "LOGIN SUPERUSER")
    sandbox.execute(sql.SQL("ALTER ROLE {} SET standard_conforming_strings = off").format(sql.Identifier(role)))
    url = sandbox.cluster.url(sandbox.name, user=role)
    assert run_snapkit("backup", "--label", r"C:\new 100% 'so'", url=url).code == 0
    (entry,) = sandbox.entries()
    assert entry.label == r"C:\new 100% 'so'"
    assert run_snapkit("rollback", r"C:\new 100% 'so'", url=url).code == 0


def test_one_survey_tells_what_two_questions_do(sandbox: Sandbox) -> None:
    sandbox.back_up(label="x")
    with sandbox.server().connect() as connection:
        facts, databases = catalog.survey(connection)
        asked = server_facts.server_facts(connection)
        assert (facts.role, facts.is_superuser, facts.version) == (asked.role, asked.is_superuser, asked.version)
        assert facts.now <= asked.now
        assert facts.can_share_blocks == asked.can_share_blocks
        assert sorted(databases, key=str) == sorted(catalog.databases(connection), key=str)


def test_a_server_without_any_database_but_the_templates(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = catalog._databases
    monkeypatch.setattr(catalog, "_databases", lambda: everything().where(false()))
    with sandbox.server().connect() as connection:
        facts, databases = catalog.survey(connection)
    assert (facts.role, databases) == ("postgres", [])


def test_who_may_not_measure_a_database_still_lists_the_others(sandbox: Sandbox) -> None:
    hidden, seen = (sandbox.back_up().backup.name for _ in range(2))
    role = sandbox.role("reader")
    sandbox.execute(sql.SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(sql.Identifier(hidden)))
    ran = run_snapkit("list", "--sizes", "--json", url=sandbox.cluster.url(sandbox.name, user=role))
    sizes = {entry["name"]: entry["size_bytes"] for entry in ran.data["entries"]}
    assert sizes[hidden] is None
    assert sizes[seen] > 0
    assert ran.data["total_size_bytes"] == sizes[seen]


def test_the_look_at_the_door_is_prepared_before_it_counts(sandbox: Sandbox, gate: Gate) -> None:
    """However many looks there are, and whoever they find: its text is sent once, with the notification's."""
    with sandbox.connect(), sandbox.connect():
        asked = _asked(gate, sandbox, "backup")
    assert sum("pg_terminate_backend" in label for _, label in asked) == 1
    assert sum("pg_notify" in label for _, label in asked) == 1


@pytest.mark.parametrize("channel", [None, "snapkit_test"])
def test_whether_the_door_is_held_is_asked_after_the_sessions_were_read(sandbox: Sandbox, channel: str | None) -> None:
    """Or who has come in, through the door that was opened between the two readings, would be ended.

    The plan tells: the locks are asked for of a row that has been read, and once, not read beforehand for a join.
    """
    with sandbox.server().connect() as watcher:
        driver = driver_connection(watcher)
        driver.prepare_threshold = 0
        make_ready(watcher)
        look = DoorLook(watcher, [1, 2], driver.info.backend_pid, terminate=True, channel=channel)
        look.look({})
        driver.prepare_threshold = None
        prepared = "SELECT name, cardinality(parameter_types) FROM pg_prepared_statements WHERE statement ~ 'terminate'"
        [(name, parameters)] = driver.execute(prepared).fetchall()
        nulls = ", ".join(["NULL"] * parameters)
        [(plan,)] = driver.execute(f"EXPLAIN (FORMAT JSON, VERBOSE) EXECUTE {name}({nulls})".encode())
    [*above, door] = next(path for path in _paths(plan[0]["Plan"]) if "granted" in path[-1].get("Filter", ""))
    assert door["Function Name"] == "pg_lock_status"
    [asked] = [node for node in (*above, door) if node.get("Parent Relationship") == "SubPlan"]
    [of] = [node for node in above if asked in node.get("Plans", ())]
    assert of["Function Name"] == "pg_stat_get_activity"
    assert "hashed SubPlan" in of["Filter"]


def _paths(node: dict[str, Any], above: tuple[dict[str, Any], ...] = ()) -> Iterator[list[dict[str, Any]]]:
    """Yield each node of a plan, with those above it before it."""
    yield [*above, node]
    for each in node.get("Plans", ()):
        yield from _paths(each, (*above, node))
