"""Entries that are not as snapkit sealed them: opened by hand, or opened and closed again."""

from __future__ import annotations

import json
import sys

import pytest
from psycopg import sql

from snapkit.core.inventory.kinds import State
from snapkit.core.inventory.retention import Policy
from snapkit.errors import NotFoundError, UsageError
from snapkit.services.adopt import adopt_entry
from snapkit.services.label import label_entry, pin_entry, unpin_entry
from snapkit.services.list import show_entry
from snapkit.services.prune import choose_by_name, choose_by_policy, remove
from tests.sandbox import LOCK_WAIT, Sandbox


def _alter(sandbox: Sandbox, name: str, options: str) -> None:
    sandbox.execute(sql.SQL("ALTER DATABASE {} {}").format(sql.Identifier(name), sql.SQL(options)))


def _open_and_write(sandbox: Sandbox, name: str) -> None:
    _alter(sandbox, name, "ALLOW_CONNECTIONS true")
    with sandbox.connect(name) as connection:
        connection.execute("DELETE FROM item")


def _states(sandbox: Sandbox) -> dict[str, State]:
    return {entry.name: entry.state for entry in sandbox.entries()}


@pytest.mark.parametrize(
    "closed_again", [False, pytest.param(True, marks=pytest.mark.promise("what was opened by hand is no way back"))]
)
def test_what_was_opened_by_hand_is_no_way_back_and_uses_up_no_place(sandbox: Sandbox, closed_again: bool) -> None:
    first, second = sandbox.back_up().backup.name, sandbox.back_up().backup.name
    _open_and_write(sandbox, second)
    if closed_again:
        _alter(sandbox, second, "ALLOW_CONNECTIONS false")
    assert _states(sandbox) == {first: State.READY, second: State.ALTERED}
    listed = sandbox.run("list", "--json").document
    assert [each["code"] for each in listed["warnings"]] == ["altered"]
    assert [each["state"] for each in listed["data"]["entries"]] == ["altered", "ready"]
    assert sandbox.run("show", second, "--json").data["entry"]["altered"]
    refused = sandbox.run("rollback", second)
    assert refused.code == 2
    assert f"snapkit adopt {second}" in refused.err
    removal = remove(sandbox.server(), choose_by_policy(Policy(last=1), sandbox.name), LOCK_WAIT)
    assert removal.removed == ()
    assert {each.entry.name: each.reasons for each in removal.kept} == {
        first: ("last 1",),
        second: ("altered; last 1",),
    }
    assert f"snapkit adopt {second}" in sandbox.run("show", second).out
    sandbox.ruin()
    receipt = sandbox.roll_back()
    assert receipt.restored.name == first
    assert [each.code for each in receipt.cautions] == ["altered"]
    assert len(sandbox.items()) == 100


def test_what_was_altered_is_made_ready_by_adopt_as_it_is(sandbox: Sandbox) -> None:
    name = sandbox.back_up(label="v1").backup.name
    _open_and_write(sandbox, name)
    entry = adopt_entry(sandbox.server(), name, LOCK_WAIT).entry
    assert (entry.state, entry.label) == (State.READY, "v1")
    assert _states(sandbox) == {name: State.READY}
    assert not sandbox.row(name)["datallowconn"]
    sandbox.roll_back()
    assert sandbox.items() == []


def test_what_was_altered_goes_when_it_is_named(sandbox: Sandbox) -> None:
    name = sandbox.back_up().backup.name
    _open_and_write(sandbox, name)
    with pytest.raises(NotFoundError):
        sandbox.roll_back()
    removal = remove(sandbox.server(), choose_by_name([name], sandbox.name), LOCK_WAIT)
    assert sandbox.databases() == [sandbox.name]
    assert removal.cautions == ()


