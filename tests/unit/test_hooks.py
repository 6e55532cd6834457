"""What hooks are told, what their end means, and how they are read from the settings file."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from snapkit.core.hooks import (
    DEFAULT_TIMEOUT,
    Event,
    Occasion,
    Operation,
    command_words,
    facts_after,
    facts_before,
    facts_of_failure,
    runs_hooks,
)
from snapkit.core.inventory.kinds import Kind
from snapkit.errors import UsageError
from snapkit.processes.background import run_in_background
from snapkit.processes.command_exit import KEPT_BYTES, Ending, complaint
from snapkit.settings.fields import SETTINGS, Settings
from snapkit.settings.files import read_files
from snapkit.settings.load import load_settings
from tests.sandbox import wait_until
from tests.unit.builders import make_entry

MINUTE = timedelta(minutes=1)
BACKUP = Occasion(Operation.BACKUP, "guard", "app", "db:5432", label="v42")


# What they are told


def test_an_undo_counts_as_a_rollback() -> None:
    assert [(each.before, each.after) for each in (Operation.BACKUP, Operation.ROLLBACK, Operation.UNDO)] == [
        (Event.BEFORE_BACKUP, Event.AFTER_BACKUP),
        (Event.BEFORE_ROLLBACK, Event.AFTER_ROLLBACK),
        (Event.BEFORE_ROLLBACK, Event.AFTER_ROLLBACK),
    ]


def test_the_facts_before() -> None:
    assert facts_before(Event.BEFORE_BACKUP, BACKUP) == {
        "SNAPKIT_EVENT": "before_backup",
        "SNAPKIT_COMMAND": "guard",
        "SNAPKIT_OPERATION": "backup",
        "SNAPKIT_SOURCE": "app",
        "SNAPKIT_SERVER": "db:5432",
        "SNAPKIT_BACKUP": "",
        "SNAPKIT_LABEL": "v42",
    }
    entry = make_entry(label=None)
    facts = facts_before(Event.BEFORE_ROLLBACK, Occasion(Operation.UNDO, "undo", "app", "db:5432", entry))
    assert (facts["SNAPKIT_BACKUP"], facts["SNAPKIT_LABEL"]) == (entry.name, "")


def test_the_facts_after() -> None:
    entry, displaced = make_entry(label="v42"), make_entry("app_old_20260110_103046", kind=Kind.OLD)
    second, both = timedelta(seconds=1), timedelta(seconds=1.5)
    assert facts_after(entry, displaced, second, both) == {
        "SNAPKIT_BACKUP": entry.name,
        "SNAPKIT_LABEL": "v42",
        "SNAPKIT_DISPLACED": displaced.name,
        "SNAPKIT_OUTAGE_MS": "1000",
        "SNAPKIT_DURATION_MS": "1500",
    }
    assert facts_after(entry, None, second, both)["SNAPKIT_DISPLACED"] == ""


def test_the_facts_of_a_failure_fit_into_an_environment() -> None:
    facts = facts_of_failure("busy", 11, "a\0b" + "c" * 1_000_000)
    assert (facts["SNAPKIT_ERROR"], facts["SNAPKIT_EXIT_CODE"]) == ("busy", "11")
    assert facts["SNAPKIT_ERROR_MESSAGE"].startswith("abccc")
    assert len(facts["SNAPKIT_ERROR_MESSAGE"]) == 4000


def test_no_fact_has_the_name_of_a_setting() -> None:
    """A snapkit that a hook calls must not take what the hook was told for its settings."""
    entry = make_entry()
    facts = facts_before(Event.ON_FAILURE, BACKUP) | facts_after(entry, entry, MINUTE, MINUTE)
    facts |= facts_of_failure("busy", 11, "")
    settings = {setting.variable for setting in SETTINGS.values()}
    assert not facts.keys() & (settings | {"SNAPKIT_DATABASE_URL", "SNAPKIT_PG_BIN"})


def test_a_snapkit_that_a_hook_calls_runs_none() -> None:
    assert runs_hooks({"SNAPKIT_BACKUP": "x"})
    assert not runs_hooks(facts_before(Event.AFTER_BACKUP, BACKUP))


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        (Ending(0, b"all is well"), None),
        (Ending(3), "The on_failure hook ended with exit code 3, without output."),
        (Ending(3, b"\n \n"), "The on_failure hook ended with exit code 3, without output."),
        (
            Ending(3, b"one\n\ntwo\xff\n"),
            "The on_failure hook ended with exit code 3; it said:\n  one\n  two\ufffd",
        ),
        (Ending(-9), "The on_failure hook was ended by signal 9, without output."),
        (
            Ending(None, b"waiting"),
            "The on_failure hook was still running after 1m (hook-timeout), and was ended; it said:\n  waiting",
        ),
        (
            Ending(None, not_started="No such file or directory"),
            "The on_failure hook could not be started: No such file or directory.",
        ),
    ],
)
def test_what_is_said_of_an_end(ending: Ending, expected: str | None) -> None:
    assert complaint(Event.ON_FAILURE, ending, MINUTE) == expected


def test_of_a_long_output_the_end_is_quoted() -> None:
    said = complaint(Event.BEFORE_BACKUP, Ending(1, b"".join(b"line %d\n" % n for n in range(500))), MINUTE)
    assert said is not None
    assert said.splitlines()[1:] == [f"  line {n}" for n in range(490, 500)]
    one_line = complaint(Event.BEFORE_BACKUP, Ending(1, b"x" * KEPT_BYTES), MINUTE)
    assert one_line is not None
    assert len(one_line) < 1100


# How they are read


def _settings(directory: Path, text: str, environment: Mapping[str, str] | None = None) -> Settings:
    (directory / "snapkit.toml").write_text(text)
    return load_settings({}, environment or {}, read_files(directory))


def test_a_text_is_for_the_shell_and_a_list_is_a_program(tmp_path: Path) -> None:
    assert command_words("a b") == ("sh", "-c", "a b")
    settings = _settings(tmp_path, 'hook-timeout = "5m"\n[hooks]\nbefore-backup = "a | b"\non_failure = ["c", "d e"]\n')
    assert settings.hooks.commands == {Event.BEFORE_BACKUP: ("sh", "-c", "a | b"), Event.ON_FAILURE: ("c", "d e")}
    assert settings.hooks.timeout == timedelta(minutes=5)


def test_without_hooks(tmp_path: Path) -> None:
    hooks = _settings(tmp_path, "keep = 2\n").hooks
    assert (hooks.commands, hooks.timeout) == ({}, DEFAULT_TIMEOUT)


def test_pyproject_has_them_too(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.snapkit.hooks]\nafter-rollback = "x"\n')
    assert list(load_settings({}, {}, read_files(tmp_path)).hooks.commands) == [Event.AFTER_ROLLBACK]


def test_no_variable_names_a_hook(tmp_path: Path) -> None:
    variables = {"SNAPKIT_HOOKS": "x", "SNAPKIT_BEFORE_BACKUP": "x", "SNAPKIT_HOOK_COMMANDS": "x"}
    assert _settings(tmp_path, "", variables).hooks.commands == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('hooks = "x"', "'hooks' is not a table"),
        ('[hooks]\nbefore-bakcup = "x"', "unknown hook 'before-bakcup'"),
        ("[hooks]\nbefore-backup = 1", "must be a text"),
        ('[hooks]\nbefore-backup = " "', "must be a text"),
        ("[hooks]\nbefore-backup = []", "must be a text"),
        ('[hooks]\nbefore-backup = [""]', "must be a text"),
        ('[hooks]\nbefore-backup = ["x", 1]', "must be a text"),
        ('hook-commands = "x"', "unknown key 'hook-commands'"),
        ('hook-timeout = "0s"', "longer than 0"),
    ],
)
def test_what_cannot_be_understood(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        _settings(tmp_path, text)


def test_the_audit_log_is_named_by_the_environment_or_the_file(tmp_path: Path) -> None:
    assert _settings(tmp_path, "").audit_log is None
    assert _settings(tmp_path, 'audit-log = "a.jsonl"').audit_log == tmp_path / "a.jsonl"
    named = {"SNAPKIT_AUDIT_LOG": "/var/log/b.jsonl"}
    assert _settings(tmp_path, 'audit-log = "a.jsonl"', named).audit_log == Path("/var/log/b.jsonl")


# How they are run


def _run(script: str, document: str = "{}") -> tuple[Ending, bytes]:
    heard = bytearray()
    ending = run_in_background(("sh", "-c", script), os.environ, document, MINUTE, heard.extend)
    return ending, bytes(heard)


def test_it_gets_the_document_and_its_output_is_passed_on() -> None:
    document = "x" * 1_000_000
    ending, heard = _run("wc -c; echo wrong >&2; exit 3", document=document)
    assert (ending.code, heard.split()) == (3, [b"1000000", b"wrong"])
    assert ending.said == heard


def test_one_that_reads_nothing_breaks_no_pipe() -> None:
    ending, heard = _run("exec true", document="x" * 10_000_000)
    assert (ending.code, heard) == (0, b"")


def test_of_ten_megabytes_the_end_is_kept() -> None:
    ending, heard = _run("head -c 10000000 /dev/zero | tr '\\0' x; printf end")
    assert ending.code == 0
    assert (len(heard), len(ending.said), ending.said[-3:]) == (10_000_004, KEPT_BYTES, b"end")


def test_one_that_cannot_be_started() -> None:
    for words in (("/nowhere/at/all",), ("a\0b",), ("/",)):
        ending = run_in_background(words, os.environ, "{}", MINUTE, lambda said: None)
        assert ending.code is None
        assert ending.not_started


def test_one_whose_child_holds_its_output_open_is_not_waited_for(tmp_path: Path) -> None:
    ending, heard = _run(f"sleep 1000 & echo $! > {tmp_path}/pid; echo done")
    pid = int((tmp_path / "pid").read_text())
    os.kill(pid, signal.SIGKILL)  # and so it was still there
    assert (ending.code, heard) == (0, b"done\n")


def test_one_whose_child_writes_for_ever_is_not_waited_for(tmp_path: Path) -> None:
    ending, _ = _run(f"yes & echo $! > {tmp_path}/pid")
    assert ending.code == 0


def test_one_that_closes_its_output_is_waited_for(tmp_path: Path) -> None:
    ending, _ = _run("exec >&- 2>&-; sleep 0.2; exit 4")
    assert ending.code == 4


class Clock:
    """Stands for the monotonic clock: a minute passes whenever a hook says something."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._ahead = 0
        monkeypatch.setattr("snapkit.processes.deadline.monotonic", lambda: time.monotonic() + self._ahead)

    def run(self, script: str) -> Ending:
        return run_in_background(("sh", "-c", script), os.environ, "{}", MINUTE, self._pass_on)

    def _pass_on(self, said: bytes) -> None:
        self._ahead += 60


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_a_late_one_is_ended_with_all_that_it_started(tmp_path: Path, clock: Clock) -> None:
    ending = clock.run(f"sleep 1000 & echo $! > {tmp_path}/pid; echo begun; wait")
    assert (ending.code, ending.said) == (None, b"begun\n")
    _gone(int((tmp_path / "pid").read_text()))


