"""A synchronous standby that does not answer: clients are held no longer than they may be, and what is said is so."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from snapkit.core.inventory.kinds import State, Strategy
from snapkit.core.outage.hold_rules import HoldRules
from snapkit.core.reporting import Caution, unobserved
from snapkit.postgres.connection import driver
from snapkit.services.adopt import adopt_entry
from snapkit.services.backup import BackupRequest, back_up
from snapkit.services.label import label_entry, pin_entry, unpin_entry
from snapkit.services.recover import recover
from snapkit.services.shell import ShellRequest, opened_entry
from tests.cluster import Cluster
from tests.process import Command
from tests.sandbox import LOCK_WAIT, Sandbox, command_environment, wait_until

SECOND = timedelta(seconds=1)


@pytest.fixture(scope="module")
def own_cluster(cluster: Cluster) -> Iterator[Cluster]:
    """A server of its own: on it every COMMIT may have to wait, that of other tests as well."""
    running = Cluster(cluster.binaries)
    try:
        running.start()
        yield running
    finally:
        running.remove()


@pytest.fixture
def sandbox(own_cluster: Cluster) -> Iterator[Sandbox]:
    with psycopg.connect(own_cluster.url("postgres"), autocommit=True) as admin:
        admin.execute("SET synchronous_commit TO local")
        box = Sandbox(own_cluster, admin, "s")
        box.create()
        try:
            yield box
        finally:
            box.remove()


@contextmanager
def standby_gone(sandbox: Sandbox) -> Iterator[None]:
    """Let every COMMIT wait for a standby that does not exist."""

    def configure(value: str) -> None:
        sandbox.execute(f"ALTER SYSTEM SET synchronous_standby_names TO '{value}'")
        sandbox.execute("SELECT pg_reload_conf()")
        wait_until(lambda: _setting(sandbox) == value)

    configure("nowhere")
    try:
        yield
    finally:
        configure("")


def _setting(sandbox: Sandbox) -> str:
    """As a new session sees it: it begins with what the postmaster has read. Released are waits by the checkpointer."""
    with sandbox.connect("postgres") as connection:
        ((value,),) = connection.execute("SHOW synchronous_standby_names").fetchall()
    return str(value)


def _waits_for_standby(sandbox: Sandbox, command: str) -> bool:
    waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query LIKE %s"
    return bool(sandbox.execute(waiting, command + "%"))


class Visitor:
    """A client that comes and goes, and knows how long it once had to wait."""

    def __init__(self, url: str) -> None:
        self.longest = 0.0
        self.visits = 0
        self._url = url
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._visit, daemon=True)
        self._thread.start()

    def _visit(self) -> None:
        wanted = time.monotonic()
        while not self._stopped.is_set():
            try:
                psycopg.connect(self._url).close()
            except psycopg.Error:
                continue
            now = time.monotonic()
            self.longest, self.visits, wanted = max(self.longest, now - wanted), self.visits + 1, now

    def stop(self) -> float:
        """Return the longest wait, in seconds, once it has been served again."""
        before = self.visits
        wait_until(lambda: self.visits > before + 1)
        self._stopped.set()
        self._thread.join()
        return self.longest


@pytest.mark.promise("a synchronous standby that does not answer holds clients no longer")
def test_a_rollback_holds_clients_no_longer_than_it_may_and_has_gone_through(sandbox: Sandbox) -> None:
    before = sandbox.items()
    sandbox.back_up()
    sandbox.ruin()
    limit = 2 * SECOND
    visitor = Visitor(sandbox.url)
    with standby_gone(sandbox):
        receipt = sandbox.roll_back(hold=HoldRules(limit=limit))
        waited = visitor.stop()
    assert sandbox.items() == before
    assert [caution.code for caution in receipt.cautions] == ["not_replicated", "outage_exceeded"]
    # The server answers at once when the wait is cancelled. How long that took is told, and no more than told.
    assert limit <= receipt.outage < 2 * limit
    assert waited < 2 * limit.total_seconds()
    assert sandbox.undo().displaced is not None


def test_the_command_ends_with_success_and_warns(sandbox: Sandbox) -> None:
    sandbox.back_up()
    with standby_gone(sandbox):
        done = sandbox.run("rollback", "--latest", "--max-outage", "500ms", "--json")
    assert done.code == 0
    assert [each["code"] for each in done.document["warnings"]] == ["not_replicated", "outage_exceeded"]
    assert done.data["outage_ms"] >= 500


def test_a_standby_that_comes_back_in_time_changes_nothing(sandbox: Sandbox) -> None:
    sandbox.back_up()
    with standby_gone(sandbox):
        waits = threading.Event()

        def come_back() -> None:
            with psycopg.connect(sandbox.cluster.url("postgres"), autocommit=True) as admin:
                admin.execute("SET synchronous_commit TO local")
                seen = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query LIKE 'COMMIT%%'"
                wait_until(lambda: bool(admin.execute(seen).fetchall()))
                waits.set()
                admin.execute("ALTER SYSTEM SET synchronous_standby_names TO ''")
                admin.execute("SELECT pg_reload_conf()")

        thread = threading.Thread(target=come_back)
        thread.start()
        receipt = sandbox.roll_back(hold=HoldRules(limit=60 * SECOND))
        thread.join()
    assert waits.is_set()
    assert receipt.cautions == ()


def test_a_server_that_does_not_heed_the_cancelling_is_asked_what_became_of_it(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the network has fallen silent: another connection ends the session, and looks."""
    monkeypatch.setattr(driver, "CANCEL_LIMIT", SECOND / 2)
    monkeypatch.setattr(driver.DriverConnection, "cancel_safe", lambda self, *, timeout: None)
    before = sandbox.items()
    sandbox.back_up()
    sandbox.ruin()
    with standby_gone(sandbox):
        receipt = sandbox.roll_back(hold=HoldRules(limit=SECOND / 2))
    assert sandbox.items() == before
    assert [caution.code for caution in receipt.cautions] == ["not_replicated", "outage_exceeded"]
    assert "it is not known" in receipt.cautions[0].message


