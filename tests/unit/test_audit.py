"""What a line of the audit log says, and how it gets into the file."""

from __future__ import annotations

import errno
import json
import os
import stat
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta, timezone
from multiprocessing import get_context
from pathlib import Path

import pytest

from snapkit.cli.audit import AuditRecord, append_to_audit_log, check_audit_log, line_of
from snapkit.core.connection.endpoint import Address, Place
from snapkit.core.guarding import Health
from snapkit.core.inventory.entry import Entry
from snapkit.core.inventory.kinds import Kind
from snapkit.core.secrets import ShownCommand
from snapkit.errors import SnapkitError
from snapkit.services.backup import BackupReceipt, Copying
from snapkit.services.copying.decision import Choice
from snapkit.services.doctor import Diagnosis
from snapkit.services.entries.change import EntryReport
from snapkit.services.entries.drop import Failure
from snapkit.services.guard import GuardReceipt
from snapkit.services.prune import Removal
from snapkit.services.recover import Recovery
from snapkit.services.rollback import SwapReceipt
from snapkit.services.shell import ShellReceipt
from tests.unit.builders import NOW, make_entry

SECOND = timedelta(seconds=1)


def test_a_line_of_the_log() -> None:
    record = AuditRecord(
        at=NOW.astimezone(timezone(timedelta(hours=2))),
        command="rollback",
        source='a"b\nc',
        place=Place("/var/run/postgresql", "5432", None),
        os_user="alice",
        pid=7,
        exit_code=0,
        error=None,
        entries=("one", "zwö"),
        ran=(ShownCommand(("./migrate",), 2), 3),
        outage=timedelta(milliseconds=12),
        duration=SECOND,
    )
    line = line_of(record)
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1
    assert json.loads(line) == {
        "audit_version": 1,
        "time": "2026-07-15T12:00:00.000Z",
        "command": "rollback",
        "source": 'a"b\nc',
        "host": "/var/run/postgresql",
        "port": "5432",
        "os_user": "alice",
        "role": None,
        "pid": 7,
        "exit_code": 0,
        "error": None,
        "entries": ["one", "zwö"],
        "ran": ["./migrate"],
        "ran_words": 2,
        "ran_exit_code": 3,
        "outage_ms": 12,
        "duration_ms": 1000,
    }
    failed = AuditRecord(NOW, "prune", "app", Place("h", "1", "r"), "a", 7, 11, "busy", (), None, None, SECOND)
    assert (json.loads(line_of(failed))["error"], json.loads(line_of(failed))["outage_ms"]) == ("busy", None)


def _swap(restored: Entry, displaced: Entry | None) -> SwapReceipt:
    return SwapReceipt("app", restored, False, 0, displaced, SECOND, (), SECOND, ())


def test_the_databases_that_a_result_tells_of() -> None:
    one, two = make_entry("one"), make_entry("two", kind=Kind.OLD)
    failure = Failure(two, SnapkitError("x"))
    backup = BackupReceipt(one, 1, Choice.FASTEST, Address("h", 1, 180000), Copying(1, SECOND), SECOND, (), SECOND, ())
    assert backup.changed == ("one",)
    assert _swap(one, two).changed == ("one", "two")
    assert _swap(one, None).changed == ("one",)
    assert Removal((), (one, two), (), NOW).changed == ("one", "two")
    assert Removal((), (one,), (failure,), NOW).changed == ("one",)
    assert Recovery((one,), (failure,), ()).changed == ("one",)
    assert EntryReport(one, None, NOW).changed == ("one",)
    assert Diagnosis(()).changed == ()


def test_the_command_that_a_result_tells_of() -> None:
    backup = BackupReceipt(
        make_entry("one"), 1, Choice.FASTEST, Address("h", 1, 180000), Copying(1, SECOND), SECOND, (), SECOND, ()
    )
    migration, psql = ShownCommand(("./migrate",), 2), ShownCommand(("psql",), 1)
    assert GuardReceipt(backup, migration, None, Health.NONE).ran == (migration, None)
    assert ShellReceipt(make_entry("one"), psql, 3).ran == (psql, 3)
    assert backup.ran is None


def test_the_file_is_its_owners_and_only_ever_grows(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    before = os.umask(0)
    try:
        check_audit_log(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    append_to_audit_log(path, b"one\n")
    check_audit_log(path)
    append_to_audit_log(path, b"two\n")
    assert path.read_bytes() == b"one\ntwo\n"


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # nobody reads it: a check that waited would wait for ever
    for path in (tmp_path, tmp_path / "nowhere" / "audit.jsonl", tmp_path / "pipe"):
        with pytest.raises(SnapkitError, match="cannot be opened for appending") as caught:
            check_audit_log(path)
        assert caught.value.state == "Nothing was changed."


def test_what_is_no_file_is_not_synced() -> None:
    append_to_audit_log(Path(os.devnull), b"x\n")


@pytest.mark.parametrize("written", [1, None])
def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int | None) -> None:
    def write(file: int, line: bytes) -> int:
        if written is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return written

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(OSError, match="No space left"):
        append_to_audit_log(tmp_path / "audit.jsonl", b"one\n")


def test_a_failing_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(file: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="Input/output error"):
        append_to_audit_log(tmp_path / "audit.jsonl", b"one\n")


def _write_lines(path: Path, number: int) -> None:
    for count in range(100):
        append_to_audit_log(path, json.dumps([number, count, "x" * (number * 700)]).encode() + b"\n")


def test_the_lines_of_eight_processes_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    with ProcessPoolExecutor(8, mp_context=get_context("spawn")) as pool:
        list(pool.map(_write_lines, [path] * 8, range(8)))
    written = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert sorted(each[:2] for each in written) == [[number, count] for number in range(8) for count in range(100)]
    assert all(each[2] == "x" * (each[0] * 700) for each in written)
