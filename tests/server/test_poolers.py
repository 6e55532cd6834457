"""Behind PgBouncer no query fails, and no pool stays paused, whoever dies."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from snapkit.core.outage.hold_rules import HoldRules
from snapkit.core.reporting import unobserved
from snapkit.errors import SnapkitError
from snapkit.postgres.outage import watchdog
from snapkit.postgres.outage.pgbouncer_console import Console
from snapkit.postgres.outage.watchdog import Post, Watchdog, WatchdogError
from snapkit.services.outage.pool_checks import look_at_poolers, poolers_of, tell_paused
from snapkit.services.outage.pools import paused
from tests.cluster import PASSWORD as SERVER_PASSWORD
from tests.cluster import free_port
from tests.pgbouncer import ADMIN, LOOKER, PASSWORD, Clients, PgBouncer
from tests.sandbox import Ran, Sandbox, command_environment, run_snapkit, wait_until
from tests.server.conftest import MakeBouncer

pytestmark = pytest.mark.any_version


@pytest.fixture
def bouncer(sandbox: Sandbox, make_bouncer: MakeBouncer) -> PgBouncer:
    return make_bouncer(databases={sandbox.name: ""})


@contextmanager
def _clients(bouncer: PgBouncer, name: str, number: int = 8, **how: Any) -> Iterator[Clients]:
    clients = Clients(bouncer.url(name), number, **how)
    try:
        clients.go_on()
        yield clients
    finally:
        clients.stop()


def _flags(*bouncers: PgBouncer) -> list[str]:
    return [word for bouncer in bouncers for word in ("--pgbouncer-url", bouncer.console_url())]


# --- no query fails ---------------------------------------------------------------------------------------------------


def test_no_query_fails_while_everything_is_done_twice(sandbox: Sandbox, bouncer: PgBouncer) -> None:
    receipt = {"host": "127.0.0.1", "port": bouncer.port, "databases": [sandbox.name]}
    with _clients(bouncer, sandbox.name, 12, reconnect=True) as clients:
        for _ in range(2):
            for words in (["backup"], ["rollback", "--latest", "--keep-backup"], ["undo"], ["rollback", "--latest"]):
                ran = sandbox.run(*words, "--json", *_flags(bouncer))
                assert ran.data["poolers"] == [receipt], ran.err
                assert ran.document["warnings"] == []
                assert ran.data["outage_ms"] > 0
                assert bouncer.paused() == set()
                clients.go_on()
    assert clients.failures == []
    assert clients.longest < 10


def test_the_text_names_the_pooler_and_hides_the_password(sandbox: Sandbox, bouncer: PgBouncer) -> None:
    where = f"127.0.0.1:{bouncer.port}"
    made = sandbox.run("backup", "--verbose", *_flags(bouncer))
    assert re.search(rf"PgBouncer +{where} \(paused {sandbox.name}\)", made.out), made.out
    assert f"--pgbouncer-url postgresql://{ADMIN}:...@{where}/pgbouncer" in made.out
    back = sandbox.run("rollback", "--latest", "--verbose", *_flags(bouncer))
    assert f"{where} (paused {sandbox.name})" in back.out
    for said in (made.out, made.err, back.out, back.err):
        assert PASSWORD not in said
        assert "p%40ss" not in said


def test_it_is_read_from_the_settings_too(sandbox: Sandbox, make_bouncer: MakeBouncer, tmp_path: Path) -> None:
    one, another = make_bouncer(), make_bouncer()
    (tmp_path / "snapkit.toml").write_text(f"pgbouncer-url = ['{one.console_url()}', '{another.console_url()}']\n")
    ports = [each["port"] for each in run_snapkit("backup", "--json", url=sandbox.url, cwd=tmp_path).data["poolers"]]
    assert ports == [one.port, another.port]
    variable = {"SNAPKIT_PGBOUNCER_URL": another.console_url()}
    (pooler,) = run_snapkit("backup", "--json", url=sandbox.url, cwd=tmp_path, **variable).data["poolers"]
    assert pooler["port"] == another.port


@pytest.mark.promise("behind PgBouncer no query fails")
def test_several_at_once(sandbox: Sandbox, make_bouncer: MakeBouncer) -> None:
    one, another = make_bouncer(), make_bouncer(databases={"main": f"dbname={sandbox.name}"})
    with _clients(one, sandbox.name, 4) as these, _clients(another, "main", 4) as those:
        for words in (["backup"], ["rollback", "--latest"], ["undo"]):
            ran = sandbox.run(*words, "--json", *_flags(one, another))
            assert [each["databases"] for each in ran.data["poolers"]] == [[sandbox.name], ["main"]], ran.err
            these.go_on()
            those.go_on()
    assert these.failures == those.failures == []


def test_a_database_is_found_behind_its_aliases_and_others_go_on(sandbox: Sandbox, make_bouncer: MakeBouncer) -> None:
    named = f"dbname={sandbox.name}"
    bouncer = make_bouncer(databases={"Main": named, "reports": named, "other": "dbname=postgres"})
    with _clients(bouncer, "Main", 4) as main, _clients(bouncer, "reports", 2) as reports:
        sandbox.run("backup", *_flags(bouncer))
        ran = sandbox.run("rollback", "--latest", "--json", *_flags(bouncer))
        assert ran.data["poolers"][0]["databases"] == ["Main", "reports"], ran.err
        main.go_on()
    assert main.failures == reports.failures == []


def test_one_server_under_two_names_is_paused_under_both(sandbox: Sandbox, make_bouncer: MakeBouncer) -> None:
    """The URL names one of them; the other's connections show where it leads."""
    named = f"dbname={sandbox.name}"
    bouncer = make_bouncer(
        databases={"one": named, "two": f"{named} host=127.0.0.1 password={SERVER_PASSWORD}", "far": f"{named} port=1"}
    )
    with _clients(bouncer, "one", 3) as these, _clients(bouncer, "two", 3) as those:
        for words in (["backup"], ["rollback", "--latest"]):
            ran = sandbox.run(*words, "--json", *_flags(bouncer))
            assert ran.data["poolers"][0]["databases"] == ["one", "two"], ran.err
            these.go_on()
            those.go_on()
    assert these.failures == those.failures == []


