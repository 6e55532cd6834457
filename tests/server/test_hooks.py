"""Hooks around backups and rollbacks of a real server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from snapkit.core.hooks import Event
from tests.cluster import PASSWORD, SUPERUSER
from tests.sandbox import Ran, Sandbox, command_environment, run_snapkit, wait_until

pytestmark = pytest.mark.any_version

ALL = list(Event)


class Hooked:
    """A directory with a settings file, whose hooks write down what they were told."""

    def __init__(self, directory: Path, sandbox: Sandbox) -> None:
        self.directory = directory
        self.sandbox = sandbox

    def set(self, more: Mapping[str, str] | None = None, rest: str = "") -> None:
        """Let every hook write down what it is told; ``more`` is what some do besides."""
        lines = [rest, "[hooks]"]
        for event in ALL:
            command = f"echo {event} >> ran; cat > {event}.json; env > {event}.env; {(more or {}).get(event, '')}"
            lines.append(f"{event} = {json.dumps(command)}")
        (self.directory / "snapkit.toml").write_text("\n".join(lines))

    def run(self, *words: str, **environment: str) -> Ran:
        (self.directory / "ran").write_text("")
        return run_snapkit(*words, url=self.sandbox.url, cwd=self.directory, **environment)

    @property
    def ran(self) -> list[str]:
        return (self.directory / "ran").read_text().split()

    def document(self, event: str) -> dict[str, Any]:
        document = json.loads((self.directory / f"{event}.json").read_text())
        assert isinstance(document, dict)
        return document

    def facts(self, event: str) -> dict[str, str]:
        lines = (self.directory / f"{event}.env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines if line.startswith("SNAPKIT_"))


@pytest.fixture
def hooked(tmp_path: Path, sandbox: Sandbox) -> Hooked:
    made = Hooked(tmp_path, sandbox)
    made.set()
    return made


@pytest.mark.promise("hooks run around backups and rollbacks")
def test_what_hooks_are_told_of_a_backup_a_rollback_and_an_undo(hooked: Hooked) -> None:
    name = hooked.sandbox.name
    ran = hooked.run("backup", "--label", 'it\'s "v42"', "--json")
    assert (ran.code, hooked.ran) == (0, ["before_backup", "after_backup"])
    assert hooked.document("after_backup") == ran.document
    before = hooked.document("before_backup")
    assert (before["command"], before["status"]) == ("backup", "pending")
    assert before["data"] == {"source": name, "label": 'it\'s "v42"'}
    backup = ran.data["backup"]["name"]
    facts = hooked.facts("before_backup")
    assert (facts["SNAPKIT_EVENT"], facts["SNAPKIT_COMMAND"]) == ("before_backup", "backup")
    assert (facts["SNAPKIT_SOURCE"], facts["SNAPKIT_BACKUP"]) == (name, "")
    facts = hooked.facts("after_backup")
    assert (facts["SNAPKIT_BACKUP"], facts["SNAPKIT_LABEL"]) == (backup, 'it\'s "v42"')
    assert facts["SNAPKIT_SERVER"].endswith(f":{hooked.sandbox.cluster.port}")
    assert int(facts["SNAPKIT_OUTAGE_MS"]) == ran.data["outage_ms"]

    ran = hooked.run("rollback", "--latest", "--json")
    assert (ran.code, hooked.ran) == (0, ["before_rollback", "after_rollback"])
    assert hooked.document("before_rollback")["data"]["restored"]["name"] == backup
    assert hooked.facts("before_rollback")["SNAPKIT_BACKUP"] == backup
    assert hooked.document("after_rollback") == ran.document
    displaced = ran.data["displaced"]["name"]
    assert hooked.facts("after_rollback")["SNAPKIT_DISPLACED"] == displaced

    ran = hooked.run("undo", "--json")
    assert (ran.code, hooked.ran) == (0, ["before_rollback", "after_rollback"])
    assert hooked.facts("before_rollback")["SNAPKIT_OPERATION"] == "undo"
    assert hooked.facts("before_rollback")["SNAPKIT_BACKUP"] == displaced
    assert hooked.document("after_rollback") == ran.document


def test_what_changes_nothing_runs_none(hooked: Hooked) -> None:
    hooked.sandbox.back_up()
    for words in (["backup", "--dry-run"], ["rollback", "--latest", "--dry-run"], ["rollback", "--latest", "--sql"]):
        assert hooked.run(*words).code == 0
        assert hooked.ran == []
    assert hooked.run("prune", "--keep", "1").code == 0
    assert hooked.ran == []


@pytest.mark.parametrize(
    "words",
    [
        ["backup"],
        pytest.param(["rollback", "--latest"], marks=pytest.mark.promise("a hook that fails before a run stops it")),
        ["undo"],
    ],
)
def test_a_failing_hook_before_it_stops_the_run(hooked: Hooked, words: list[str]) -> None:
    sandbox = hooked.sandbox
    sandbox.back_up()
    sandbox.roll_back()
    sandbox.back_up()
    before = [sandbox.row(name) for name in sandbox.databases()]
    failing = "echo on its way; echo no: freeze >&2; exit 7"
    hooked.set({"before_backup": failing, "before_rollback": failing})
    event = "before_backup" if words == ["backup"] else "before_rollback"

    ran = hooked.run(*words, "--json")
    error = ran.document["error"]
    assert (ran.code, error["code"], ran.document["data"]) == (1, "failed", None)
    said = f"The {event} hook ended with exit code 7; it said:\n  on its way\n  no: freeze. Nothing was changed."
    assert error["message"] == said
    assert hooked.ran == [event, "on_failure"]
    assert hooked.document("on_failure") == ran.document
    assert hooked.facts("on_failure")["SNAPKIT_ERROR"] == "failed"
    assert hooked.facts("on_failure")["SNAPKIT_EXIT_CODE"] == "1"

    ran = hooked.run(*words)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("on its way\nno: freeze\n")
    assert "Nothing was changed." in ran.err
    assert [sandbox.row(name) for name in sandbox.databases()] == before


def test_a_missing_and_a_late_hook_before_it_stop_the_run(hooked: Hooked) -> None:
    file = hooked.directory / "snapkit.toml"
    file.write_text('[hooks]\nbefore-backup = ["/nowhere/notify"]\n')
    ran = hooked.run("backup")
    assert ran.code == 1
    assert "The before_backup hook could not be started: No such file or directory." in ran.err
    file.write_text('[hooks]\nbefore-backup = "no-such-program-anywhere"\n')
    ran = hooked.run("backup")
    assert ran.code == 1
    assert "ended with exit code 127" in ran.err
    file.write_text('hook-timeout = "300ms"\n[hooks]\nbefore-backup = "sleep 1000"\n')
    ran = hooked.run("backup")
    assert ran.code == 1
    assert "still running after 300ms (hook-timeout), and was ended" in ran.err
    assert hooked.sandbox.entries() == ()


@pytest.mark.parametrize(
    "script",
    ["exit 3", "sleep 1000", "kill -9 $$", "head -c 10000000 /dev/zero | tr '\\0' x; exit 1"],
    ids=["fails", "hangs", "is killed", "prints 10 MB"],
)
def test_what_goes_wrong_with_a_hook_after_it_is_a_warning(hooked: Hooked, script: str) -> None:
    hooked.set({"after_backup": script}, 'hook-timeout = "8s"' if "sleep" in script else "")
    ran = hooked.run("backup", "--json")
    assert (ran.code, ran.document["status"]) == (0, "success")
    assert [warning["code"] for warning in ran.document["warnings"]] == ["hook_failed"]
    assert len(ran.document["warnings"][0]["message"]) < 1200
    assert len(hooked.sandbox.entries()) == 1
    assert hooked.ran == ["before_backup", "after_backup"]


def test_a_hook_that_fails_on_a_failure_is_a_warning_and_the_error_stays(hooked: Hooked) -> None:
    hooked.set({"on_failure": "exit 9"})
    ran = hooked.run("rollback", "--latest", "--json")
    assert (ran.code, ran.document["error"]["code"]) == (10, "not_found")
    assert [warning["code"] for warning in ran.document["warnings"]] == ["hook_failed"]
    assert hooked.ran == ["on_failure"]


def test_a_server_that_cannot_be_reached_is_a_failure_too(hooked: Hooked) -> None:
    ran = hooked.run("backup", "--url", "postgresql://app@127.0.0.1:1/app", "--json")
    assert (ran.code, hooked.ran) == (12, ["before_backup", "on_failure"])
    assert hooked.facts("on_failure")["SNAPKIT_ERROR"] == "connection"
    assert hooked.facts("on_failure")["SNAPKIT_SERVER"] == "127.0.0.1:1"


def test_what_hooks_say_goes_to_stderr_and_nowhere_if_quiet(hooked: Hooked) -> None:
    hooked.set({"before_backup": "echo to stdout; echo to stderr >&2; printf unended"})
    ran = hooked.run("backup", "--json")
    assert ran.data["backup"]
    assert "to stdout\nto stderr\nunended\n" in ran.err
    assert hooked.run("backup", "--quiet").err == ""


def test_hooks_that_read_nothing_or_leave_something_behind(hooked: Hooked) -> None:
    file = hooked.directory / "snapkit.toml"
    file.write_text('[hooks]\nbefore-backup = "true"\nafter-backup = "sleep 1000 & echo $! > pid"\n')
    ran = hooked.run("backup")
    assert (ran.code, ran.err) == (0, "")
    os.kill(int((hooked.directory / "pid").read_text()), signal.SIGKILL)  # it still was there


def test_a_hook_may_call_snapkit_which_runs_none(hooked: Hooked) -> None:
    again = f"{sys.executable} -m snapkit backup --label again >&2"
    hooked.set({"before_rollback": again, "after_backup": again})
    assert hooked.run("backup").code == 0
    assert hooked.ran == ["before_backup", "after_backup"]
    first = {entry.label: entry.name for entry in hooked.sandbox.entries()}
    assert set(first) == {None, "again"}
    ran = hooked.run("rollback", "--latest", "--json")
    assert ran.data["restored"]["name"] == first["again"]  # the newest when it began, not the one of the hook
    assert [entry.label for entry in hooked.sandbox.entries() if entry.kind == "backup"] == ["again", None]


def test_hooks_get_no_password_that_they_did_not_have(hooked: Hooked) -> None:
    (hooked.directory / ".env").write_text(f"PGPASSWORD={PASSWORD}\n")
    url = f"postgresql://{SUPERUSER}@127.0.0.1:{hooked.sandbox.cluster.port}/{hooked.sandbox.name}"
    hooked.set({event: "exit 1" for event in ALL if event.startswith("after")})
    assert run_snapkit("backup", url=url, cwd=hooked.directory).code == 0
    assert run_snapkit("rollback", "--latest", url=url, cwd=hooked.directory).code == 0
    given = hooked.sandbox.cluster.url(hooked.sandbox.name, tcp=True)
    assert run_snapkit("rollback", "x", "--url", given, cwd=hooked.directory).code == 10
    files = [*hooked.directory.glob("*.json"), *hooked.directory.glob("*.env")]
    files = [file for file in files if file.name != ".env"]
    assert len(files) == 2 * len(ALL)
    for file in files:
        assert PASSWORD not in file.read_text()
        assert PASSWORD.replace("%", "%25") not in file.read_text()


@pytest.mark.parametrize(("event", "code"), [("before_backup", 130), ("after_backup", 0), ("on_failure", 1)])
def test_an_interruption_ends_a_hook(hooked: Hooked, event: str, code: int) -> None:
    more = {event: "echo $$ > pid; sleep 1000"}
    if event == "on_failure":
        more["before_backup"] = "exit 1"
    hooked.set(more)
    (hooked.directory / "ran").write_text("")
    process = subprocess.Popen(
        [sys.executable, "-m", "snapkit", "backup", "--json"],
        env=command_environment(hooked.sandbox.url),
        cwd=hooked.directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    pid = hooked.directory / "pid"
    wait_until(lambda: pid.exists() and pid.read_text().endswith("\n"))
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    document = json.loads(out)
    assert process.returncode == code, err
    assert "Traceback" not in err
    wait_until(lambda: not Path(f"/proc/{int(pid.read_text())}").exists())
    if event == "before_backup":
        assert document["error"]["message"] == "Interrupted in the before_backup hook. Nothing was changed."
        assert hooked.ran == ["before_backup", "on_failure"]
    else:
        assert [warning["code"] for warning in document["warnings"]] == ["hook_failed"]