def test_a_commit_that_says_it_was_cancelled_is_not_believed_but_looked_up(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cancelling may meet the server a moment after the deed, and make an error of the answer."""
    wait = driver.DriverConnection._wait_within

    def answered_with_an_error(self: driver.DriverConnection, *arguments: object) -> object:
        wait(self, *arguments)  # type: ignore[arg-type]
        raise psycopg.errors.QueryCanceled("canceling statement due to user request")

    before = sandbox.items()
    sandbox.back_up()
    sandbox.ruin()
    with standby_gone(sandbox), monkeypatch.context() as patched:
        limited = driver.DriverConnection.wait

        def wait_(self: driver.DriverConnection, gen: object, *arguments: object, **options: object) -> object:
            if self.cancel_after() is None:
                return limited(self, gen, *arguments, **options)  # type: ignore[arg-type]
            patched.setattr(driver.DriverConnection, "_wait_within", answered_with_an_error)
            try:
                return limited(self, gen, *arguments, **options)  # type: ignore[arg-type]
            finally:
                patched.setattr(driver.DriverConnection, "_wait_within", wait)

        patched.setattr(driver.DriverConnection, "wait", wait_)
        receipt = sandbox.roll_back(hold=HoldRules(limit=SECOND / 2))
    assert sandbox.items() == before
    assert "outage_exceeded" in [caution.code for caution in receipt.cautions]


@pytest.mark.promise("a clone does not wait for standbys")
def test_a_clone_does_not_wait_for_standbys_while_it_holds_clients(sandbox: Sandbox) -> None:
    """The COMMIT that makes it a backup does, and holds nobody; what a standby has of that, it has of the clone."""
    visitor = Visitor(sandbox.url)
    receipts = []
    with standby_gone(sandbox):
        thread = threading.Thread(
            target=lambda: receipts.append(sandbox.back_up(strategy=Strategy.FILE_COPY)), daemon=True
        )
        thread.start()
        wait_until(lambda: _waits_for_standby(sandbox, "COMMIT"))
        visitor.stop()  # is served while the backup waits
        assert not receipts
    thread.join(60)
    (receipt,) = receipts
    assert receipt.cautions == ()
    assert [entry.name for entry in sandbox.entries()] == [receipt.backup.name]


# --- nothing that no standby has confirmed is told as if one had ------------------------------------------------------


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer may take two seconds, not sixty."""
    monkeypatch.setattr(driver.DriverConnection, "answer_limit", 2 * SECOND)


def _not_replicated(cautions: tuple[Caution, ...]) -> list[str]:
    assert [caution.code for caution in cautions] == ["not_replicated"], cautions
    return [caution.message for caution in cautions]


@pytest.mark.promise("what no standby has confirmed is told")
def test_whatever_no_standby_confirms_is_told(sandbox: Sandbox, impatient: None) -> None:
    unmanaged = f"{sandbox.name}_backup_20200101_000000"
    sandbox.execute(
        sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(unmanaged), sql.Identifier(sandbox.name))
    )
    there = sandbox.server()
    heard: list[str] = []
    with standby_gone(sandbox):
        receipt = back_up(there, BackupRequest(), LOCK_WAIT, lambda progress: heard.append(progress.phase))
        (said,) = _not_replicated(receipt.cautions)
        assert said.startswith("The backup is committed on this server, but no synchronous standby has confirmed it.")
        assert "Waiting for a synchronous standby to confirm the backup" in heard
        name = receipt.backup.name
        _not_replicated(pin_entry(there, name, None, LOCK_WAIT).cautions)
        _not_replicated(unpin_entry(there, name, LOCK_WAIT).cautions)
        _not_replicated(label_entry(there, name, "before", LOCK_WAIT).cautions)
        _not_replicated(adopt_entry(there, unmanaged, LOCK_WAIT).cautions)
        _not_replicated(sandbox.roll_back(name).cautions)
        _not_replicated(sandbox.undo().cautions)
    assert {entry.name: entry.state for entry in sandbox.entries()}[unmanaged] is State.READY