def test_what_stays_paused_is_told_where_the_settings_name_the_console(
    sandbox: Sandbox, bouncer: PgBouncer, tmp_path: Path
) -> None:
    (tmp_path / "snapkit.toml").write_text(f"pgbouncer-url = '{bouncer.console_url()}'\n")

    def run(*words: str) -> Ran:
        return run_snapkit(*words, "--json", url=sandbox.url, cwd=tmp_path)

    def check() -> dict[str, Any]:
        (found,) = (each for each in run("doctor").document["data"]["checks"] if each["name"] == "poolers")
        assert isinstance(found, dict)
        return found

    assert run("status").document["warnings"] == []
    assert (check()["status"], sandbox.name in check()["message"]) == ("ok", True)
    bouncer.ask(f"PAUSE {sandbox.name}")
    (warning,) = run("status").document["warnings"]
    assert warning["code"] == "pool_paused"
    assert f"RESUME {sandbox.name};" in warning["message"]
    assert PASSWORD not in warning["message"]
    assert (check()["status"], "paused already" in check()["message"]) == ("problem", True)
    assert bouncer.paused() == {sandbox.name}
    assert run("recover").data["poolers_resumed"][0]["databases"] == [sandbox.name]
    assert run("status").document["warnings"] == []
    bouncer.stop()
    (warning,) = run("status").document["warnings"]
    assert warning["code"] == "pooler_unreachable"
    assert (check()["status"], "--no-pgbouncer" in check()["hint"]) == ("problem", True)


def test_what_a_run_at_work_has_paused_is_not_told_as_left_so(sandbox: Sandbox, bouncer: PgBouncer) -> None:
    poolers = poolers_of([bouncer.console_url()])
    with sandbox.server().connect() as connection:
        held = _Held(sandbox, bouncer)
        assert tell_paused(connection, poolers, sandbox.name) == ()
        assert [look.at_work for look in look_at_poolers(connection, poolers, sandbox.name)] == [True]
        held.release()
        held.end(0)
        assert [look.at_work for look in look_at_poolers(connection, poolers, sandbox.name)] == [False]


