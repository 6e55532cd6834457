"""Backups, on a real server."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
from contextlib import closing
from datetime import timedelta

import psycopg
import pytest
from psycopg import sql

from snapkit.core.inventory.kinds import Kind, State, Strategy
from snapkit.core.outage.hold_rules import HoldRules
from snapkit.errors import BusyError, NotFoundError, PrivilegeError, SnapkitError, UsageError
from snapkit.services.backup import BackupRequest, back_up, preview_backup
from snapkit.services.outage.clients import Clients
from tests.sandbox import LOCK_WAIT, Sandbox, command_environment, entry_names, wait_until


@pytest.mark.command("backup")
def test_a_backup_holds_the_data_and_is_listed(sandbox: Sandbox) -> None:
    before = sandbox.items()
    receipt = sandbox.back_up(label="before v42", pinned=True)
    (entry,) = sandbox.entries()
    assert (entry.kind, entry.state, entry.label, entry.pinned) == (Kind.BACKUP, State.READY, "before v42", True)
    assert entry.name == receipt.backup.name
    sandbox.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(entry.name)))
    assert sandbox.items(entry.name) == before


@pytest.mark.promise("nobody gets into a backup")
def test_a_backup_lets_nobody_in_not_even_a_superuser(sandbox: Sandbox) -> None:
    name = sandbox.back_up().backup.name
    with pytest.raises(psycopg.OperationalError, match="not currently accepting connections"):
        sandbox.connect(name)


def test_the_receipt_agrees_with_the_server(sandbox: Sandbox) -> None:
    receipt = sandbox.back_up()
    ((size,),) = sandbox.execute("SELECT pg_database_size(%s)", receipt.backup.name)
    assert receipt.backup.size_bytes == size
    assert receipt.address.port == sandbox.cluster.port
    assert receipt.address.server_version // 10000 == sandbox.version
    assert timedelta(0) < receipt.outage <= receipt.duration
    expected = Strategy.CLONE if sandbox.version >= 18 else Strategy.FILE_COPY
    assert receipt.backup.strategy is expected


def test_the_comment_is_a_versioned_document(sandbox: Sandbox) -> None:
    name = sandbox.back_up(label='it\'s 100% \\ "fine"\n').backup.name
    document = json.loads(sandbox.row(name)["comment"])
    assert document["snapkit"] == 1
    assert document["source"] == sandbox.name
    assert document["label"] == 'it\'s 100% \\ "fine"\n'


def test_two_backups_in_one_second_have_names_of_their_own(sandbox: Sandbox) -> None:
    names = [sandbox.back_up().backup.name for _ in range(4)]
    assert len(set(names)) == 4
    assert entry_names(sandbox.entries()) == names[::-1]


@pytest.mark.promise("clients that reconnect at once do not stop a backup")
def test_clients_that_reconnect_at_once_do_not_keep_a_backup_from_succeeding(sandbox: Sandbox) -> None:
    with sandbox.reconnecting_clients(8) as crowd:
        for _ in range(5):
            receipt = sandbox.back_up()
            assert receipt.disconnected
            assert {session.application for session in receipt.disconnected} == {"crowd"}
            queries = crowd.queries
            wait_until(lambda seen=queries: crowd.queries > seen)  # type: ignore[misc]
    assert len(sandbox.entries()) == 5


def test_a_session_in_an_open_transaction_is_disconnected(sandbox: Sandbox) -> None:
    client = sandbox.connect()
    client.execute("BEGIN")
    client.execute("DELETE FROM item")
    assert len(sandbox.back_up().disconnected) == 1
    with pytest.raises(psycopg.OperationalError):
        client.execute("COMMIT")
    client.close()
    assert len(sandbox.items()) == 100


def test_no_disconnect_fails_while_a_client_is_connected_and_leaves_it_alone(sandbox: Sandbox) -> None:
    with sandbox.connect(application_name="billing") as client:
        with pytest.raises(BusyError, match="billing"):
            sandbox.back_up(hold=HoldRules(disconnect=False))
        assert client.execute("SELECT 1").fetchone() == (1,)
    assert sandbox.databases() == [sandbox.name]


def test_no_disconnect_succeeds_when_nobody_is_there(sandbox: Sandbox) -> None:
    assert sandbox.back_up(hold=HoldRules(disconnect=False)).disconnected == ()


def test_a_prepared_transaction_is_named_before_anybody_is_disconnected(sandbox: Sandbox) -> None:
    with sandbox.connect() as client:
        client.execute("BEGIN")
        client.execute("DELETE FROM item WHERE id = 1")
        client.execute("PREPARE TRANSACTION 'stuck one'")
        with pytest.raises(BusyError, match="stuck one"):
            sandbox.back_up()
        client.execute("ROLLBACK PREPARED 'stuck one'")
    assert sandbox.databases() == [sandbox.name]


@pytest.mark.parametrize("where", ["role", "database"])
def test_timeouts_of_the_role_or_the_database_do_not_cut_a_clone_off(sandbox: Sandbox, where: str) -> None:
    owner = sandbox.role("owner", "LOGIN CREATEDB")
    sandbox.execute(
        sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(sandbox.name), sql.Identifier(owner))
    )
    timeouts = ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout"]
    timeouts += ["transaction_timeout"] if sandbox.version >= 17 else []
    target = sql.SQL("ROLE {}" if where == "role" else "ROLE {} IN DATABASE postgres").format(sql.Identifier(owner))
    for name in timeouts:
        sandbox.execute(sql.SQL("ALTER {} SET {} TO '1s'").format(target, sql.Identifier(name)))
    server = sandbox.server(sandbox.cluster.url(sandbox.name, user=owner))
    with closing(
        psycopg.connect(sandbox.cluster.url(sandbox.name, user=owner))
    ) as client:  # makes it last longer than those
        for name in ("idle_in_transaction_session_timeout", *timeouts[4:]):
            client.execute(sql.SQL("SET {} TO 0").format(sql.Identifier(name)))
        longer = BackupRequest(clients=Clients(HoldRules(grace=timedelta(seconds=1.5))))
        assert back_up(server, longer, LOCK_WAIT, lambda progress: None).disconnected
    sandbox.execute(sql.SQL("ALTER {} RESET ALL").format(target))
    assert len(sandbox.entries()) == 1


def test_a_dry_run_shows_the_statements_and_changes_nothing(sandbox: Sandbox) -> None:
    steps = preview_backup(sandbox.server(), BackupRequest(label="x")).steps
    statements = [statement for step in steps for statement in step.sql]
    assert any(
        statement.startswith("CREATE DATABASE") and "ALLOW_CONNECTIONS false" in statement for statement in statements
    )
    assert steps[-1].atomic
    assert sandbox.databases() == [sandbox.name]


def test_what_the_dry_run_printed_is_what_a_run_sends(sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    steps = preview_backup(sandbox.server(), BackupRequest()).steps
    with caplog.at_level("INFO", logger="snapkit"):
        sandbox.back_up()
    measured = r",\"clone_bytes\":\d+,\"clone_ms\":\d+,\"clone_files\":\d+|,\"activity\":.*\"complete\":true}"
    measured += r"|,\"lineage\":{[^}]*}"
    stamps = measured + r"|\d{8}_\d{6}|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
    planned = [re.sub(stamps, "", statement) for step in steps for statement in step.sql]
    sent = [re.sub(stamps, "", record.getMessage()) for record in caplog.records]
    assert sent == planned


def test_strategies_by_name(sandbox: Sandbox) -> None:
    assert sandbox.back_up(strategy=Strategy.FILE_COPY).backup.strategy is Strategy.FILE_COPY
    if sandbox.version >= 15:
        receipt = sandbox.back_up(strategy=Strategy.WAL_LOG)
        assert [caution.code for caution in receipt.cautions] == ["wal_log_unsafe"]
    if sandbox.version < 18:
        with pytest.raises(UsageError, match="18"):
            sandbox.back_up(strategy=Strategy.CLONE)


def test_a_source_that_does_not_exist(sandbox: Sandbox) -> None:
    server = sandbox.server(sandbox.cluster.url("no_such_database"))
    with pytest.raises(NotFoundError, match="no_such_database"):
        back_up(server, BackupRequest(), timedelta(0), lambda progress: None)


def test_a_backup_is_not_backed_up(sandbox: Sandbox) -> None:
    name = sandbox.back_up().backup.name
    server = sandbox.server(sandbox.cluster.url(name))
    with pytest.raises(UsageError, match="itself a backup"):
        back_up(server, BackupRequest(), timedelta(0), lambda progress: None)


def test_a_source_that_is_merely_named_like_a_backup(sandbox: Sandbox) -> None:
    name = f"{sandbox.name}_backup_20260110_103045"
    sandbox.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    server = sandbox.server(sandbox.cluster.url(name))
    receipt = back_up(server, BackupRequest(), LOCK_WAIT, lambda progress: None)
    assert receipt.backup.source == name


def test_an_invalid_source_is_refused(sandbox: Sandbox) -> None:
    sandbox.execute("UPDATE pg_database SET datconnlimit = -2 WHERE datname = %s", sandbox.name)
    with pytest.raises(SnapkitError, match="is invalid"):
        sandbox.back_up()
    assert sandbox.databases() == [sandbox.name]


@pytest.mark.promise("one run at a time")
def test_one_run_at_a_time_and_the_one_that_waits_says_for_whom(sandbox: Sandbox) -> None:
    from snapkit.postgres.sql.locks import lock_key

    with sandbox.connect("postgres", application_name="the other run") as other:
        other.execute("SELECT pg_advisory_lock(%s)", (lock_key(sandbox.name),))
        for wait in (timedelta(0), timedelta(milliseconds=300)):
            with pytest.raises(BusyError, match=f"pid {other.info.backend_pid}.*the other run.*since"):
                back_up(sandbox.server(), BackupRequest(), wait, lambda progress: None)
    assert sandbox.databases() == [sandbox.name]


def test_runs_side_by_side_all_succeed(sandbox: Sandbox) -> None:
    failures: list[Exception] = []

    def work() -> None:
        try:
            sandbox.back_up()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(sandbox.entries()) == 4


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGINT,
        pytest.param(signal.SIGTERM, marks=pytest.mark.promise("a backup that is interrupted leaves nothing")),
    ],
)
def test_an_interrupt_cancels_the_clone_and_leaves_nothing(sandbox: Sandbox, number: int) -> None:
    with sandbox.connect("postgres") as holder:
        # A rename in an open transaction holds the database, so that CREATE DATABASE waits.
        holder.execute("BEGIN")
        holder.execute(
            sql.SQL("ALTER DATABASE {} RENAME TO {}").format(
                *map(sql.Identifier, (sandbox.name, sandbox.prefix + "_x"))
            )
        )
        running = subprocess.Popen(
            [sys.executable, "-m", "snapkit", "backup", "--json"],
            env=command_environment(sandbox.url),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CREATE DATABASE%%' AND query LIKE %s"
            " AND wait_event_type = 'Lock'"
        )
        wait_until(lambda: sandbox.execute(waiting, f"%{sandbox.name}%") == [(1,)])
        running.send_signal(number)
        out, err = running.communicate(timeout=60)
        holder.execute("ROLLBACK")
    assert running.returncode == 130, err
    error = json.loads(out)["error"]
    assert error["code"] == "interrupted"
    assert "No backup was made" in error["message"]
    assert "Traceback" not in err
    assert sandbox.databases() == [sandbox.name]
    assert sandbox.execute(waiting, f"%{sandbox.name}%") == [(0,)]


@pytest.mark.promise("the next run sweeps what an interrupted one left")
def test_remains_of_an_interrupted_run_are_swept_by_the_next(sandbox: Sandbox) -> None:
    from snapkit.core.inventory.database import PARTIAL_CONNECTION_LIMIT

    partial = f"{sandbox.name}_partial_20260110_103045"
    lookalike = f"{sandbox.name}_partial_20260110_103046"
    create = sql.SQL("CREATE DATABASE {} ALLOW_CONNECTIONS false CONNECTION LIMIT {}")
    sandbox.execute(create.format(sql.Identifier(partial), sql.Literal(PARTIAL_CONNECTION_LIMIT)))
    sandbox.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(lookalike)))
    (entry,) = sandbox.entries()
    assert (entry.name, entry.kind, entry.state) == (partial, Kind.PARTIAL, State.INCOMPLETE)
    receipt = sandbox.back_up()
    assert [caution.code for caution in receipt.cautions] == ["swept"]
    assert sandbox.databases() == [sandbox.name, lookalike, receipt.backup.name]


@pytest.mark.promise("a right that is missing is named with its statement")
def test_a_role_without_the_rights_is_told_which_and_how_to_get_them(sandbox: Sandbox) -> None:
    role = sandbox.role("nobody")
    server = sandbox.server(sandbox.cluster.url(sandbox.name, user=role))
    with pytest.raises(PrivilegeError, match=r"lacks these rights on the database .*: CREATEDB, ownership") as caught:
        back_up(server, BackupRequest(), timedelta(0), lambda progress: None)
    assert caught.value.hint is not None
    assert f'ALTER ROLE "{role}" CREATEDB;' in caught.value.hint


@pytest.mark.promise("a session that may not be ended is named with the right that it takes")
def test_a_session_that_the_role_may_not_end_names_the_right_that_lacks(sandbox: Sandbox) -> None:
    owner = sandbox.role("owner", "LOGIN CREATEDB")
    sandbox.execute(
        sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(sandbox.name), sql.Identifier(owner))
    )
    server = sandbox.server(sandbox.cluster.url(sandbox.name, user=owner))
    with sandbox.connect() as superuser_session:
        with pytest.raises(PrivilegeError, match=f"pid {superuser_session.info.backend_pid}") as caught:
            back_up(server, BackupRequest(), timedelta(0), lambda progress: None)
        assert superuser_session.execute("SELECT 1").fetchone() == (1,)
    assert caught.value.hint is not None
    assert "pg_signal_backend" in caught.value.hint
    assert sandbox.databases() == [sandbox.name]


@pytest.mark.promise("a full disk leaves the source alone", "exit code 14")
def test_a_full_disk_is_reported_and_leaves_the_source_alone(sandbox: Sandbox, small_tablespace: str) -> None:
    ran = sandbox.run("backup", "--tablespace", small_tablespace, "--json")
    assert ran.code == 14, ran.out
    assert ran.document["error"]["code"] == "disk_full"
    assert "untouched" in ran.document["error"]["message"]
    assert sandbox.databases() == [sandbox.name]
    assert len(sandbox.items()) == 100


@pytest.mark.parametrize("maintenance", ["postgres", "template1"])
def test_the_maintenance_database_may_itself_be_the_source(sandbox: Sandbox, maintenance: str) -> None:
    if maintenance == "template1":
        with pytest.raises(UsageError, match="template1"):
            sandbox.server(sandbox.cluster.url("template1"))
        return
    steps = preview_backup(sandbox.server(sandbox.cluster.url("postgres")), BackupRequest()).steps
    assert 'TEMPLATE "postgres"' in steps[1].sql[-1]
