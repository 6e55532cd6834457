"""Poolers and standbys are a comfort: a guard's way back is taken without those that fail, and the run says so."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.cluster import Cluster
from tests.pgbouncer import PgBouncer
from tests.sandbox import Ran, Sandbox, run_snapkit, wait_until
from tests.server.conftest import MakeBouncer

pytestmark = pytest.mark.any_version

RUIN = "import os, sys, psycopg\npsycopg.connect({url!r}, autocommit=True).execute('DELETE FROM item WHERE id > 10')\n"


@pytest.fixture
def bouncer(sandbox: Sandbox, make_bouncer: MakeBouncer) -> PgBouncer:
    return make_bouncer(databases={sandbox.name: ""})


def _guard(sandbox: Sandbox, code: str, *flags: str, url: str | None = None, **how: Any) -> Ran:
    """Guard a migration that deletes rows, then runs ``code``, and fails."""
    words = ("--", sys.executable, "-c", RUIN.format(url=sandbox.url) + code + "\nsys.exit(3)")
    return run_snapkit("guard", "--json", *flags, *words, url=url or sandbox.url, **how)


def _came_back(sandbox: Sandbox, ran: Ran, *codes: str) -> list[str]:
    """The database is as it was; return what was warned of, by these codes."""
    assert ran.code == 20, ran.out + ran.err
    assert ran.document["data"]["rollback"] is not None
    assert len(sandbox.items()) == 100
    warnings = ran.document["warnings"]
    assert [warning["code"] for warning in warnings] == list(codes)
    return [warning["message"] for warning in warnings]


# --- PgBouncer --------------------------------------------------------------------------------------------------------


@pytest.mark.promise("a way back goes without a PgBouncer that has died")
def test_a_pgbouncer_that_dies_while_the_command_runs(
    sandbox: Sandbox, bouncer: PgBouncer, make_bouncer: MakeBouncer
) -> None:
    other = make_bouncer(databases={"main": f"dbname={sandbox.name}"})
    flags = [word for each in (bouncer, other) for word in ("--pgbouncer-url", each.console_url())]
    ran = _guard(sandbox, f"os.kill({bouncer.pid}, 9)", *flags)
    (said,) = _came_back(sandbox, ran, "pooler_left_out")
    assert f"127.0.0.1:{bouncer.port} was left out" in said
    assert "disconnected, not held" in said
    assert [pooler["port"] for pooler in ran.document["data"]["rollback"]["poolers"]] == [other.port]
    assert other.paused() == set()


def test_one_that_is_restarted_is_waited_for(sandbox: Sandbox, bouncer: PgBouncer) -> None:
    first = bouncer.pid

    def restart() -> None:
        bouncer.wait()
        bouncer.start()

    restarting = threading.Thread(target=restart)
    restarting.start()
    ran = _guard(sandbox, f"os.kill({first}, 9)", "--pgbouncer-url", bouncer.console_url())
    restarting.join()
    _came_back(sandbox, ran)
    assert [pooler["port"] for pooler in ran.document["data"]["rollback"]["poolers"]] == [bouncer.port]


def test_what_an_administrator_pauses_meanwhile_stays_paused(sandbox: Sandbox, bouncer: PgBouncer) -> None:
    pause = (
        f"psycopg.connect({bouncer.console_url()!r}, autocommit=True, prepare_threshold=None)"
        f".execute('PAUSE {sandbox.name}')"
    )
    ran = _guard(sandbox, pause, "--pgbouncer-url", bouncer.console_url())
    (said,) = _came_back(sandbox, ran, "pooler_left_out")
    assert "paused already" in said
    assert bouncer.paused() == {sandbox.name}


def test_a_rollback_that_a_dead_pgbouncer_stops_says_how_to_do_without(
    sandbox: Sandbox, bouncer: PgBouncer, tmp_path: Path
) -> None:
    (tmp_path / "snapkit.toml").write_text(f"pgbouncer-url = '{bouncer.console_url()}'\n")

    def run(command: str, *words: str, **environment: str) -> Ran:
        return run_snapkit(command, "--json", *words, url=sandbox.url, cwd=tmp_path, **environment)

    assert len(run("backup").data["poolers"]) == 1
    bouncer.stop()
    for words in (["rollback", "--latest"], ["backup"], ["undo"], ["guard", "--", "true"]):
        ran = run(*words)
        assert ran.code == 12, ran.out
        assert "--no-pgbouncer" in ran.document["error"]["hint"]
    assert run("backup", "--no-pgbouncer").data["poolers"] == []
    assert run("rollback", "--latest", "--no-pgbouncer").data["poolers"] == []
    assert run("undo", "--no-pgbouncer").data["poolers"] == []
    assert run("guard", "--no-pgbouncer", "--", "true").code == 0
    assert run("recover", "--no-pgbouncer").code == 0
    assert run("rollback", "--latest", SNAPKIT_PGBOUNCER_URL="").data["poolers"] == []
    (tmp_path / ".env").write_text("SNAPKIT_PGBOUNCER_URL=\n")
    assert run("undo").data["poolers"] == []
    both = run("undo", "--no-pgbouncer", "--pgbouncer-url", bouncer.console_url())
    assert both.code == 2
    assert "Give either" in both.document["error"]["message"]


# --- standbys ---------------------------------------------------------------------------------------------------------


def test_a_standby_that_is_stopped_while_the_command_runs(sandbox: Sandbox, standby: Cluster) -> None:
    postmaster = (standby.data / "postmaster.pid").read_text().split()[0]
    try:
        ran = _guard(sandbox, f"os.kill({postmaster}, 3)", "--replica-url", standby.url(sandbox.name))
    finally:
        wait_until(lambda: not (standby.data / "postmaster.pid").exists())
        standby.launch()
    left_out = [warning for warning in ran.document["warnings"] if warning["code"] == "replica_left_out"]
    assert len(left_out) == 1
    assert "go on reading the displaced database" in left_out[0]["message"]
    assert ran.code == 20
    assert ran.document["data"]["rollback"]["replicas"] == []
    assert len(sandbox.items()) == 100


def test_a_session_on_a_standby_that_may_not_be_ended(sandbox: Sandbox, standby: Cluster, tmp_path: Path) -> None:
    owner = sandbox.role("owner", "LOGIN CREATEDB")
    sandbox.execute(
        sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(sandbox.name), sql.Identifier(owner))
    )
    position = sandbox.execute("SELECT pg_current_wal_insert_lsn()::text")[0][0]
    with psycopg.connect(standby.url("postgres"), autocommit=True) as there:
        wait_until(
            lambda: there.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", (position,)).fetchone() == (True,)
        )
    program = tmp_path / "reader.py"
    program.write_text(
        "import psycopg, time\n"
        f"c = psycopg.connect({standby.url(sandbox.name)!r})\nprint(1, flush=True)\n"
        "while c.execute('SELECT 1'):\n    time.sleep(0.2)\n"
    )
    reader = (
        f"import subprocess\nsubprocess.Popen([sys.executable, {str(program)!r}], stdout=subprocess.PIPE, "
        "start_new_session=True).stdout.readline()"
    )
    try:
        ran = _guard(
            sandbox,
            reader,
            "--replica-url",
            standby.url(sandbox.name, user=owner),
            url=sandbox.cluster.url(sandbox.name, user=owner),
        )
        (said,) = _came_back(sandbox, ran, "replica_left_out")
        assert "may not disconnect" in said
    finally:
        with psycopg.connect(standby.url("postgres"), autocommit=True) as there:
            there.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname LIKE %s", (sandbox.prefix + "%",)
            )
