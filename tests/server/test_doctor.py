"""doctor on real servers, with each check made to fail that a test can make fail."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import psycopg
import pytest
from psycopg import sql

from snapkit.core.checks import doctor as checks_module
from snapkit.core.checks.facts import Check, Status
from snapkit.core.inventory.database import PARTIAL_CONNECTION_LIMIT
from snapkit.services import doctor
from snapkit.services.doctor import diagnose
from tests.sandbox import Sandbox


def _checks(sandbox: Sandbox, url: str | None = None) -> dict[str, Check]:
    return {check.name: check for check in diagnose(sandbox.server(url)).checks}


def _not_ok(checks: dict[str, Check]) -> dict[str, Status]:
    return {name: check.status for name, check in checks.items() if check.status is not Status.OK}


@pytest.mark.command("doctor")
def test_a_healthy_server_passes_and_nothing_is_changed(sandbox: Sandbox) -> None:
    before = sandbox.row(sandbox.name)
    with sandbox.connect() as client:
        checks = _checks(sandbox)
        assert client.execute("SELECT 1").fetchone() == (1,)
    assert _not_ok(checks) == {}
    assert sandbox.row(sandbox.name) == before
    assert sandbox.databases() == [sandbox.name]


def test_after_a_backup_it_knows_how_long_a_clone_takes(sandbox: Sandbox) -> None:
    sandbox.back_up()
    assert "about" in _checks(sandbox)["method"].message


def test_rights_and_sessions_of_others(sandbox: Sandbox) -> None:
    reader, owner = sandbox.role("reader"), sandbox.role("owner", "LOGIN CREATEDB")
    checks = _checks(sandbox, sandbox.cluster.url(sandbox.name, user=reader))
    assert checks["rights"].status is Status.PROBLEM
    assert checks["rights"].hint is not None
    assert f'ALTER ROLE "{reader}" CREATEDB;' in checks["rights"].hint
    sandbox.execute(
        sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(sandbox.name), sql.Identifier(owner))
    )
    with sandbox.connect(application_name="nightly"):
        checks = _checks(sandbox, sandbox.cluster.url(sandbox.name, user=owner))
    assert _not_ok(checks) == {"sessions": Status.PROBLEM}
    assert "nightly" in checks["sessions"].message


def test_prepared_transactions(sandbox: Sandbox) -> None:
    with sandbox.connect() as client:
        client.execute("BEGIN")
        client.execute("DELETE FROM item")
        client.execute("PREPARE TRANSACTION 'forgotten'")
        assert _not_ok(_checks(sandbox)) == {"prepared_transactions": Status.PROBLEM}
        client.execute("ROLLBACK PREPARED 'forgotten'")


@contextmanager
def _slot_and_subscription(sandbox: Sandbox) -> Iterator[None]:
    with sandbox.connect() as client:
        client.execute(
            "CREATE SUBSCRIPTION elsewhere CONNECTION 'host=127.0.0.1 port=1' PUBLICATION p WITH (connect = false)"
        )
        try:
            yield
        finally:
            client.execute("ALTER SUBSCRIPTION elsewhere SET (slot_name = NONE)")
            client.execute("DROP SUBSCRIPTION elsewhere")


def test_what_a_swap_would_strand(sandbox: Sandbox) -> None:
    with _slot_and_subscription(sandbox):
        assert _not_ok(_checks(sandbox)) == {"subscriptions": Status.WARNING}


def test_a_slot_that_a_swap_would_strand(sandbox: Sandbox) -> None:
    ((level,),) = sandbox.execute("SHOW wal_level")
    if level != "logical":
        pytest.skip("needs a server with wal_level = logical")
    with sandbox.connect() as client:
        client.execute("SELECT pg_create_logical_replication_slot('stranded', 'pgoutput')")
        try:
            assert _not_ok(_checks(sandbox)) == {"replication_slots": Status.WARNING}
        finally:
            client.execute("SELECT pg_drop_replication_slot('stranded')")


def test_no_such_database_and_an_invalid_one(sandbox: Sandbox) -> None:
    checks = _checks(sandbox, sandbox.cluster.url("nowhere"))
    assert checks["database"].status is Status.PROBLEM
    sandbox.execute("UPDATE pg_database SET datconnlimit = -2 WHERE datname = %s", sandbox.name)
    assert _checks(sandbox)["database"].status is Status.PROBLEM


def test_remains_of_interrupted_runs(sandbox: Sandbox) -> None:
    partial = f"{sandbox.name}_partial_20260110_103045"
    create = sql.SQL("CREATE DATABASE {} ALLOW_CONNECTIONS false CONNECTION LIMIT {}")
    sandbox.execute(create.format(sql.Identifier(partial), sql.Literal(PARTIAL_CONNECTION_LIMIT)))
    checks = _checks(sandbox)
    assert _not_ok(checks) == {"inventory": Status.WARNING}
    assert partial in checks["inventory"].message


def test_a_closed_database_s_extensions_cannot_be_read(sandbox: Sandbox) -> None:
    role = sandbox.role("outsider")
    sandbox.execute(sql.SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(sql.Identifier(sandbox.name)))
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(sandbox.cluster.url(sandbox.name, user=role))
    assert _checks(sandbox, sandbox.cluster.url(sandbox.name, user=role))["extensions"].status is Status.WARNING


@pytest.mark.promise("exit code 1")
def test_the_document_and_the_exit_code(sandbox: Sandbox) -> None:
    ran = sandbox.run("doctor", "--json")
    assert ran.code == 0
    assert {frozenset(check) for check in ran.data["checks"]} == {frozenset({"name", "status", "message", "hint"})}
    ran = sandbox.run("doctor", "--json", url=sandbox.cluster.url("nowhere"))
    assert (ran.code, ran.document["status"], ran.document["error"]["code"]) == (1, "error", "failed")
    assert ran.document["data"]["checks"]
    text = sandbox.run("doctor", url=sandbox.cluster.url("nowhere"))
    assert text.code == 1
    assert "1 problem found. Nothing was changed." in text.out


def test_what_no_test_can_bring_about_on_the_server_is_brought_about_around_it(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full, a clock that is wrong, an extension that needs care: the facts are real but for these."""
    ahead = datetime.now(UTC) - timedelta(minutes=5)
    monkeypatch.setattr(doctor, "datetime", SimpleNamespace(now=lambda zone: ahead))
    monkeypatch.setattr(doctor, "shutil", SimpleNamespace(disk_usage=lambda path: SimpleNamespace(free=1)))
    monkeypatch.setattr(checks_module, "CAREFUL_EXTENSIONS", {"plpgsql": "of which every database has one"})
    full = Status.WARNING if sandbox.version >= 18 else Status.PROBLEM
    assert _not_ok(_checks(sandbox)) == {"disk": full, "clock": Status.WARNING, "extensions": Status.WARNING}
