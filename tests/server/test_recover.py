"""What interrupted runs leave, and what only looks like it: recover, and what the next run does in passing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import psycopg
import pytest
from psycopg import sql

from snapkit.core.inventory.database import PARTIAL_CONNECTION_LIMIT
from snapkit.core.reporting import unobserved
from snapkit.postgres.sql import locks
from snapkit.postgres.sql.locks import lock_key
from snapkit.services.recover import Recovery, recover
from tests.sandbox import LOCK_WAIT, Connection, Sandbox, command_environment, wait_until

STAMP = "20260110_103045"


def _recover(box: Sandbox, *, all_sources: bool = False, wait: timedelta = LOCK_WAIT) -> Recovery:
    return recover(box.server(), wait, unobserved, all_sources=all_sources)


def _leave_clone(box: Sandbox, source: str | None = None) -> str:
    """Leave what a backup leaves that was killed before its last transaction."""
    name = f"{source or box.name}_partial_{STAMP}"
    create = sql.SQL("CREATE DATABASE {} ALLOW_CONNECTIONS false CONNECTION LIMIT {}")
    box.execute(create.format(sql.Identifier(name), sql.Literal(PARTIAL_CONNECTION_LIMIT)))
    return name


def _leave_invalid(box: Sandbox) -> str:
    name = box.back_up().backup.name
    box.execute("UPDATE pg_database SET datconnlimit = -2 WHERE datname = %s", name)
    return name


@contextmanager
def _run_at_work(box: Sandbox, database: str = "postgres") -> Iterator[Connection]:
    """A session that has the source's lock, as a run has."""
    with box.connect(database, application_name="snapkit") as other:
        other.execute("SELECT pg_advisory_lock(%s)", (lock_key(box.name),))
        yield other


@pytest.mark.command("recover")
def test_remains_are_dropped_and_nothing_else_and_a_second_time_there_is_nothing(sandbox: Sandbox) -> None:
    good = sandbox.back_up().backup.name
    invalid, clone = _leave_invalid(sandbox), _leave_clone(sandbox)
    strangers = [f"{sandbox.name}_partial_20260110_103046", f"{sandbox.name}_backup_{STAMP}"]
    for name in strangers:
        sandbox.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    data = sandbox.run("recover", "--json").data
    assert {entry["name"] for entry in data["removed"]} == {invalid, clone}
    assert (data["failed"], data["sessions_ended"]) == ([], 0)
    assert set(sandbox.databases()) == {sandbox.name, good, *strangers}
    again = sandbox.run("recover")
    assert (again.code, again.out.splitlines()[0]) == (0, "There are no leftovers of interrupted runs.")


def test_a_sweep_in_passing_does_not_delay_a_run_by_each_that_somebody_is_in(sandbox: Sandbox) -> None:
    """PostgreSQL waits five seconds for whoever is inside; and anybody who may create databases can leave such ones."""
    names = [f"{sandbox.name}_partial_2026011{number}_000000" for number in range(4)]
    inside = []
    for name in names:
        sandbox.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        inside.append(sandbox.connect(name))
        seal = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false CONNECTION LIMIT {}")
        sandbox.execute(seal.format(sql.Identifier(name), sql.Literal(PARTIAL_CONNECTION_LIMIT)))
    told = [each.message for each in sandbox.back_up().cautions if each.code == "not_swept"]
    for session in inside:
        session.close()
    assert len(told) == 2
    assert "being accessed by other users" in told[0]
    assert told[1].startswith("3 more leftovers of interrupted runs were not dropped")
    assert len(_recover(sandbox).removed) == 4


def test_a_pinned_backup_whose_drop_was_interrupted_is_of_no_use_to_anybody(sandbox: Sandbox) -> None:
    name = sandbox.back_up(pinned=True).backup.name
    sandbox.execute("UPDATE pg_database SET datconnlimit = -2 WHERE datname = %s", name)
    assert [entry.name for entry in _recover(sandbox).removed] == [name]


def test_the_clone_of_a_run_that_is_at_work_is_left_alone(sandbox: Sandbox) -> None:
    clone = _leave_clone(sandbox)
    with _run_at_work(sandbox):
        recovery = _recover(sandbox, wait=timedelta(0))
        assert [caution.code for caution in recovery.cautions] == ["at_work"]
        assert clone in sandbox.databases()
    assert [entry.name for entry in _recover(sandbox).removed] == [clone]


def test_so_is_that_of_a_run_that_works_from_another_maintenance_database(sandbox: Sandbox) -> None:
    """Advisory locks belong to one database, but all of them can be seen."""
    clone = _leave_clone(sandbox)
    with _run_at_work(sandbox, "template1"):
        assert [caution.code for caution in _recover(sandbox).cautions] == ["at_work"]
        assert sandbox.back_up().cautions == ()
        assert clone in sandbox.databases()
    assert [caution.code for caution in sandbox.back_up().cautions] == ["swept"]
    assert clone not in sandbox.databases()


def test_a_session_of_ours_that_was_forgotten_is_ended(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "FORGOTTEN", timedelta(milliseconds=1))
    with _run_at_work(sandbox) as forgotten:
        recovery = _recover(sandbox)
        assert [session.pid for session in recovery.ended] == [forgotten.info.backend_pid]
        with pytest.raises(psycopg.OperationalError):
            forgotten.execute("SELECT 1")