def test_a_late_one_that_will_not_hear_is_killed(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snapkit.processes.ending.GRACE", 0.2)
    ending = clock.run(f"trap '' TERM; echo $$ > {tmp_path}/pid; echo begun; while :; do sleep 1000; done")
    assert ending.code is None
    _gone(int((tmp_path / "pid").read_text()))


def test_an_interruption_ends_it(tmp_path: Path) -> None:
    def interrupt(said: bytes) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_in_background(
            ("sh", "-c", f"echo $$ > {tmp_path}/pid; echo x; sleep 1000"), os.environ, "", MINUTE, interrupt
        )
    _gone(int((tmp_path / "pid").read_text()))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_while_it_starts_ends_it_too(monkeypatch: pytest.MonkeyPatch, number: signal.Signals) -> None:
    start = subprocess.Popen
    started = []

    def interrupted(*words: Any, **options: Any) -> Any:
        started.append(start(*words, **options))
        signal.raise_signal(number)
        return started[0]

    monkeypatch.setattr(subprocess, "Popen", interrupted)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_in_background(("sleep", "1000"), os.environ, "", MINUTE, lambda said: None)
        assert signal.getsignal(signal.SIGTERM) is signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, before)
    assert [process.poll() for process in started] == [-signal.SIGTERM]


def _gone(pid: int) -> None:
    def is_gone() -> bool:
        try:
            os.kill(pid, 0)
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (ProcessLookupError, FileNotFoundError):
            return True
        return state == "Z"  # nobody reaps it here

    wait_until(is_gone)