def test_names_with_quotes_and_capitals(sandbox: Sandbox, make_bouncer: MakeBouncer) -> None:
    sandbox.name = f"{sandbox.prefix}_We\"ird 'App%"
    sandbox.create()
    bouncer = make_bouncer()
    with _clients(bouncer, sandbox.name, 4) as clients:
        for words in (["backup"], ["rollback", "--latest"], ["undo"]):
            ran = sandbox.run(*words, "--json", *_flags(bouncer))
            assert ran.data["poolers"][0]["databases"] == [sandbox.name], ran.err
            assert bouncer.paused() == set()
            clients.go_on()
    assert clients.failures == []


def test_a_pool_by_session_is_emptied_by_the_door_and_resumed(sandbox: Sandbox, make_bouncer: MakeBouncer) -> None:
    bouncer = make_bouncer(pool_mode="session")
    sandbox.run("backup", *_flags(bouncer))
    with psycopg.connect(bouncer.url(sandbox.name), autocommit=True) as client:
        client.execute("SELECT 1")
        ran = sandbox.run("rollback", "--latest", "--json", *_flags(bouncer))
        assert ran.data["sessions_disconnected"] == 1, ran.err
        assert [warning["code"] for warning in ran.document["warnings"]] == ["pool_not_empty"]
        assert bouncer.paused() == set()
    with psycopg.connect(bouncer.url(sandbox.name), autocommit=True) as client:
        client.execute("SELECT 1")


def test_a_transaction_may_finish_within_the_grace_and_not_for_ever(sandbox: Sandbox, bouncer: PgBouncer) -> None:
    poolers = poolers_of([bouncer.console_url()])
    with sandbox.server().connect() as connection, psycopg.connect(bouncer.url(sandbox.name)) as client:
        client.execute("INSERT INTO item VALUES (1000)")

        def finish_when_paused() -> None:
            wait_until(lambda: bouncer.paused() == {sandbox.name})
            client.commit()

        finish = threading.Thread(target=finish_when_paused)
        finish.start()
        with paused(poolers, connection, sandbox.name, unobserved, HoldRules(grace=timedelta(seconds=30))) as pause:
            finish.join()
            wait_until(
                lambda: sandbox.sessions(sandbox.name) == 0
            )  # PgBouncer has hung up, and a backend takes a moment
            assert bouncer.paused() == {sandbox.name}
        assert pause.cautions == ()
        assert timedelta(0) < pause.outage(timedelta(0)) < timedelta(seconds=20)
        client.execute("SELECT 1")
        with paused(poolers, connection, sandbox.name, unobserved, HoldRules(grace=timedelta(seconds=0.2))) as pause:
            assert sandbox.sessions(sandbox.name) == 1
            assert bouncer.paused() == {sandbox.name}
        assert [caution.code for caution in pause.cautions] == ["pool_not_empty"]
        assert bouncer.paused() == set()
        client.execute("SELECT 1")


def test_what_is_prepared_while_the_pool_is_paused_counts_as_well(sandbox: Sandbox, bouncer: PgBouncer) -> None:
    """Somebody holds a lock that the rollback needs before it closes the door, while clients wait already."""
    backup = sandbox.back_up().backup.name
    before = sandbox.databases()
    with psycopg.connect(sandbox.cluster.url("postgres")) as other:
        other.execute(sql.SQL("COMMENT ON DATABASE {} IS 'mine'").format(sql.Identifier(backup)))
        ran = sandbox.run("rollback", "--latest", "--max-outage", "1500ms", "--json", *_flags(bouncer))
        other.rollback()
    assert ran.code == 15, ran.out
    error = ran.document["error"]["message"]
    held, allowed = re.findall(r"(\d\.\d) s", error)
    assert (float(held) >= 1.5, allowed) == (True, "1.5"), error
    assert sandbox.databases() == before
    assert bouncer.paused() == set()


