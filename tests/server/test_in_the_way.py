"""Locks, lost helpers, other encodings, other owners: what gets in the way is bounded, named and survived."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg import sql

from snapkit.core.reporting import Progress
from snapkit.errors import BusyError, ConnectionFailedError, NotFoundError, PrivilegeError, SnapkitError
from snapkit.services.backup import BackupRequest, back_up
from snapkit.services.label import pin_entry
from snapkit.services.prune import choose_by_name, remove
from snapkit.services.rollback import SwapRequest, swap
from tests.cluster import PASSWORD, SUPERUSER
from tests.gate import Action, Gate, Phase
from tests.sandbox import LOCK_WAIT, Sandbox, command_environment, wait_until

pytestmark = pytest.mark.any_version


def _owned_by(sandbox: Sandbox, role: str, name: str | None = None) -> None:
    statement = sql.SQL("ALTER DATABASE {} OWNER TO {}")
    sandbox.execute(statement.format(sql.Identifier(name or sandbox.name), sql.Identifier(role)))


@pytest.mark.parametrize("target", ["live", "backup"])
def test_a_lock_in_the_way_is_waited_for_not_without_end_and_its_holder_is_named(sandbox: Sandbox, target: str) -> None:
    backup = sandbox.back_up().backup.name
    names = sandbox.databases()
    with sandbox.connect(application_name="shop") as client, sandbox.connect("postgres") as other:
        other.execute("BEGIN")
        database = sandbox.name if target == "live" else backup
        other.execute(
            sql.SQL("ALTER ROLE postgres IN DATABASE {} SET work_mem TO '5MB'").format(sql.Identifier(database))
        )
        with pytest.raises(BusyError, match=f"pid {other.info.backend_pid}"):
            sandbox.roll_back()
        other.execute("ROLLBACK")
        assert client.execute("SELECT 1").fetchone() == (1,), "a client was disconnected through an open door"
    assert sandbox.databases() == names
    assert sandbox.items()


def test_a_lock_that_every_role_may_take_is_not_in_a_backups_way(sandbox: Sandbox) -> None:
    stranger = sandbox.role("stranger", f"LOGIN PASSWORD '{PASSWORD}'")
    with psycopg.connect(sandbox.cluster.url("postgres", user=stranger)) as other:
        setting = sql.SQL("ALTER ROLE CURRENT_USER IN DATABASE {} SET work_mem TO '5MB'")
        other.execute(setting.format(sql.Identifier(sandbox.name)))
        sandbox.back_up()
        other.rollback()
    assert len(sandbox.entries()) == 1


def test_a_lock_in_the_way_of_a_clone(sandbox: Sandbox) -> None:
    with sandbox.connect("postgres") as other:
        other.execute("BEGIN")
        rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
        other.execute(rename.format(sql.Identifier(sandbox.name), sql.Identifier(sandbox.prefix + "_x")))
        with pytest.raises(BusyError, match=f"pid {other.info.backend_pid}"):
            sandbox.back_up()
        other.execute("ROLLBACK")
    assert sandbox.databases() == [sandbox.name]


def test_a_backup_stands_although_its_second_session_was_ended(sandbox: Sandbox) -> None:
    ended = threading.Event()

    def end_the_watcher(progress: Progress) -> None:
        if not ended.is_set():
            ended.set()
            # Of snapkit's two sessions, the one that does not hold the lock.
            sandbox.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'snapkit'"
                " AND pid NOT IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')"
            )

    with sandbox.connect("postgres") as other:
        other.execute("BEGIN")
        rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
        other.execute(rename.format(sql.Identifier(sandbox.name), sql.Identifier(sandbox.prefix + "_x")))
        outcome: list[Any] = []

        def work() -> None:
            try:
                outcome.append(back_up(sandbox.server(), BackupRequest(), LOCK_WAIT, end_the_watcher))
            except SnapkitError as error:
                outcome.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        wait_until(ended.is_set)
        other.execute("ROLLBACK")
        thread.join()
    assert not isinstance(outcome[0], SnapkitError), outcome[0].message
    assert [entry.name for entry in sandbox.entries()] == [outcome[0].backup.name]


def test_a_maintenance_database_in_another_encoding(sandbox: Sandbox) -> None:
    for encoding in ("SQL_ASCII", "LATIN1"):
        other = f"{sandbox.prefix}_{encoding.lower()}"
        sandbox.execute(f"CREATE DATABASE {other} TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'")
        ran = sandbox.run(
            "backup", "--label", "naïve 日本" if encoding == "SQL_ASCII" else "naïve", "--maintenance-db", other
        )
        assert ran.code == 0, ran.err
        assert sandbox.run("list", "--maintenance-db", other).code == 0


def test_a_label_that_is_not_text_is_refused_before_anything_is_touched(sandbox: Sandbox) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "snapkit", "backup", "--json", "--label", b"\xff"],
        env=command_environment(sandbox.url),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["code"] == "usage"
    assert sandbox.databases() == [sandbox.name]


@pytest.mark.promise("exit code 22")
def test_a_second_ctrl_c_while_the_outcome_is_asked_for_says_that_it_is_unknown(sandbox: Sandbox) -> None:
    sandbox.back_up()
    gate = Gate(
        sandbox.cluster.port,
        lambda point: Phase.AFTER if point.label == "COMMIT" else None,
        lambda link, point: Action.CUT,
        stay_down=True,
    )
    try:
        url = f"postgresql://{SUPERUSER}:{PASSWORD.replace('%', '%25')}@127.0.0.1:{gate.port}/{sandbox.name}"
        running = subprocess.Popen(
            [sys.executable, "-m", "snapkit", "rollback", "--latest", "--json"],
            env=command_environment(url),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_until(gate.reached.is_set)
        wait_until(lambda: any(name.startswith(f"{sandbox.name}_old_") for name in sandbox.databases()))
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
    finally:
        gate.close()
    assert running.returncode == 22, out + err
    assert json.loads(out)["error"]["code"] == "unknown_outcome"


def test_a_prune_that_loses_its_connection_does_not_say_that_nothing_was_dropped(sandbox: Sandbox) -> None:
    names = [sandbox.back_up().backup.name for _ in range(3)]
    seen: list[Progress] = []

    def end_our_session(progress: Progress) -> None:
        seen.append(progress)
        if len(seen) == 2:
            sandbox.execute(
                "SELECT pg_terminate_backend(l.pid) FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)"
                " WHERE l.locktype = 'advisory' AND a.application_name = 'snapkit'"
            )

    with pytest.raises(ConnectionFailedError) as caught:
        remove(sandbox.server(), choose_by_name(names, sandbox.name), LOCK_WAIT, observe=end_our_session)
    assert caught.value.state is not None
    assert f"Certainly dropped: {names[0]}." in caught.value.state


def test_the_backups_of_a_former_owner_are_named_and_come_back_on_demand(sandbox: Sandbox) -> None:
    former, new = sandbox.role("former", "LOGIN CREATEDB"), sandbox.role("new", "LOGIN CREATEDB")
    _owned_by(sandbox, former)
    before = sandbox.items()
    backup = sandbox.back_up().backup.name
    _owned_by(sandbox, new)
    with pytest.raises(NotFoundError) as caught:
        sandbox.roll_back()
    assert caught.value.hint is not None
    assert backup in caught.value.hint
    sandbox.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(sandbox.name)))
    with pytest.raises(NotFoundError):
        sandbox.roll_back()
    sandbox.roll_back(backup)
    assert sandbox.items() == before
    assert sandbox.row(sandbox.name)["owner"] == former


def test_the_owner_brings_a_dropped_database_back(sandbox: Sandbox) -> None:
    owner = sandbox.role("owner", "LOGIN CREATEDB")
    _owned_by(sandbox, owner)
    sandbox.back_up()
    sandbox.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(sandbox.name)))
    server = sandbox.server(sandbox.cluster.url(sandbox.name, user=owner))
    swap(server, SwapRequest(), LOCK_WAIT, lambda progress: None)
    assert sandbox.items()


@pytest.mark.parametrize(
    "change",
    [
        lambda server, name: pin_entry(server, name, None, LOCK_WAIT),
        lambda server, name: remove(server, choose_by_name([name], server.source), LOCK_WAIT),
    ],
    ids=["pin", "delete"],
)
def test_who_does_not_own_an_entry_is_told_what_it_takes(sandbox: Sandbox, change: Callable[..., Any]) -> None:
    name = sandbox.back_up().backup.name
    role = sandbox.role('re"ader', "LOGIN")
    with pytest.raises(PrivilegeError) as caught:
        change(sandbox.server(sandbox.cluster.url(sandbox.name, user=role)), name)
    assert caught.value.hint is not None
    quoted = role.replace('"', '""')
    assert "Connect as postgres." in caught.value.hint
    assert "the owner of the database and of each of its backups" in caught.value.hint
    assert f'OWNER TO "{quoted}";' in caught.value.hint
    assert name in sandbox.databases()


def test_an_invalid_live_database_stops_a_rollback_with_the_way_out(sandbox: Sandbox) -> None:
    before = sandbox.items()
    sandbox.back_up()
    sandbox.execute("UPDATE pg_database SET datconnlimit = -2 WHERE datname = %s", sandbox.name)
    with pytest.raises(SnapkitError, match="can only be dropped"):
        sandbox.roll_back()
    sandbox.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(sandbox.name)))
    sandbox.roll_back()
    assert sandbox.items() == before


def test_a_rollback_by_hand_leaves_a_live_database_that_is_no_backup(sandbox: Sandbox) -> None:
    """The comment goes along with a rename; what it says is no longer so, and must not lead to a drop."""
    sandbox.execute(sql.SQL("COMMENT ON DATABASE {} IS 'the shop'").format(sql.Identifier(sandbox.name)))
    backup, newer = sandbox.back_up().backup.name, sandbox.back_up().backup.name
    rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
    broken = f"{sandbox.prefix}_broken"
    sandbox.execute(rename.format(sql.Identifier(sandbox.name), sql.Identifier(broken)))
    sandbox.execute(rename.format(sql.Identifier(backup), sql.Identifier(sandbox.name)))
    sandbox.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(sandbox.name)))
    assert sandbox.run("prune", "--keep", "1").code == 0
    assert sandbox.databases() == [broken, sandbox.name, newer]
    sandbox.back_up()
    sandbox.roll_back()
    assert sandbox.row(sandbox.name)["comment"] == "the shop"
    assert sandbox.items()


def test_a_misspelt_database_is_not_found_rather_than_empty(sandbox: Sandbox) -> None:
    for words in (["list"], ["prune", "--keep", "1"]):
        assert sandbox.run(*words, url=sandbox.cluster.url("nowhere")).code == 10


def test_an_encoding_that_lacks_a_character_makes_no_run_fail(sandbox: Sandbox) -> None:
    for words in (["backup", "--label", "é→x"], ["list", "--sizes"], ["list", "--json"], ["rollback", "--latest"]):
        done = subprocess.run(
            [sys.executable, "-m", "snapkit", *words],
            env=command_environment(sandbox.url, PYTHONIOENCODING="ascii"),
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


def test_a_member_of_the_owner_that_may_not_act_as_it_is_told_how_to_be(sandbox: Sandbox) -> None:
    if sandbox.version < 16:
        pytest.skip("that is granted apart from membership since PostgreSQL 16")
    owner, deployer = sandbox.role("owner", "NOLOGIN"), sandbox.role("deployer", "LOGIN CREATEDB")
    _owned_by(sandbox, owner)
    names = {"owner": sql.Identifier(owner), "deployer": sql.Identifier(deployer)}
    sandbox.execute(sql.SQL("GRANT {owner} TO {deployer} WITH INHERIT TRUE, SET FALSE").format(**names))
    url = sandbox.cluster.url(sandbox.name, user=deployer)
    ran = sandbox.run("backup", "--json", url=url)
    assert ran.code == 13
    remedy = ran.document["error"]["hint"].partition(": ")[2].partition(" (or")[0]
    sandbox.execute(sql.SQL(remedy))  # type: ignore[arg-type]
    assert sandbox.run("backup", url=url).code == 0
    assert sandbox.run("rollback", "--latest", url=url).code == 0


def test_adopting_where_the_source_is_gone_says_what_was_done(sandbox: Sandbox) -> None:
    owner = sandbox.role("owner", "LOGIN CREATEDB")
    name = f"{sandbox.name}_backup_20260110_103045"
    create = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(sandbox.name))
    sandbox.execute(create)
    _owned_by(sandbox, owner, name)
    sandbox.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(sandbox.name)))
    ran = sandbox.run("adopt", name, "--json")
    assert ran.code == 0, ran.out
    assert ran.data["entry"]["state"] == "ready"
    assert sandbox.run("rollback", name).code == 0
    assert sandbox.items()


def _passing_session(sandbox: Sandbox, *, until: Callable[[], bool]) -> threading.Thread:
    """A superuser's session in the source, which ends by itself as soon as the condition comes."""
    session = sandbox.connect(application_name="monitoring")

    def end() -> None:
        try:
            wait_until(until)
        finally:
            session.close()

    thread = threading.Thread(target=end)
    thread.start()
    return thread


