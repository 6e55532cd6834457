"""The audit log of runs on a real server."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql

from tests.cluster import PASSWORD, SUPERUSER
from tests.sandbox import Sandbox, command_environment, run_snapkit, wait_until

pytestmark = pytest.mark.any_version

KEYS = {
    "audit_version",
    "time",
    "command",
    "source",
    "host",
    "port",
    "os_user",
    "role",
    "pid",
    "exit_code",
    "error",
    "entries",
    "ran",
    "ran_exit_code",
    "ran_words",
    "outage_ms",
    "duration_ms",
}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "it's an audit.jsonl"


def _lines(log: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in log.read_bytes().splitlines()]
    assert all(set(line) == KEYS for line in lines)
    return lines


@pytest.mark.promise("each run that may change something leaves a line in the audit log")
def test_each_run_that_may_change_something_leaves_a_line(sandbox: Sandbox, log: Path) -> None:
    expected: list[tuple[str, int, str | None, list[str]]] = []

    def run(*words: str) -> dict[str, Any]:
        ran = run_snapkit(*words, "--json", url=sandbox.url, SNAPKIT_AUDIT_LOG=str(log))
        document = ran.document
        error = document["error"]["code"] if document["error"] else None
        expected.append((words[0], ran.code, error, []))
        data = document["data"]
        return data if isinstance(data, dict) else {}

    def touched(*names: str) -> None:
        expected[-1][3].extend(names)

    first = run("backup", "--label", "one")["backup"]["name"]
    touched(first)
    for words in (["pin", first], ["label", first, "two"], ["delete", first], ["unpin", first]):
        run(*words)
        if words[0] != "delete":
            touched(first)
    swap = run("rollback", "--latest")
    touched(first, swap["displaced"]["name"])
    again = run("undo")
    touched(again["restored"]["name"], again["displaced"]["name"])
    run("rollback", "no_such_backup")
    run("recover")
    names = [run("backup")["backup"]["name"]]
    touched(names[0])
    names.append(run("backup")["backup"]["name"])
    touched(names[1])
    run("prune", "--keep", "1")
    touched(names[0])
    if again["displaced"]["kind"] == "backup":  # nothing was written while it was live
        touched(again["displaced"]["name"])
    script_made = f"{sandbox.name}_backup_20260110_103045"
    sandbox.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(script_made)))
    run("adopt", script_made)
    touched(script_made)
    lines = _lines(log)
    assert [(each["command"], each["exit_code"], each["error"], each["entries"]) for each in lines] == expected
    assert {each["source"] for each in lines} == {sandbox.name}
    assert {each["port"] for each in lines} == {str(sandbox.cluster.port)}
    assert {each["role"] for each in lines} == {SUPERUSER}
    assert len({each["pid"] for each in lines}) == len(lines)
    assert [each["outage_ms"] is not None for each in lines] == [
        each["command"] in ("backup", "rollback", "undo") and each["error"] is None for each in lines
    ]
    assert [each["time"] for each in lines] == sorted(each["time"] for each in lines)


def test_what_only_looks_leaves_none(sandbox: Sandbox, log: Path) -> None:
    name = sandbox.back_up().backup.name
    for words in (
        ["list"],
        ["show", name],
        ["doctor"],
        ["backup", "--dry-run"],
        ["rollback", "--latest", "--dry-run"],
        ["rollback", "--latest", "--sql"],
        ["prune", "--keep", "1", "--dry-run"],
    ):
        run_snapkit(*words, url=sandbox.url, SNAPKIT_AUDIT_LOG=str(log))
    assert not log.exists()


@pytest.mark.promise("an audit log that cannot be opened stops the run")
def test_a_log_that_cannot_be_opened_stops_the_run(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "snapkit.toml").write_text('audit-log = "nowhere/audit.jsonl"\n[hooks]\nbefore-backup = "touch ran"\n')
    ran = run_snapkit("backup", "--json", url=sandbox.url, cwd=tmp_path)
    error = ran.document["error"]
    assert (ran.code, error["code"]) == (1, "failed")
    assert "nowhere/audit.jsonl' cannot be opened for appending: No such file or directory." in error["message"]
    assert error["message"].endswith("Nothing was changed.")
    assert sandbox.entries() == ()
    assert not (tmp_path / "ran").exists()
    assert run_snapkit("list", url=sandbox.url, cwd=tmp_path).code == 0


def test_a_line_that_cannot_be_written_is_a_warning(sandbox: Sandbox) -> None:
    ran = run_snapkit("backup", "--json", url=sandbox.url, SNAPKIT_AUDIT_LOG="/dev/full")
    assert ran.data["backup"]
    (warning,) = ran.document["warnings"]
    assert (warning["code"], ran.code) == ("audit_failed", 0)
    assert "No space left on device" in warning["message"]
    ran = run_snapkit("rollback", "x", url=sandbox.url, SNAPKIT_AUDIT_LOG="/dev/full")
    assert ran.code == 10
    assert "could not be written to the audit log" in ran.err


def test_an_interrupted_run_and_one_that_reached_nothing_leave_a_line(
    sandbox: Sandbox, log: Path, tmp_path: Path
) -> None:
    (tmp_path / "snapkit.toml").write_text('[hooks]\nbefore-backup = "touch begun; sleep 1000"\n')
    process = subprocess.Popen(
        [sys.executable, "-m", "snapkit", "backup"],
        env=command_environment(sandbox.url, SNAPKIT_AUDIT_LOG=str(log)),
        cwd=tmp_path,
        stderr=subprocess.PIPE,
    )
    wait_until((tmp_path / "begun").exists)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 130
    nowhere = "postgresql://app@127.0.0.1:1/app"
    assert run_snapkit("prune", "--keep", "1", url=nowhere, SNAPKIT_AUDIT_LOG=str(log)).code == 12
    interrupted, lost = _lines(log)
    assert (interrupted["exit_code"], interrupted["error"]) == (130, "interrupted")
    assert (lost["error"], lost["host"], lost["port"], lost["role"]) == ("connection", "127.0.0.1", "1", "app")


def test_no_password_gets_into_it(sandbox: Sandbox, log: Path) -> None:
    good = sandbox.cluster.url(sandbox.name, tcp=True)
    bad = sandbox.cluster.url(sandbox.name, password="s3cr3t-Tr0ub4dor", tcp=True)
    assert PASSWORD.replace("%", "%25") in good
    run_snapkit("backup", "--url", good, SNAPKIT_AUDIT_LOG=str(log))
    run_snapkit("backup", "--url", bad, SNAPKIT_AUDIT_LOG=str(log))
    run_snapkit("rollback", "--latest", url=good, SNAPKIT_AUDIT_LOG=str(log))
    assert len(_lines(log)) == 3
    for secret in (PASSWORD, PASSWORD.replace("%", "%25"), "Tr0ub4dor"):
        assert secret not in log.read_text()


def test_the_lines_of_eight_runs_at_once(sandbox: Sandbox, log: Path) -> None:
    name = sandbox.back_up().backup.name
    runs = [
        subprocess.Popen(
            [sys.executable, "-m", "snapkit", "label", name, f"label {number}", "--lock-wait", "60s"],
            env=command_environment(sandbox.url, SNAPKIT_AUDIT_LOG=str(log)),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for number in range(8)
    ]
    assert [run.wait(timeout=120) for run in runs] == [0] * 8
    assert sorted(line["pid"] for line in _lines(log)) == sorted(run.pid for run in runs)
