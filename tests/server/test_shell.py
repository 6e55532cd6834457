"""A backup that is looked into is open to its owner alone, and the exact copy that it was when it is sealed again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pexpect
import psycopg
import pytest
from psycopg import sql

from snapkit.core.plans.properties import compare
from snapkit.errors import BusyError, ConnectionFailedError, InterruptedRunError
from snapkit.postgres.catalog import databases
from snapkit.postgres.connection.driver import DriverConnection
from snapkit.postgres.sql.entry_locks import Use
from snapkit.services.shell import ShellRequest, opened_entry
from tests.cluster import PASSWORD, SUPERUSER, Cluster
from tests.gate import Action, Gate, Phase, Point
from tests.sandbox import LOCK_WAIT, Sandbox, command_environment, run_snapkit, wait_until

pytestmark = pytest.mark.any_version


@pytest.fixture(autouse=True)
def psql_of_the_server(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{sandbox.cluster.binaries}{os.pathsep}{os.environ['PATH']}")


def _looks(box: Sandbox, name: str) -> dict[str, Any]:
    """Everything about an entry that is to be the same before and after, but the order of its access list."""
    row = box.row(name)
    with box.server().connect() as connection:
        properties = databases.read_properties(connection, row["oid"])
    return {**{key: value for key, value in row.items() if key != "acl"}, "properties": properties}


def _same(before: dict[str, Any], after: dict[str, Any]) -> bool:
    rest = [{key: value for key, value in each.items() if key != "properties"} for each in (before, after)]
    return rest[0] == rest[1] and compare(before["properties"], after["properties"]) == ()


class _Shell:
    """A ``snapkit shell`` whose command says that it is there, and goes on until ``leave``."""

    SCRIPT = 'psql -XAtc "select current_database()"; read answer; exit ${answer:-0}'

    def __init__(self, box: Sandbox, name: str, *words: str, url: str | None = None, script: str = SCRIPT) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "snapkit", "shell", name, *words, "--", "sh", "-c", script],
            env=command_environment(url or box.url),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.said = self.process.stdout.readline()

    def leave(self, answer: str = "") -> tuple[int, str]:
        """Return the exit code, and what was said on stderr."""
        _, err = self.process.communicate(f"{answer}\n", timeout=60)
        return self.process.returncode, err

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@contextmanager
def _shell(
    box: Sandbox, name: str, *words: str, url: str | None = None, script: str = _Shell.SCRIPT
) -> Iterator[_Shell]:
    shell = _Shell(box, name, *words, url=url, script=script)
    try:
        assert shell.said == f"{name}\n", shell.process.communicate()
        yield shell
    finally:
        shell.close()


def _is_free(box: Sandbox, oid: int) -> bool:
    key = Use.LOOK.key(oid) % 2**64
    held = box.execute(
        "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND objid = %s",
        key >> 32,
        key & 0xFFFFFFFF,
    )
    return not held


def _url_of(box: Sandbox, role: str, database: str | None = None) -> str:
    user, password, name = (quote(each, safe="") for each in (role, PASSWORD, database or box.name))
    return f"postgresql://{user}:{password}@127.0.0.1:{box.cluster.port}/{name}"


def _owner(box: Sandbox) -> str:
    """Give the source to a role that is nothing else, and return that."""
    role = box.role('owner "of" it', f"LOGIN CREATEDB PASSWORD '{PASSWORD}'")
    box.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(box.name), sql.Identifier(role)))
    return role


@pytest.mark.command("shell")
def test_stdout_is_the_commands_alone_and_the_backup_is_what_it_was(sandbox: Sandbox) -> None:
    sandbox.execute(sql.SQL("ALTER DATABASE {} SET work_mem = '5MB'").format(sql.Identifier(sandbox.name)))
    name = sandbox.back_up(label="before v42").backup.name
    content = sandbox.items()
    sandbox.ruin()
    before = _looks(sandbox, name)
    ran = sandbox.run("shell", name, "--", "psql", "-XAtc", "SELECT name FROM item WHERE id = 42")
    assert (ran.code, ran.out) == (0, "item 42\n")
    assert ran.err.splitlines() == [
        f"{name} is open, read-only. It is sealed again when the command ends.",
        f"{name} is sealed again.",
    ]
    assert _same(before, _looks(sandbox, name))
    assert sandbox.sessions(name) == 0
    assert sandbox.run("rollback", "--latest").code == 0
    assert sandbox.items() == content


def test_without_a_command_it_is_psql_and_a_write_is_refused(sandbox: Sandbox) -> None:
    name = sandbox.back_up().backup.name
    child = pexpect.spawn(
        sys.executable,
        ["-m", "snapkit", "shell", name],
        env=command_environment(sandbox.url, TERM="dumb", PSQLRC="/dev/null"),
        encoding="utf-8",
        timeout=60,
    )
    child.expect(rf"{name}=#")
    child.sendline("DELETE FROM item;")
    child.expect("cannot execute DELETE in a read-only transaction")
    child.sendline("SELECT pg_sleep(600);")
    wait_until(lambda: _is_asleep(sandbox, name))
    child.sendintr()
    child.expect("canceling statement due to user request")
    child.sendline("SELECT count(*) FROM item;")
    child.expect("100")
    child.sendline("\\q")
    child.expect("is sealed again")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert sandbox.row(name)["datallowconn"] is False


def _is_asleep(box: Sandbox, name: str) -> bool:
    asleep = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = %s"
    return bool(box.execute(asleep, name))


def test_one_document_and_the_commands_output_is_on_stderr(sandbox: Sandbox) -> None:
    name = sandbox.back_up().backup.name
    ran = sandbox.run("shell", name, "--json", "--", "sh", "-c", "echo hello; exit 3")
    assert (ran.code, "hello\n" in ran.err) == (3, True)
    data = ran.data
    assert (data["entry"]["name"], data["entry"]["opened"]) == (name, None)
    assert (data["command"], data["command_words"], data["command_exit_code"]) == (["sh"], 3, 3)


@pytest.mark.parametrize(("script", "code"), [("exit 7", 7), ("kill -9 $$", 137)])
def test_the_exit_code_is_the_commands_own_and_it_is_sealed(sandbox: Sandbox, script: str, code: int) -> None:
    name = sandbox.back_up().backup.name
    assert sandbox.run("shell", name, "--", "sh", "-c", script).code == code
    assert sandbox.row(name)["datallowconn"] is False
    assert sandbox.entries()[0].opened is None


def test_what_cannot_be_run_touches_nothing(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    name = sandbox.back_up().backup.name
    before = sandbox.row(name)
    ran = sandbox.run("shell", name, "--", "no-such-command")
    assert (ran.code, "cannot be found in PATH" in ran.err) == (2, True)
    none = run_snapkit("shell", name, url=sandbox.url, SNAPKIT_PG_BIN="/nowhere")
    assert (none.code, "There is no psql" in none.err) == (2, True)
    assert sandbox.run("shell", "no such backup", "--", "true").code == 10
    assert sandbox.row(name) == before


def test_a_displaced_database_can_be_looked_into(sandbox: Sandbox) -> None:
    sandbox.back_up()
    sandbox.ruin()
    displaced = sandbox.roll_back().displaced
    assert displaced is not None
    ran = sandbox.run("shell", displaced.name, "--", "psql", "-XAtc", "SELECT count(*) FROM item")
    assert ran.out == "10\n"
    sandbox.undo()
    assert len(sandbox.items()) == 10


@pytest.mark.parametrize(
    "as_owner", [pytest.param(True, marks=pytest.mark.promise("a shell opens a backup to its owner alone")), False]
)
def test_only_its_owner_gets_in_and_everybody_is_given_back_what_they_had(sandbox: Sandbox, as_owner: bool) -> None:
    owner = _owner(sandbox)
    stranger = sandbox.role('a "stranger"', f"LOGIN PASSWORD '{PASSWORD}'")
    friend = sandbox.role("friend", f"LOGIN PASSWORD '{PASSWORD}'")
    source = sql.Identifier(sandbox.name)
    for statement in ("GRANT CONNECT, CREATE ON DATABASE {} TO {}", "GRANT TEMPORARY ON DATABASE {} TO {}"):
        sandbox.execute(sql.SQL(statement).format(source, sql.Identifier(stranger)))
    grant = sql.SQL("GRANT CONNECT ON DATABASE {} TO {} WITH GRANT OPTION")
    sandbox.execute(grant.format(source, sql.Identifier(friend)))
    sandbox.execute(sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = off").format(source))
    name = sandbox.back_up().backup.name
    before = _looks(sandbox, name)
    url = _url_of(sandbox, owner) if as_owner else sandbox.url
    with _shell(sandbox, name, url=url) as shell:
        for role in (stranger, friend):
            with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
                psycopg.connect(_url_of(sandbox, role, name))
        with psycopg.connect(_url_of(sandbox, owner, name)) as connection:
            assert connection.execute("SHOW transaction_read_only").fetchall() == [("on",)]
        assert shell.leave() == (0, _notes(name))
    assert _same(before, _looks(sandbox, name))


def _notes(name: str) -> str:
    return f"{name} is open, read-only. It is sealed again when the command ends.\n{name} is sealed again.\n"


def test_what_others_have_granted_is_granted_by_them_again_or_it_is_not_opened(sandbox: Sandbox) -> None:
    owner = _owner(sandbox)
    lender, borrower = sandbox.role("lender"), sandbox.role("borrower")
    source = sql.Identifier(sandbox.name)
    sandbox.execute(
        sql.SQL("GRANT CONNECT ON DATABASE {} TO {} WITH GRANT OPTION").format(source, sql.Identifier(lender))
    )
    with sandbox.connect() as connection:
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(lender)))
        connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(source, sql.Identifier(borrower)))
    name = sandbox.back_up().backup.name
    before = _looks(sandbox, name)
    ran = sandbox.run("shell", name, "--", "true", url=_url_of(sandbox, owner))
    assert (ran.code, lender in ran.err) == (13, True)
    assert _same(before, _looks(sandbox, name))
    assert sandbox.run("shell", name, "--", "true").code == 0
    assert _same(before, _looks(sandbox, name))


def test_a_role_that_is_dropped_or_renamed_meanwhile_does_no_harm(sandbox: Sandbox) -> None:
    gone, renamed = sandbox.role("gone"), sandbox.role("renamed")
    source = sql.Identifier(sandbox.name)
    for role in (gone, renamed):
        sandbox.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(source, sql.Identifier(role)))
    name = sandbox.back_up().backup.name
    sandbox.execute(sql.SQL("REVOKE CONNECT ON DATABASE {} FROM {}").format(source, sql.Identifier(gone)))
    with _shell(sandbox, name) as shell:
        sandbox.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(gone)))
        sandbox._roles.remove(gone)
        new = renamed + " anew"
        sandbox.execute(sql.SQL("ALTER ROLE {} RENAME TO {}").format(sql.Identifier(renamed), sql.Identifier(new)))
        sandbox._roles[sandbox._roles.index(renamed)] = new
        assert shell.leave()[0] == 0
    privileges = _looks(sandbox, name)["properties"].privileges
    assert {item.grantee for item in privileges} == {"", "postgres", new}


def test_a_role_that_is_not_read_only_is_so_inside(sandbox: Sandbox) -> None:
    """A setting of the role goes before one of the database; what a client asks for goes before both."""
    owner = _owner(sandbox)
    sandbox.execute(sql.SQL("ALTER ROLE {} SET default_transaction_read_only = off").format(sql.Identifier(owner)))
    name = sandbox.back_up().backup.name
    ran = sandbox.run("shell", name, "--", "psql", "-XAtc", "CREATE TABLE x ()", url=_url_of(sandbox, owner))
    assert (ran.code, "read-only transaction" in ran.err) == (1, True)


def test_the_command_has_a_url_and_no_password_on_a_command_line(sandbox: Sandbox) -> None:
    owner = _owner(sandbox)
    name = sandbox.back_up().backup.name
    script = (
        "import os, psycopg; print(psycopg.connect(os.environ['DATABASE_URL']).info.dbname, os.environ['DIRECT_URL'],"
        " 'PGSERVICE' in os.environ, open('/proc/%d/cmdline' % os.getppid()).read().count('horse' + '-%'))"
    )
    url = _url_of(sandbox, owner)
    ran = sandbox.run("shell", name, "--", sys.executable, "-c", script, url=url)
    assert ran.out == f"{name} {_url_of(sandbox, owner, name)} False 0\n", ran.err


def test_a_service_leads_to_the_entry_and_not_to_the_live_database(sandbox: Sandbox, tmp_path: Path) -> None:
    name = sandbox.back_up().backup.name
    services = tmp_path / "services"
    services.write_text(f"[shop]\nhost=127.0.0.1\nport={sandbox.cluster.port}\nuser=postgres\ndbname={sandbox.name}\n")
    passwords = tmp_path / "pgpass"
    passwords.write_text(f"127.0.0.1:{sandbox.cluster.port}:postgres:postgres:{PASSWORD}\n")
    passwords.chmod(0o600)
    for command in (
        ["psql", "-XAtc", "SELECT current_database()"],
        ["sh", "-c", 'psql "$DATABASE_URL" -XAtc "SELECT current_database()"'],
    ):
        ran = run_snapkit(
            "shell",
            name,
            "--",
            *command,
            PGSERVICE="shop",
            PGSERVICEFILE=str(services),
            PGPASSFILE=str(passwords),
        )
        assert (ran.code, ran.out) == (0, f"{name}\n"), ran.err


# --- while it is open -----------------------------------------------------------------------------------------------


def test_while_it_is_open_nobody_else_works_on_it_and_everybody_is_told(sandbox: Sandbox) -> None:
    sandbox.back_up()
    name = sandbox.back_up(label="newest").backup.name
    with _shell(sandbox, name) as shell:
        pid = shell.process.pid
        for words in (
            ["rollback", "--latest"],
            ["rollback", name, "--dry-run"],
            ["rollback", name, "--sql"],
            ["rollback", name, "--keep-backup"],
            ["delete", name],
            ["pin", name],
            ["label", name, "x"],
            ["shell", name, "--", "true"],
        ):
            ran = sandbox.run(*words)
            assert (ran.code, f"pid {pid}" in ran.err) == (11, True), (words, ran)
        entry = sandbox.run("show", name, "--json").data["entry"]
        assert (entry["state"], entry["opened"]["pid"], entry["sealed"]) == ("ready", pid, False)
        assert "ready, open" in sandbox.run("list").out
        assert f"pid {pid}" in sandbox.run("show", name).out
        # The rest goes on, and leaves it alone.
        assert sandbox.run("recover", "--json").data["sealed"] == []
        third = sandbox.back_up().backup.name
        assert sandbox.run("rollback", third).code == 0
        assert sandbox.sessions(name) == 0
        assert sandbox.row(name)["datallowconn"] is True
        assert shell.leave("5")[0] == 5
    assert sandbox.run("delete", name).code == 0


def test_prune_drops_the_rest_and_an_open_displaced_database_is_not_undone_to(sandbox: Sandbox) -> None:
    names = [sandbox.back_up().backup.name for _ in range(3)]
    with _shell(sandbox, names[0]):
        ran = sandbox.run("prune", "--keep", "1", "--json")
        assert ran.code == 3
        assert [each["entry"]["name"] for each in ran.document["data"]["failed"]] == [names[0]]
        assert ran.document["data"]["failed"][0]["error"]["code"] == "busy"
        assert names[1] not in sandbox.databases()
    displaced = sandbox.roll_back(names[2]).displaced
    assert displaced is not None
    with _shell(sandbox, displaced.name):
        assert sandbox.run("undo").code == 11


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_the_command_and_it_is_sealed(sandbox: Sandbox, number: signal.Signals) -> None:
    name = sandbox.back_up().backup.name
    script = 'psql -XAtc "select current_database()"; exec sleep 600'
    with _shell(sandbox, name, script=script) as shell:
        shell.process.send_signal(number)
        shell.process.communicate(timeout=60)
        assert shell.process.returncode == 128 + number
    assert sandbox.row(name)["datallowconn"] is False
    assert sandbox.entries()[0].opened is None


def test_who_is_still_inside_at_the_end_is_sent_away(sandbox: Sandbox) -> None:
    name = sandbox.back_up().backup.name
    with _shell(sandbox, name) as shell, sandbox.connect(name) as stays:
        assert shell.leave()[0] == 0
        with pytest.raises(psycopg.OperationalError):
            stays.execute("SELECT 1")
    assert sandbox.sessions(name) == 0


# --- when it is not sealed by who opened it -------------------------------------------------------------------------


NEXT = {
    "recover": ["recover"],
    "backup": ["backup"],
    "rollback": ["rollback", "{}"],
    "pin": ["pin", "{}"],
    "delete": ["delete", "{}"],
    "prune": ["prune", "--keep", "1"],
    "shell": ["shell", "{}", "--", "true"],
}


@pytest.mark.parametrize(
    "then",
    [pytest.param("recover", marks=pytest.mark.promise("a shell that is killed leaves nothing open")), *list(NEXT)[1:]],
)
def test_a_shell_that_was_killed_leaves_it_to_the_next_run(sandbox: Sandbox, then: str) -> None:
    name = sandbox.back_up().backup.name
    sandbox.back_up()
    before = _looks(sandbox, name)
    with _shell(sandbox, name) as shell, sandbox.connect(name) as inside:
        shell.kill()
        wait_until(lambda: _is_free(sandbox, sandbox.row(name)["oid"]))
        assert sandbox.row(name)["datallowconn"] is True
        assert sandbox.run("show", name, "--json").data["entry"]["opened"]["pid"] == shell.process.pid
        assert (
            f"Still open to their owners since a snapkit command was interrupted: {name}." in sandbox.run("doctor").out
        )
        ran = sandbox.run(*[word.format(name) for word in NEXT[then]])
        assert ran.code == 0, ran
        with pytest.raises(psycopg.OperationalError):
            inside.execute("SELECT 1")
    if then in ("delete", "prune"):
        assert name not in sandbox.databases()
    elif then == "rollback":
        live = _looks(sandbox, sandbox.name)
        assert compare(before["properties"], live["properties"]) == ()
        assert len(sandbox.items()) == 100
    elif then == "pin":
        assert sandbox.row(name)["datallowconn"] is False
    else:
        assert f"Sealed {name}, which" in ran.err + ran.out
        assert _same(before, _looks(sandbox, name))


def test_there_is_no_script_of_an_entry_that_was_left_open_and_one_from_before_does_nothing(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    """It would be live with what opening it changed: read-only, and for its owner alone."""
    name = sandbox.back_up().backup.name
    script = tmp_path / "rollback.sql"
    script.write_text(sandbox.run("rollback", name, "--sql").out)
    with _shell(sandbox, name) as shell:
        shell.kill()
        wait_until(lambda: _is_free(sandbox, sandbox.row(name)["oid"]))
        rows = [sandbox.row(sandbox.name), sandbox.row(name)]
        for words in ([], ["--keep-backup"]):
            ran = sandbox.run("rollback", name, "--sql", *words)
            assert (ran.code, f"pid {shell.process.pid}" in ran.err, "snapkit recover" in ran.err) == (11, True, True)
            assert ran.out == ""
        refused = _psql(sandbox, script)
        assert (refused.returncode, "the databases have changed" in refused.stderr) == (3, True)
        assert [sandbox.row(sandbox.name), sandbox.row(name)] == rows
    assert sandbox.run("recover").code == 0
    before = _looks(sandbox, name)["properties"]
    assert _psql(sandbox, script).returncode == 0
    assert compare(before, _looks(sandbox, sandbox.name)["properties"]) == ()


def _psql(box: Sandbox, script: Path) -> subprocess.CompletedProcess[str]:
    words = ["psql", "-Xq", "-d", box.cluster.url("postgres"), "-f", str(script)]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)


def test_list_and_dry_runs_seal_nothing(sandbox: Sandbox) -> None:
    name = sandbox.back_up().backup.name
    with _shell(sandbox, name) as shell:
        shell.kill()
        wait_until(lambda: _is_free(sandbox, sandbox.row(name)["oid"]))
        row = sandbox.row(name)
        for words in (["list"], ["show", name], ["rollback", name, "--dry-run"], ["prune", "--keep", "1", "--dry-run"]):
            assert sandbox.run(*words).code == 0
        assert sandbox.row(name) == row


def test_a_shell_that_has_lost_its_lock_seals_all_the_same(sandbox: Sandbox) -> None:
    name = sandbox.back_up().backup.name
    before = _looks(sandbox, name)
    with _shell(sandbox, name) as shell:
        _end_keeper(sandbox, name)
        assert shell.leave()[0] == 0
    assert _same(before, _looks(sandbox, name))


@pytest.mark.parametrize("action", [Action.CUT, Action.STALL])
@pytest.mark.parametrize("loss", [Phase.BEFORE, Phase.AFTER])
def test_the_answer_to_the_commit_that_opens_it_is_lost(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, loss: Phase, action: Action
) -> None:
    monkeypatch.setattr(DriverConnection, "answer_limit", timedelta(seconds=1))
    name = sandbox.back_up().backup.name
    before = _looks(sandbox, name)
    with _gate(sandbox, _is_opening, loss, lambda gate: action) as url:
        opening = opened_entry(sandbox.server(url), ShellRequest(name, ("true",)), LOCK_WAIT)
        if loss is Phase.AFTER:
            with opening:
                assert sandbox.row(name)["datallowconn"] is True
        else:
            with pytest.raises(ConnectionFailedError) as caught, opening:
                raise AssertionError
            assert caught.value.state == "Nothing was changed."
    assert _same(before, _looks(sandbox, name))


def test_ctrl_c_at_the_commit_that_opens_it_leaves_it_sealed_and_starts_nothing(sandbox: Sandbox) -> None:
    name = sandbox.back_up().backup.name
    before = _looks(sandbox, name)

    def interrupt(gate: Gate) -> Action:
        os.kill(os.getpid(), signal.SIGINT)
        assert gate.cancelled.wait(60)
        return Action.GO

    with _gate(sandbox, _is_opening, Phase.AFTER, interrupt) as url:
        opening = opened_entry(sandbox.server(url), ShellRequest(name, ("true",)), LOCK_WAIT)
        with pytest.raises(InterruptedRunError), opening:
            raise AssertionError
    assert _same(before, _looks(sandbox, name))


def _is_opening(point: Point) -> bool:
    return (point.connection, point.label) == (2, "COMMIT")


def _is_first_of_sealing(point: Point) -> bool:
    return point.connection == 1 and "ALLOW_CONNECTIONS" in point.label and point.occurrence == 1


@contextmanager
def _gate(box: Sandbox, is_it: Callable[[Point], bool], phase: Phase, act: Callable[[Gate], Action]) -> Iterator[str]:
    """Yield a URL by which ``act`` decides how it goes on at a statement."""
    gate = Gate(box.cluster.port, lambda each: phase if is_it(each) else None, lambda link, each: act(gate))
    try:
        yield f"postgresql://{SUPERUSER}:{quote(PASSWORD, safe='')}@127.0.0.1:{gate.port}/{box.name}"
        assert gate.reached.is_set()
    finally:
        gate.close()


def test_what_has_taken_its_name_as_it_is_sealed_is_not_touched(sandbox: Sandbox) -> None:
    name = sandbox.back_up().backup.name
    moved = name + " moved"
    rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
    taken: list[dict[str, Any]] = []

    def take_name(gate: Gate) -> Action:
        sandbox.execute(rename.format(sql.Identifier(name), sql.Identifier(moved)))
        sandbox.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        taken.append(sandbox.row(name))
        return Action.GO

    with _gate(sandbox, _is_first_of_sealing, Phase.BEFORE, take_name) as url:
        opening = opened_entry(sandbox.server(url), ShellRequest(name, ("true",)), LOCK_WAIT)
        with pytest.raises(BusyError, match="is no longer the same database") as caught, opening:
            pass
    assert caught.value.hint is not None
    assert "snapkit recover" in caught.value.hint
    assert [sandbox.row(name)] == taken
    assert sandbox.run("recover").code == 0
    assert [sandbox.row(name)] == taken
    assert sandbox.row(moved)["datallowconn"] is False


def test_a_shell_that_was_sealed_by_another_run_leaves_what_came_after_alone(sandbox: Sandbox) -> None:
    name = sandbox.back_up().backup.name
    with _shell(sandbox, name) as first:
        _end_keeper(sandbox, name)
        assert [entry["name"] for entry in sandbox.run("recover", "--json").data["sealed"]] == [name]
        with _shell(sandbox, name) as second:
            assert first.leave()[0] == 0
            assert sandbox.row(name)["datallowconn"] is True
            assert second.leave()[0] == 0
    assert sandbox.row(name)["datallowconn"] is False


def _end_keeper(box: Sandbox, name: str) -> None:
    key = Use.LOOK.key(box.row(name)["oid"]) % 2**64
    box.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND objid = %s",
        key >> 32,
        key & 0xFFFFFFFF,
    )
    wait_until(lambda: _is_free(box, box.row(name)["oid"]))


def test_a_role_that_may_not_give_it_back_shuts_it_and_says_who_can(sandbox: Sandbox) -> None:
    """A superuser opened what others had granted; the owner, who finds it, may not grant it as they did."""
    owner = _owner(sandbox)
    lender, borrower = sandbox.role("lender"), sandbox.role("borrower")
    source = sql.Identifier(sandbox.name)
    sandbox.execute(
        sql.SQL("GRANT CONNECT ON DATABASE {} TO {} WITH GRANT OPTION").format(source, sql.Identifier(lender))
    )
    with sandbox.connect() as connection:
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(lender)))
        connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(source, sql.Identifier(borrower)))
    name = sandbox.back_up().backup.name
    before = _looks(sandbox, name)
    with _shell(sandbox, name) as shell:
        shell.kill()
        wait_until(lambda: _is_free(sandbox, sandbox.row(name)["oid"]))
        ran = sandbox.run("rollback", name, url=_url_of(sandbox, owner))
        assert (ran.code, "recover" in ran.err) == (13, True), ran
        assert sandbox.row(name)["datallowconn"] is False
        assert sandbox.entries()[0].opened is not None
        assert sandbox.run("recover").code == 0
    assert _same(before, _looks(sandbox, name))


def test_a_server_that_starts_anew_meanwhile_is_waited_for(cluster: Cluster) -> None:
    own = Cluster(cluster.binaries)
    try:
        own.start()
        with psycopg.connect(own.url("postgres"), autocommit=True) as admin:
            sandbox = Sandbox(own, admin, "own")
            sandbox.create()
            name = sandbox.back_up().backup.name
            before = _looks(sandbox, name)
            with _shell(sandbox, name) as shell:
                own.stop("immediate")
                assert shell.process.stdin is not None
                shell.process.stdin.write("\n")
                shell.process.stdin.flush()
                own.launch()
                assert shell.process.wait(60) == 0
        with psycopg.connect(own.url("postgres"), autocommit=True) as admin:
            sandbox.admin = admin
            after = _looks(sandbox, name)
            # What was counted is lost in a crash, so it is not known whether it was written to.
            assert "it is not known" in after["comment"]
            assert _same(before, {**after, "comment": before["comment"]})
    finally:
        own.remove()