@pytest.mark.promise("what snapkit does to a backup leaves it ready")
def test_what_snapkit_does_to_an_entry_alters_nothing(sandbox: Sandbox) -> None:
    """Every command that writes an entry's comment writes its row too, and neither vacuuming nor freezing does."""
    name = sandbox.back_up().backup.name
    server = sandbox.server()
    assert pin_entry(server, name, "audit", LOCK_WAIT).entry.state is State.READY
    unpin_entry(server, name, LOCK_WAIT)
    label_entry(server, name, "v1", LOCK_WAIT)
    assert sandbox.run("shell", name, "--", "true").code == 0
    assert _states(sandbox) == {name: State.READY}
    displaced = sandbox.roll_back(name).displaced
    assert displaced is not None
    sandbox.roll_back(displaced.name, keep_backup=True)
    sandbox.undo()
    script = f"{sandbox.name}_backup_20260110_103045"
    sandbox.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(script)))
    sandbox.execute(
        sql.SQL("GRANT CONNECT ON DATABASE {} TO pg_monitor WITH GRANT OPTION").format(sql.Identifier(sandbox.name))
    )
    adopt_entry(server, script, LOCK_WAIT)
    sandbox.back_up()
    assert set(_states(sandbox).values()) == {State.READY}
    sandbox.execute("VACUUM (FREEZE) pg_database")
    sandbox.execute("VACUUM (FULL, FREEZE) pg_database")
    sandbox.execute("VACUUM (FULL, FREEZE) pg_shdescription")
    assert set(_states(sandbox).values()) == {State.READY}


def test_what_shows_and_lets_nobody_in_alters_nothing(sandbox: Sandbox) -> None:
    reader = sandbox.role("reader")
    sandbox.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(*map(sql.Identifier, (sandbox.name, reader))))
    name = sandbox.back_up().backup.name
    _alter(sandbox, name, "IS_TEMPLATE true")
    assert _states(sandbox) == {name: State.READY}
    _alter(sandbox, name, "IS_TEMPLATE false")
    sandbox.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(reader)))
    assert _states(sandbox) == {name: State.READY}
    _alter(sandbox, name, "CONNECTION LIMIT 3")
    assert _states(sandbox) == {name: State.ALTERED}
    report = show_entry(sandbox.server(), name)
    assert "connection limit (3)" in (report.entry.altered or "")
    adopt_entry(sandbox.server(), name, LOCK_WAIT)
    assert (_states(sandbox), sandbox.row(name)["datconnlimit"]) == ({name: State.READY}, -1)


def test_entries_of_earlier_versions_are_not_judged_by_who_wrote_their_rows(sandbox: Sandbox) -> None:
    name = sandbox.back_up().backup.name
    document = json.loads(sandbox.row(name)["comment"])
    del document["seal"], document["order"]
    sandbox.execute(
        sql.SQL("COMMENT ON DATABASE {} IS {}").format(
            sql.Identifier(name), sql.Literal(json.dumps(document, separators=(",", ":")))
        )
    )
    assert _states(sandbox) == {name: State.READY}


def test_an_undo_does_not_take_what_was_altered(sandbox: Sandbox) -> None:
    sandbox.back_up()
    displaced = sandbox.roll_back().displaced
    assert displaced is not None
    _open_and_write(sandbox, displaced.name)
    with pytest.raises(UsageError, match="is not as it was sealed"):
        sandbox.undo()


def test_a_guard_goes_back_to_its_own_backup_whatever_was_done_to_it(sandbox: Sandbox) -> None:
    open_it = (
        "import os, psycopg\n"
        f"with psycopg.connect({sandbox.cluster.url('postgres')!r}, autocommit=True) as c:\n"
        "    c.execute('ALTER DATABASE ' + os.environ['SNAPKIT_BACKUP'] + ' ALLOW_CONNECTIONS true')\n"
        "raise SystemExit(3)"
    )
    ran = sandbox.run("guard", "--json", "--", sys.executable, "-c", open_it)
    assert ran.code == 20, ran.err
    assert "altered" in [each["code"] for each in ran.document["warnings"]]