def test_what_recover_seals_is_told_if_no_standby_confirms_it(sandbox: Sandbox, impatient: None) -> None:
    name = sandbox.back_up().backup.name
    with Killed(sandbox, name), standby_gone(sandbox):
        ran = recover(sandbox.server(), LOCK_WAIT, unobserved)
    assert [entry.name for entry in ran.sealed] == [name]
    (said,) = _not_replicated(ran.cautions)
    assert said.startswith(f"The sealing of {name!r}")


def test_what_a_shell_opens_and_seals_is_told_if_no_standby_confirms_it(sandbox: Sandbox, impatient: None) -> None:
    name = sandbox.back_up().backup.name
    heard: list[str] = []
    with standby_gone(sandbox):
        request = ShellRequest(name, command=("true",))
        told = opened_entry(sandbox.server(), request, LOCK_WAIT, lambda progress: heard.append(progress.phase))
        with told as opened:
            (said,) = _not_replicated(opened.cautions)
            assert said.startswith(f"The opening of {name!r} is committed on this server, but no synchronous standby")
            assert f"Waiting for a synchronous standby to confirm the opening of {name!r}" in heard
        (said,) = _not_replicated(tuple(opened.afterwards))
    assert said.startswith(f"The sealing of {name!r}")
    assert sandbox.entries()[0].state is State.READY


def test_the_shell_itself_tells_what_no_standby_has_confirmed(sandbox: Sandbox) -> None:
    name = sandbox.back_up().backup.name
    with standby_gone(sandbox):
        command = Command(["shell", "--json", name, "--", "true"], command_environment(sandbox.url), impatient=True)
        try:
            command.start()
            assert command.wait(60) == 0, command.output()
            warned = [each["code"] for each in command.document()["warnings"]]
        finally:
            command.end()
    assert warned == ["not_replicated", "not_replicated"]


class Killed:
    """A shell that was killed, and has left its entry open."""

    def __init__(self, sandbox: Sandbox, name: str) -> None:
        self._command = Command(
            [
                "shell",
                name,
                "--",
                sys.executable,
                "-c",
                "import os, time\nwhile os.getppid() > 1:\n    time.sleep(0.2)",
            ],
            command_environment(sandbox.url),
        )
        self._command.start()
        wait_until(lambda: bool(sandbox.row(name)["datallowconn"]))
        self._command.send(signal.SIGKILL)
        self._command.wait(60)

    def __enter__(self) -> Killed:
        return self

    def __exit__(self, *error: object) -> None:
        self._command.end()


@pytest.mark.parametrize("words", [("backup",), ("pin", "latest"), ("rollback", "--latest")])
def test_one_sigterm_ends_the_wait_and_the_account_is_true(sandbox: Sandbox, words: tuple[str, ...]) -> None:
    name = sandbox.back_up(label="latest").backup.name
    with standby_gone(sandbox):
        command = Command([words[0], "--json", *words[1:]], command_environment(sandbox.url))
        try:
            command.start()
            wait_until(lambda: _waits_for_standby(sandbox, "COMMIT"))
            command.send(signal.SIGTERM)
            code = command.wait(60)
            document = command.document()
        finally:
            command.end()
    assert code == 0, document
    assert [each["code"] for each in document["warnings"]] == ["not_replicated"]
    entries = {entry.name: entry for entry in sandbox.entries()}
    assert len(entries) == (2 if words[0] == "backup" else 1)
    assert words[0] != "pin" or entries[name].pinned


def _guarded(
    sandbox: Sandbox, place: Path, *flags: str, number: signal.Signals | None = None
) -> tuple[int, dict[str, Any]]:
    """Guard a command that leaves a file; what answers late is given up soon."""
    words = ["guard", "--json", *flags, "--", "touch", str(place / "was-run")]
    command = Command(words, command_environment(sandbox.url), impatient=True)
    try:
        command.start()
        if number is not None:
            wait_until(lambda: _waits_for_standby(sandbox, "COMMIT"))
            command.send(number)
        code = command.wait(60)
        assert code is not None
        return code, command.document()
    finally:
        command.end()


def test_a_guard_does_not_run_its_command_behind_a_backup_that_no_standby_has(sandbox: Sandbox, tmp_path: Path) -> None:
    with standby_gone(sandbox):
        code, document = _guarded(sandbox, tmp_path)
        assert (code, document["error"]["code"]) == (1, "failed")
        assert "--allow-unreplicated" in document["error"]["message"]
        assert "The command was not run" in document["error"]["message"]
        assert not (tmp_path / "was-run").exists()
        code, document = _guarded(sandbox, tmp_path, "--allow-unreplicated")
        assert code == 0, document
        assert [each["code"] for each in document["warnings"]] == ["not_replicated"]
        assert (tmp_path / "was-run").exists()


def test_a_guard_that_is_told_to_end_while_its_backup_waits_does_not_run_its_command(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    with standby_gone(sandbox):
        code, document = _guarded(sandbox, tmp_path, "--allow-unreplicated", number=signal.SIGTERM)
    assert (code, document["error"]["code"]) == (130, "interrupted")
    assert "The command was not run" in document["error"]["message"]
    assert not (tmp_path / "was-run").exists()
    (entry,) = sandbox.entries()
    assert entry.name in document["error"]["message"]