@pytest.mark.parametrize("command", ["backup", "rollback"])
def test_a_session_that_nobody_may_end_has_the_time_to_end_by_itself(sandbox: Sandbox, command: str) -> None:
    """PostgreSQL itself gives it five seconds; an owner's run must not fail at the first look."""
    owner = sandbox.role("owner", f"LOGIN CREATEDB PASSWORD '{PASSWORD}'")
    _owned_by(sandbox, owner)
    server = sandbox.server(sandbox.cluster.url(sandbox.name, user=owner))
    if command == "rollback":
        back_up(server, BackupRequest(), LOCK_WAIT, lambda progress: None)
    looked = "SELECT 1 FROM pg_stat_activity WHERE usename = %s AND query LIKE '%%pg_stat_activity%%'"
    session = _passing_session(sandbox, until=lambda: bool(sandbox.execute(looked, owner)))
    if command == "rollback":
        swap(server, SwapRequest(), LOCK_WAIT, lambda progress: None)
    else:
        back_up(server, BackupRequest(), LOCK_WAIT, lambda progress: None)
    session.join()
    assert len(sandbox.entries()) == 1


def test_a_session_that_stays_is_named(sandbox: Sandbox) -> None:
    owner = sandbox.role("owner", f"LOGIN CREATEDB PASSWORD '{PASSWORD}'")
    _owned_by(sandbox, owner)
    with sandbox.connect(application_name="monitoring") as session:
        named = f"pid {session.info.backend_pid}, user {SUPERUSER}, monitoring"
        with pytest.raises(PrivilegeError, match=named):
            back_up(sandbox.server(sandbox.cluster.url(sandbox.name, user=owner)), BackupRequest(), LOCK_WAIT, print)


