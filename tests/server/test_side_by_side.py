"""Many runs at once, on one source and on several, by several roles, in processes of their own."""

from __future__ import annotations

from typing import Any

import pytest
from psycopg import sql

from snapkit.core.inventory.kinds import State
from snapkit.core.reporting import unobserved
from snapkit.errors import BusyError
from snapkit.postgres.connection.conninfo import target_of
from snapkit.postgres.connection.server import Connection, Server
from snapkit.services import backup
from snapkit.services.entries.finish import finish_backup
from snapkit.services.run.survey import ServerState, gather
from tests.process import Command
from tests.sandbox import LOCK_WAIT, Sandbox, command_environment, wait_until

DOCUMENTED = {0, 3, 10, 11}
"""Done; some of several could not be dropped; there was no backup yet, or no more; another run was in the way."""


def _run_all(commands: list[tuple[str, str]], wait: str) -> list[tuple[str, int | None, str]]:
    running = [
        (words, Command([*words.split(), "--json", "--lock-wait", wait], command_environment(url)))
        for url, words in commands
    ]
    try:
        for _, command in running:
            command.start()
        return [(words, command.wait(120), command.output()[0]) for words, command in running]
    finally:
        for _, command in running:
            command.end()


def _owned(box: Sandbox) -> str:
    """Give the source to an ordinary owner; return its URL."""
    owner = box.role("owner", "LOGIN CREATEDB IN ROLE pg_signal_backend")
    change = sql.SQL("ALTER DATABASE {} OWNER TO {}")
    box.execute(change.format(sql.Identifier(box.name), sql.Identifier(owner)))
    with box.connect() as connection:
        connection.execute(sql.SQL("ALTER TABLE item OWNER TO {}").format(sql.Identifier(owner)))
    return box.cluster.url(box.name, user=owner)


def test_whatever_runs_at_once_ends_with_a_documented_code_and_keeps_the_promises(sandbox: Sandbox) -> None:
    owner = _owned(sandbox)
    sandbox.back_up()
    words = [
        "backup",
        "backup --pin",
        "prune --keep 2",
        "rollback --latest",
        "list --sizes",
        "undo",
        "backup",
        "recover",
    ]
    commands = [(owner if number % 2 else sandbox.url, each) for number, each in enumerate(words)]
    with sandbox.reconnecting_clients(2, owner):
        for wait in ("60s", "1s"):
            for words_, code, out in _run_all(commands, wait):
                assert code in DOCUMENTED, (words_, code, out)
                assert wait == "1s" or code != 11, (words_, out)
    assert len(sandbox.items()) >= 100
    assert all(entry.state is State.READY for entry in sandbox.entries())
    assert all(not sandbox.row(entry.name)["datallowconn"] for entry in sandbox.entries())
    assert not [name for name in sandbox.databases() if "_partial_" in name]
    wait_until(lambda: sandbox.execute("SELECT 1 FROM pg_locks WHERE locktype = 'advisory'") == [])


def test_runs_on_several_sources_do_not_wait_for_each_other(sandbox: Sandbox) -> None:
    others = [f"{sandbox.prefix}_other{number}" for number in range(3)]
    for name in others:
        sandbox.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    commands = [(sandbox.cluster.url(name), "backup") for name in (sandbox.name, *others)]
    for words, code, out in _run_all(commands, "0s"):
        assert code == 0, (words, out)


def test_a_run_that_fails_drops_no_clone_of_another_run(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that work from different maintenance databases do not wait for each other, and choose the same name."""
    work = f"{sandbox.prefix}_work"
    sandbox.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(work)))
    other = Server(target_of(sandbox.url), work)
    failed: list[str] = []

    def gather_at_once(connection: Connection, source: str) -> ServerState:
        seen.append(gather(connection, source))
        return seen[0]

    seen: list[ServerState] = []
    monkeypatch.setattr(backup, "gather", gather_at_once)

    def finish_after_the_other(*given: Any) -> Any:
        monkeypatch.setattr(backup, "finish_backup", finish_backup)
        with pytest.raises(BusyError, match="already exists") as caught:
            backup.back_up(other, backup.BackupRequest(), LOCK_WAIT, unobserved)
        failed.append(caught.value.state or "")
        return finish_backup(*given)

    monkeypatch.setattr(backup, "finish_backup", finish_after_the_other)
    name = sandbox.back_up().backup.name
    assert [each.split(". ")[-1] for each in failed] == ["No backup was made."]
    assert sandbox.databases() == [sandbox.name, work, name]
    assert [(each.name, each.state) for each in sandbox.entries()] == [(name, State.READY)]
