"""A drop that has to wait: for a process of the server that does not answer, or for a standby."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.sandbox import Sandbox, command_environment, wait_until


@contextmanager
def stopped_session(sandbox: Sandbox) -> Iterator[int]:
    """A session elsewhere on the server whose process is stopped: it lets go of no file."""
    if sandbox.version < 15:
        pytest.skip("PostgreSQL 14 waits for no other process when it drops a database")
    with sandbox.connect("postgres", application_name="stuck") as session:
        pid = session.info.backend_pid
        os.kill(pid, signal.SIGSTOP)
        try:
            yield pid
        finally:
            os.kill(pid, signal.SIGCONT)


def _invalid(sandbox: Sandbox) -> list[str]:
    return [name for name in sandbox.databases() if sandbox.row(name)["datconnlimit"] == -2]


def test_a_drop_waits_no_longer_than_it_may_and_says_for_whom(sandbox: Sandbox) -> None:
    first, second = sandbox.back_up().backup.name, sandbox.back_up().backup.name
    with stopped_session(sandbox) as pid:
        ran = sandbox.run("prune", "--keep", "1", "--drop-wait", "3s")
        assert ran.code == 11
        said = " ".join(ran.err.split())
        assert f"Dropping 1 of 1: {first}; it waits for every process of the server" in said
        assert f"pid {pid} (client backend, postgres, stuck), which is stopped" in said
        assert f"'{first}' could not be dropped within 3.0 s." in said
        (left,) = _invalid(sandbox)
        assert f"'{first}' was not dropped. It is invalid now, and its name is '{left}'" in said
        assert sandbox.run("recover", "--json", "--drop-wait", "2s").code == 11
        assert sandbox.run("show", first, "--json").data["entry"]["state"] == "invalid"
    assert sandbox.run("recover").code == 0
    assert sandbox.databases() == [sandbox.name, second]


def test_a_sweep_in_passing_neither_fails_nor_delays_what_it_comes_along_with(sandbox: Sandbox) -> None:
    first, _ = sandbox.back_up().backup.name, sandbox.back_up().backup.name
    with stopped_session(sandbox):
        assert sandbox.run("delete", first, "--drop-wait", "1s").code == 11
        for words in (("backup",), ("rollback", "--latest")):
            ran = sandbox.run(*words, "--json")
            assert ran.code == 0, ran.err
            (caution,) = (each for each in ran.document["warnings"] if each["code"] == "not_swept")
            assert "could not be dropped within 5.0 s" in caution["message"]
    assert "swept" in [each["code"] for each in sandbox.run("backup", "--json").document["warnings"]]
    assert _invalid(sandbox) == []


def test_one_signal_ends_the_wait_with_a_true_account(sandbox: Sandbox, tmp_path: Path) -> None:
    names = [sandbox.back_up().backup.name for _ in range(3)]
    err = tmp_path / "err"
    with stopped_session(sandbox):
        with err.open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "snapkit", "prune", "--keep", "1", "--drop-wait", "10m"],
                env=command_environment(sandbox.url),
                stdin=subprocess.DEVNULL,
                stderr=stderr,
            )
        try:
            wait_until(lambda: "it waits for" in err.read_text())
            process.terminate()
            assert process.wait(60) == 130
        finally:
            process.kill()
        said = " ".join(err.read_text().split())
        assert f"'{names[1]}' was not dropped. It is invalid now" in said
        assert "Certainly dropped: nothing." in said
        assert "Still to be dropped: 1." in said
    assert sandbox.run("prune", "--keep", "1").code == 0
    assert sandbox.databases() == [sandbox.name, names[2]]


def test_a_drop_does_not_wait_for_a_standby(sandbox: Sandbox) -> None:
    first, second = sandbox.back_up().backup.name, sandbox.back_up().backup.name
    sandbox.execute("ALTER SYSTEM SET synchronous_standby_names TO 'nowhere'")
    sandbox.execute("SELECT pg_reload_conf()")
    try:
        wait_until(lambda: sandbox.execute("SHOW synchronous_standby_names") == [("nowhere",)])
        ran = sandbox.run("prune", "--keep", "1", "--json")
    finally:
        sandbox.execute("ALTER SYSTEM RESET synchronous_standby_names")
        sandbox.execute("SELECT pg_reload_conf()")
    assert [each["name"] for each in ran.data["removed"]] == [first]
    assert sandbox.databases() == [sandbox.name, second]