def test_a_session_of_ours_that_is_at_work_is_not(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "FORGOTTEN", timedelta(milliseconds=1))
    with _run_at_work(sandbox) as busy:
        pid = busy.info.backend_pid
        busy.execute("SELECT 1")
        with psycopg.connect(sandbox.cluster.url("postgres")) as gate:
            gate.execute("SELECT pg_advisory_xact_lock(42)")
            busy.pgconn.send_query(b"SELECT pg_advisory_lock(42)")  # at work for as long as we like
            active = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND state = 'active'"
            wait_until(lambda: sandbox.execute(active, pid) == [(1,)])
            assert [caution.code for caution in _recover(sandbox, wait=timedelta(0)).cautions] == ["at_work"]
            assert sandbox.execute(active, pid) == [(1,)]
        busy.close()


def test_all_means_every_source_one_that_is_gone_too(sandbox: Sandbox) -> None:
    other = f"{sandbox.prefix}_other"
    sandbox.execute(f"CREATE DATABASE {other}")
    clones = {_leave_clone(sandbox), _leave_clone(sandbox, other), _leave_clone(sandbox, f"{sandbox.prefix}_gone")}
    assert len(_recover(sandbox).removed) == 1
    assert {entry.name for entry in _recover(sandbox, all_sources=True).removed} == clones - {
        f"{sandbox.name}_partial_{STAMP}"
    }
    assert set(sandbox.databases()) == {sandbox.name, other}


def test_whatever_changes_something_sweeps_in_passing(sandbox: Sandbox) -> None:
    names = [sandbox.back_up().backup.name for _ in range(3)]
    for words in (
        ["pin", names[0]],
        ["label", names[0], "kept"],
        ["prune", "--keep", "1"],
        ["rollback", "--latest", "--keep-backup"],
        ["undo"],
        ["delete", names[2]],
    ):
        clone = _leave_clone(sandbox)
        ran = sandbox.run(*words, "--json")
        assert "swept" in [warning["code"] for warning in ran.document["warnings"]], (words, ran.out)
        assert clone not in sandbox.databases()


def test_what_cannot_be_dropped_is_reported(sandbox: Sandbox) -> None:
    owner = sandbox.role("owner", "LOGIN CREATEDB")
    clone = _leave_clone(sandbox)
    url = sandbox.cluster.url(sandbox.name, user=owner)
    sandbox.execute(
        sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(sandbox.name), sql.Identifier(owner))
    )
    ran = sandbox.run("recover", "--json", url=url)
    assert ran.code == 13, ran.out  # the clone is the superuser's
    made = sandbox.run("backup", "--json", url=url).document
    assert [warning["code"] for warning in made["warnings"]] == ["not_swept"]
    assert clone in sandbox.databases()


def test_files_that_a_crash_has_left_are_named_and_left(sandbox: Sandbox) -> None:
    orphan = sandbox.cluster.data / "base" / "4000000000"
    database = sandbox.cluster.data / "base" / str(sandbox.row(sandbox.name)["oid"])
    shutil.copytree(
        database, orphan, ignore=shutil.ignore_patterns("pg_internal.init*")
    )  # a cache, which comes and goes
    for path in (orphan, *orphan.iterdir()):
        if sandbox.cluster.user is not None:
            shutil.chown(path, sandbox.cluster.user)
    try:
        (caution,) = _recover(sandbox).cautions
        assert caution.code == "orphaned_files"
        assert "base/4000000000 " in caution.message
        assert orphan.exists()
        owner = sandbox.role("owner")
        url = sandbox.cluster.url(sandbox.name, user=owner)
        assert recover(sandbox.server(url), LOCK_WAIT, unobserved).cautions == ()
        with sandbox.connect("postgres") as other, other.transaction():
            other.execute("LOCK TABLE pg_database IN ROW EXCLUSIVE MODE")  # as CREATE DATABASE does
            assert _recover(sandbox).cautions == ()
    finally:
        shutil.rmtree(orphan)


def test_who_waits_says_for_whom(sandbox: Sandbox) -> None:
    import subprocess
    import sys

    with sandbox.connect("postgres", application_name="the other run") as other:
        other.execute("SELECT pg_advisory_lock(%s)", (lock_key(sandbox.name),))
        running = subprocess.Popen(
            [sys.executable, "-m", "snapkit", "backup", "--lock-wait", "60s"],
            env=command_environment(sandbox.url),
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert running.stderr is not None
        said = running.stderr.readline()
        assert f"Waiting for another run of snapkit on {sandbox.name} (pid {other.info.backend_pid}, " in said
        assert "the other run, from the server's own machine, since " in said
        other.execute("SELECT pg_advisory_unlock_all()")
        out, err = running.communicate(timeout=60)
    assert running.returncode == 0, err
    assert "Backup completed" in out


def test_our_sessions_cannot_be_forgotten_for_long(sandbox: Sandbox) -> None:
    """The server itself ends them, and gives up the clone of a client that has died."""
    with sandbox.server().connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        found = dict(
            driver.execute(
                "SELECT name, setting FROM pg_settings WHERE name IN ('idle_session_timeout',"
                " 'idle_in_transaction_session_timeout', 'client_connection_check_interval')"
            ).fetchall()
        )
    assert found == {
        "idle_session_timeout": "60000",
        "idle_in_transaction_session_timeout": "10000",
        "client_connection_check_interval": "1000",
    }