WAITS = "SELECT 1 FROM pg_locks WHERE NOT granted AND locktype <> 'virtualxid'"


def _commit_once_somebody_waits(sandbox: Sandbox, other: psycopg.Connection[Any]) -> threading.Thread:
    """Let whoever waits for a transaction find out for whom, and commit that."""

    def commit() -> None:
        wait_until(lambda: bool(sandbox.execute(WAITS)))
        threading.Event().wait(1.5)  # so that who is in the way has been looked at
        other.execute("COMMIT")

    thread = threading.Thread(target=commit)
    thread.start()
    return thread


@pytest.mark.parametrize("command", ["rollback", "pin", "shell"])
def test_who_grants_meanwhile_is_named_and_nothing_is_changed(sandbox: Sandbox, command: str) -> None:
    """PostgreSQL refuses the row that was changed meanwhile with XX000, and names nobody."""
    backup = sandbox.back_up().backup.name
    names = sandbox.databases()
    database = sql.Identifier(sandbox.name if command == "rollback" else backup)
    guest = sql.Identifier(sandbox.role("guest"))
    words = ["rollback", "--latest"] if command == "rollback" else [command, backup, "--json"]
    if command == "shell":
        words += ["--", "true"]
    with sandbox.connect("postgres", application_name="deploy") as other:
        other.execute("BEGIN")
        other.execute(sql.SQL("GRANT TEMPORARY ON DATABASE {} TO {}").format(database, guest))
        thread = _commit_once_somebody_waits(sandbox, other)
        done = sandbox.run(*words)
        thread.join()
        assert done.code == 11, done
        assert f"pid {other.info.backend_pid}, user {SUPERUSER}, deploy" in done.out + done.err
    assert sandbox.databases() == names
    assert sandbox.run("rollback", "--latest").code == 0


def test_who_has_an_entry_locked_is_named(sandbox: Sandbox) -> None:
    backup = sandbox.back_up().backup.name
    with sandbox.connect("postgres", application_name="deploy") as other:
        other.execute("BEGIN")
        other.execute(sql.SQL("GRANT TEMPORARY ON DATABASE {} TO PUBLIC").format(sql.Identifier(backup)))
        done = sandbox.run("label", backup, "x")
        assert done.code == 11, done
        assert f"pid {other.info.backend_pid}, user {SUPERUSER}, deploy" in done.err