def test_nobody_need_be_disconnected_where_the_pool_empties_itself(sandbox: Sandbox, bouncer: PgBouncer) -> None:
    with _clients(bouncer, sandbox.name, 4) as clients:
        assert sandbox.run("backup", "--no-disconnect").code == 11
        ran = sandbox.run("backup", "--no-disconnect", "--json", *_flags(bouncer))
        assert ran.data["sessions_disconnected"] == 0, ran.err
        ran = sandbox.run("rollback", "--latest", "--no-disconnect", "--json", *_flags(bouncer))
        assert ran.data["sessions_disconnected"] == 0, ran.err
        clients.go_on()
        with sandbox.connect():
            refused = sandbox.run("backup", "--no-disconnect", "--json", *_flags(bouncer))
            assert refused.code == 11, refused.out
        clients.go_on()
    assert clients.failures == []


def test_the_dry_run_tells_of_the_pause_and_pauses_nothing(sandbox: Sandbox, bouncer: PgBouncer) -> None:
    pause, resume = [f"PAUSE {sandbox.name}"], [f"RESUME {sandbox.name}"]
    plan = sandbox.run("backup", "--dry-run", "--json", *_flags(bouncer)).data["plan"]
    assert [plan[1]["sql"], plan[3]["sql"]] == [pause, resume]  # after the checkpoint
    assert "CREATE DATABASE" in plan[2]["sql"][-1]
    sandbox.back_up()
    dry = ("rollback", "--latest", "--keep-backup", "--dry-run")
    plan = sandbox.run(*dry, "--json", *_flags(bouncer)).data["plan"]
    assert "CREATE DATABASE" in plan[0]["sql"][-1]
    assert [plan[1]["sql"], plan[3]["sql"]] == [pause, resume]
    assert f"127.0.0.1:{bouncer.port} (will pause {sandbox.name})" in sandbox.run(*dry, *_flags(bouncer)).out


# --- kindly refused, before anything is touched -----------------------------------------------------------------------


def _refused(sandbox: Sandbox, url: str, code: int, *words: str) -> str:
    ran = sandbox.run("backup", "--json", "--pgbouncer-url", url)
    assert ran.code == code, ran.out
    error = ran.document["error"]
    said = f"{error['message']} {error['hint']}"
    for word in ("Nothing was changed.", *words):
        assert word in said, said
    assert PASSWORD not in said
    assert sandbox.databases() == [sandbox.name]
    return said


def test_one_who_may_only_look_is_refused(sandbox: Sandbox, bouncer: PgBouncer, make_bouncer: MakeBouncer) -> None:
    for each in (bouncer, make_bouncer()):
        _refused(sandbox, each.console_url(LOOKER), 13, "admin access needed", "admin_users", LOOKER)


def test_a_wrong_user_and_a_wrong_password_are_refused(sandbox: Sandbox, bouncer: PgBouncer) -> None:
    _refused(sandbox, bouncer.console_url("postgres"), 12, "not allowed", "admin_users")
    _refused(sandbox, bouncer.console_url(password="wrong-one"), 12, "password")


def test_one_that_cannot_be_reached_is_refused(sandbox: Sandbox) -> None:
    _refused(sandbox, f"postgresql://a:b@127.0.0.1:{free_port()}", 12, "refused", "leave out its --pgbouncer-url")


def test_what_is_no_console_is_refused(sandbox: Sandbox, bouncer: PgBouncer) -> None:
    _refused(sandbox, bouncer.url(sandbox.name), 2, "not PgBouncer's admin console", "/pgbouncer")
    _refused(sandbox, sandbox.url, 2, "not PgBouncer's admin console")


def test_one_that_does_not_lead_to_the_database_is_refused(sandbox: Sandbox, make_bouncer: MakeBouncer) -> None:
    bouncer = make_bouncer(databases={sandbox.name: "dbname=postgres"})
    _refused(sandbox, bouncer.console_url(), 2, "has no database that leads to", "SHOW DATABASES")


@pytest.mark.parametrize(("verb", "what", "remedy"), [("PAUSE", "paused", "RESUME"), ("DISABLE", "disabled", "ENABLE")])
def test_what_an_administrator_has_done_stays_done(
    sandbox: Sandbox, bouncer: PgBouncer, verb: str, what: str, remedy: str
) -> None:
    bouncer.ask(f"{verb} {sandbox.name}")
    _refused(sandbox, bouncer.console_url(), 11, f"is {what} already", f"{remedy} {sandbox.name};")
    assert [row[what] for row in bouncer.ask("SHOW DATABASES") if row["name"] == sandbox.name] == [1]


