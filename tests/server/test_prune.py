"""Prune, on a real server."""

from __future__ import annotations

import pytest
from psycopg import sql

from snapkit.core.inventory.retention import Policy
from snapkit.errors import BusyError
from snapkit.services.prune import Removal, RemovalPreview, choose_by_name, choose_by_policy, preview_removal, remove
from tests.sandbox import LOCK_WAIT, Sandbox, entry_names


def _prune(sandbox: Sandbox, policy: Policy, confirmed: RemovalPreview | None = None) -> Removal:
    return remove(sandbox.server(), choose_by_policy(policy, sandbox.name), LOCK_WAIT, confirmed=confirmed)


def _delete(sandbox: Sandbox, *names: str) -> Removal:
    return remove(sandbox.server(), choose_by_name(names, sandbox.name), LOCK_WAIT)


@pytest.mark.command("prune")
def test_prune_keeps_the_newest_and_says_what_came_free(sandbox: Sandbox) -> None:
    names = [sandbox.back_up().backup.name for _ in range(4)]
    removal = _prune(sandbox, Policy(last=2))
    assert entry_names(removal.removed) == names[1::-1]
    assert [each.entry.name for each in removal.kept] == names[:1:-1]
    assert removal.freed_bytes == sum(entry.size_bytes or 0 for entry in removal.removed) > 0
    assert sandbox.databases() == [sandbox.name, *names[2:]]


@pytest.mark.promise("only what snapkit made is dropped")
def test_prune_touches_nothing_that_is_not_provably_ours(sandbox: Sandbox) -> None:
    strangers = [
        f"{sandbox.name}_backup_20260110_103045",
        f"{sandbox.name}_backup_old",
        f"{sandbox.name}Xbackup_20260110_103045",
    ]
    for name in strangers:
        sandbox.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    pinned = sandbox.back_up(pinned=True).backup.name
    dropped = sandbox.back_up().backup.name
    displaced = sandbox.roll_back(sandbox.back_up().backup.name).displaced
    assert displaced is not None
    newest = sandbox.back_up().backup.name
    removal = _prune(sandbox, Policy(last=1))
    assert entry_names(removal.removed) == [dropped]
    assert set(sandbox.databases()) == {sandbox.name, *strangers, pinned, displaced.name, newest}


def test_keep_old_alone_drops_displaced_databases_and_no_backup(sandbox: Sandbox) -> None:
    for _ in range(2):
        sandbox.back_up()
        sandbox.roll_back()
    backup = sandbox.back_up().backup.name
    assert len(_prune(sandbox, Policy(old=1)).removed) == 1
    assert len(_prune(sandbox, Policy(old=0)).removed) == 1
    assert sandbox.databases()[1:] == [backup]


def test_an_invalid_backup_of_ours_is_dropped_and_counts_for_nothing(sandbox: Sandbox) -> None:
    kept = sandbox.back_up().backup.name
    invalid = sandbox.back_up().backup.name
    sandbox.execute("UPDATE pg_database SET datconnlimit = -2 WHERE datname = %s", invalid)
    assert entry_names(_prune(sandbox, Policy(last=1)).removed) == [invalid]
    assert sandbox.databases() == [sandbox.name, kept]


def test_a_drop_that_fails_does_not_stop_the_others(sandbox: Sandbox) -> None:
    names = [sandbox.back_up().backup.name for _ in range(4)]
    sandbox.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(names[1])))
    with sandbox.connect(names[1]):
        removal = _prune(sandbox, Policy(last=1))
    assert entry_names(removal.removed) == [names[2], names[0]]
    assert [failure.entry.name for failure in removal.failed] == [names[1]]
    assert isinstance(removal.failed[0].error, BusyError)
    with sandbox.connect(names[1]), pytest.raises(BusyError):
        _delete(sandbox, names[1])


@pytest.mark.promise("only what was shown is dropped")
def test_what_was_not_shown_is_not_dropped(sandbox: Sandbox) -> None:
    first = sandbox.back_up().backup.name
    second = sandbox.back_up().backup.name
    preview = preview_removal(sandbox.server(), choose_by_policy(Policy(last=1), sandbox.name))
    assert entry_names(preview.removed) == [first]
    third = sandbox.back_up().backup.name
    removal = _prune(sandbox, Policy(last=1), preview)
    assert entry_names(removal.removed) == [first]
    assert sandbox.databases() == [sandbox.name, second, third]