def test_a_name_too_long_for_the_console_is_refused(sandbox: Sandbox, make_bouncer: MakeBouncer) -> None:
    bouncer = make_bouncer(databases={f"{'a-' * 31}": f"dbname={sandbox.name}"})
    _refused(sandbox, bouncer.console_url(), 2, "too long", "alias")


def test_several_processes_behind_one_address_are_refused(sandbox: Sandbox, make_bouncer: MakeBouncer) -> None:
    one = make_bouncer(more="so_reuseport = 1")
    make_bouncer(more="so_reuseport = 1", port=one.port)
    codes = set()
    for _ in range(6):  # which of them is reached is chance
        ran = sandbox.run("backup", "--json", *_flags(one))
        codes.add(ran.code)
        if ran.code == 2:
            assert "Several PgBouncers answer" in ran.document["error"]["message"]
    assert codes <= {0, 2}
    assert 2 in codes


# --- a pool stays paused under no circumstances -----------------------------------------------------------------------


class _Held:
    """A backup that waits in the midst of its pause, until somebody's lock on the database is released."""

    def __init__(self, sandbox: Sandbox, *bouncers: PgBouncer) -> None:
        self._bouncers = bouncers
        self._holder = sandbox.connect("postgres")
        self._holder.execute("BEGIN")
        self._holder.execute(
            sql.SQL("ALTER DATABASE {} RENAME TO {}").format(
                sql.Identifier(sandbox.name), sql.Identifier(f"{sandbox.prefix}_moved")
            )
        )
        self.process = subprocess.Popen(
            [sys.executable, "-m", "snapkit", "backup", "--json", *_flags(*bouncers)],
            env=command_environment(sandbox.url),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

        def waits() -> bool:
            return sandbox.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE %s",
                f'CREATE DATABASE "{sandbox.prefix}_%',
            ) == [(1,)]

        wait_until(waits)
        assert all(bouncer.paused() == {sandbox.name} for bouncer in bouncers)

    def watchdog(self) -> int:
        pid = self.process.pid
        try:
            (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except FileNotFoundError:
            pytest.skip("needs Linux, to find the watchdog")
        return int(child)

    def release(self) -> None:
        self._holder.execute("ROLLBACK")
        self._holder.close()

    def end(self, code: int) -> dict[str, Any]:
        out, err = self.process.communicate(timeout=60)
        assert self.process.returncode == code, out + err
        document = json.loads(out) if out else {}
        assert isinstance(document, dict)
        return document


def _is_gone(pid: int) -> bool:
    try:
        return "Z" in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:1]
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.promise("a run that is killed leaves no pool paused")
def test_snapkit_is_killed(sandbox: Sandbox, make_bouncer: MakeBouncer) -> None:
    bouncers = make_bouncer(databases={sandbox.name: ""}), make_bouncer(databases={sandbox.name: ""})
    held = _Held(sandbox, *bouncers)
    pid = held.watchdog()
    held.process.kill()
    for bouncer in bouncers:
        wait_until(lambda bouncer=bouncer: bouncer.paused() == set(), 15)  # type: ignore[misc]
    held.end(-9)
    held.release()
    wait_until(lambda: _is_gone(pid))
    with psycopg.connect(bouncers[0].url(sandbox.name)) as client:
        client.execute("SELECT 1")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_to_all_at_once(sandbox: Sandbox, bouncer: PgBouncer, number: signal.Signals) -> None:
    held = _Held(sandbox, bouncer)
    pid = held.watchdog()
    os.kill(pid, number)
    os.killpg(held.process.pid, number)
    document = held.end(130)
    assert "untouched" in document["error"]["message"]
    assert bouncer.paused() == set()
    held.release()
    wait_until(lambda: _is_gone(pid))


def test_the_watchdog_is_killed(sandbox: Sandbox, bouncer: PgBouncer) -> None:
    held = _Held(sandbox, bouncer)
    os.kill(held.watchdog(), signal.SIGKILL)
    held.release()
    assert held.end(0)["warnings"] == []
    assert bouncer.paused() == set()


def test_both_are_killed_and_recover_resumes(sandbox: Sandbox, bouncer: PgBouncer) -> None:
    held = _Held(sandbox, bouncer)
    os.kill(held.watchdog(), signal.SIGKILL)
    held.process.kill()
    held.end(-9)
    held.release()
    assert bouncer.paused() == {sandbox.name}
    refused = sandbox.run("backup", "--json", *_flags(bouncer))
    assert refused.code == 11
    assert "snapkit recover" in refused.document["error"]["hint"]
    ran = sandbox.run("recover", "--json", *_flags(bouncer))
    assert ran.document["warnings"] == []
    assert ran.data["poolers_resumed"] == [{"host": "127.0.0.1", "port": bouncer.port, "databases": [sandbox.name]}]
    assert bouncer.paused() == set()
    assert sandbox.run("recover", *_flags(bouncer)).out.startswith("There are no leftovers of interrupted runs.\n")


def test_recover_resumes_what_the_list_does_not_show(sandbox: Sandbox, make_bouncer: MakeBouncer) -> None:
    """A database that PgBouncer knows by "*" only leaves the list without clients, and is still paused for the next."""
    bouncer = make_bouncer()
    bouncer.ask(f"PAUSE {sandbox.name}")
    wait_until(lambda: bouncer.paused() == set())
    ran = sandbox.run("recover", "--json", *_flags(bouncer))
    assert ran.data["poolers_resumed"] == [{"host": "127.0.0.1", "port": bouncer.port, "databases": [sandbox.name]}]
    with psycopg.connect(bouncer.url(sandbox.name)) as client:
        client.execute("SELECT 1")


def test_recover_leaves_alone_what_leads_to_another_server(sandbox: Sandbox, make_bouncer: MakeBouncer) -> None:
    """It bears the source's name, and an administrator has paused it."""
    bouncer = make_bouncer(databases={"main": f"dbname={sandbox.name}", sandbox.name: "port=1"})
    bouncer.ask("PAUSE main")
    bouncer.ask(f"PAUSE {sandbox.name}")
    ran = sandbox.run("recover", "--json", *_flags(bouncer))
    assert ran.data["poolers_resumed"] == [{"host": "127.0.0.1", "port": bouncer.port, "databases": ["main"]}]
    (warning,) = ran.document["warnings"]
    assert (warning["code"], f"the clients of {sandbox.name}:" in warning["message"]) == ("pool_paused", True)
    assert bouncer.paused() == {sandbox.name}


def test_recover_leaves_alone_what_a_run_has_paused_that_is_at_work(sandbox: Sandbox, bouncer: PgBouncer) -> None:
    held = _Held(sandbox, bouncer)
    ran = sandbox.run("recover", "--json", "--lock-wait", "0s", *_flags(bouncer))
    assert [warning["code"] for warning in ran.document["warnings"]] == ["at_work"]
    assert bouncer.paused() == {sandbox.name}
    held.release()
    held.end(0)
    assert bouncer.paused() == set()


def test_recover_says_so_if_it_cannot_resume(sandbox: Sandbox, bouncer: PgBouncer) -> None:
    bouncer.stop()
    ran = sandbox.run("recover", "--json", *_flags(bouncer))
    assert ran.code == 12, ran.out
    assert "its clients may wait" in ran.document["error"]["hint"]


def test_pgbouncer_is_restarted_in_the_middle(sandbox: Sandbox, bouncer: PgBouncer) -> None:
    held = _Held(sandbox, bouncer)
    bouncer.stop()
    bouncer.start()
    held.release()
    document = held.end(0)
    assert [warning["code"] for warning in document["warnings"]] == ["pool_resumed_early"]
    assert bouncer.paused() == set()


def test_pgbouncer_is_gone_in_the_end_and_the_watchdog_goes_on_trying(sandbox: Sandbox, bouncer: PgBouncer) -> None:
    held = _Held(sandbox, bouncer)
    pid = held.watchdog()
    bouncer.stop()
    held.release()
    document = held.end(0)
    (warning,) = document["warnings"]
    assert warning["code"] == "pool_not_resumed"
    typed = warning["message"].partition("By hand: ")[2]
    assert shlex.split(typed) == [
        "psql",
        f"postgresql://{ADMIN}@127.0.0.1:{bouncer.port}/pgbouncer",
        "-c",
        f"RESUME {sandbox.name};",
    ]
    os.kill(pid, signal.SIGSTOP)
    bouncer.start()
    bouncer.ask(f"PAUSE {sandbox.name}")  # as if it had never been restarted
    os.kill(pid, signal.SIGCONT)
    wait_until(lambda: bouncer.paused() == set())
    wait_until(lambda: _is_gone(pid))


def test_a_failure_behind_the_pause_is_told_and_clients_go_on(sandbox: Sandbox, bouncer: PgBouncer) -> None:
    held = _Held(sandbox, bouncer)
    assert "holds a lock" in held.end(11)["error"]["message"]  # five seconds later
    assert bouncer.paused() == set()
    held.release()


# --- the watchdog by itself -------------------------------------------------------------------------------------------


def _post(bouncer: PgBouncer, name: str) -> Post:
    (pooler,) = poolers_of([bouncer.console_url()])
    return Post(pooler.parameters, (name,))


def test_it_does_nothing_before_it_is_armed_and_ends(sandbox: Sandbox, bouncer: PgBouncer) -> None:
    bouncer.ask(f"PAUSE {sandbox.name}")  # by an administrator
    dog = Watchdog([_post(bouncer, sandbox.name)], 60)
    dog.wait_until_ready()
    dog.close()
    wait_until(lambda: _is_gone(dog.pid))
    assert bouncer.paused() == {sandbox.name}


@pytest.mark.parametrize(("limit", "silence"), [(0.5, 60.0), (60.0, 0.5)])
def test_it_resumes_when_the_time_is_over_and_when_it_hears_nothing(
    sandbox: Sandbox, bouncer: PgBouncer, limit: float, silence: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "SILENCE", silence)
    monkeypatch.setattr(watchdog, "_SIGN_OF_LIFE", 0.2 if silence > limit else 60)
    dog = Watchdog([_post(bouncer, sandbox.name)], limit)
    dog.wait_until_ready()
    dog.arm()
    bouncer.ask(f"PAUSE {sandbox.name}")
    wait_until(lambda: bouncer.paused() == set())
    wait_until(lambda: _is_gone(dog.pid))
    dog.resumed([0])  # it is gone, which is no error
    dog.close()


def test_it_says_why_it_cannot_watch(sandbox: Sandbox, bouncer: PgBouncer) -> None:
    post = _post(bouncer, sandbox.name)
    bouncer.stop()
    dog = Watchdog([post], 60)
    with pytest.raises(WatchdogError, match="refused"):
        dog.wait_until_ready()


def test_nothing_is_paused_without_it(
    sandbox: Sandbox, bouncer: PgBouncer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with psycopg.connect(bouncer.url(sandbox.name)) as client:
        client.execute("SELECT 1")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    poolers = poolers_of([bouncer.console_url()])
    with (
        sandbox.server().connect() as connection,
        pytest.raises(SnapkitError, match="could not be started"),
        paused(poolers, connection, sandbox.name, unobserved),
    ):
        pytest.fail("not to be reached")
    assert bouncer.paused() == set()


def test_it_keeps_the_password_to_itself_and_is_light(sandbox: Sandbox, bouncer: PgBouncer) -> None:
    held = _Held(sandbox, bouncer)
    pid = held.watchdog()
    seen = Path(f"/proc/{pid}/cmdline").read_text() + Path(f"/proc/{pid}/environ").read_text()
    held.release()
    held.end(0)
    assert PASSWORD not in seen
    assert "p%40ss" not in seen
    assert "DATABASE_URL" not in seen
    loaded = "import sys, snapkit.postgres.outage.watchdog; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True).stdout.split()
    assert not {"sqlalchemy", "typer", "rich", "dotenv"} & set(modules)


def test_libpq_s_options_do_not_keep_it_from_the_console(bouncer: PgBouncer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c statement_timeout=1")
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    monkeypatch.setenv("PGDATABASE", "elsewhere")
    (pooler,) = poolers_of([f"postgresql://{ADMIN}@127.0.0.1:{bouncer.port}"])
    console = Console(pooler.parameters)
    assert console.is_pgbouncer
    assert console.user == ADMIN
    console.close()
