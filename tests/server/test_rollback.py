"""Rollback, on a real server."""

from __future__ import annotations

import subprocess
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from snapkit.core.inventory.kinds import Kind, State
from snapkit.core.outage.hold_rules import HoldRules
from snapkit.core.reporting import unobserved
from snapkit.errors import BusyError, DiskFullError, NotFoundError, PrivilegeError, UsageError
from snapkit.services.entries import kept_clone
from snapkit.services.label import pin_entry, unpin_entry
from snapkit.services.rollback import SwapRequest, preview_swap, script_of_swap, swap
from tests.sandbox import LOCK_WAIT, Sandbox, wait_until


@pytest.mark.command("rollback")
@pytest.mark.promise("a rollback puts the live database aside")
def test_a_rollback_brings_everything_back_and_loses_nothing(sandbox: Sandbox) -> None:
    before = sandbox.items()
    backup = sandbox.back_up(label="good").backup
    sandbox.ruin()
    ruined = sandbox.items()
    receipt = sandbox.roll_back()
    assert sandbox.items() == before
    assert receipt.restored.name == backup.name
    assert receipt.displaced is not None
    (old,) = sandbox.entries()
    assert (old.name, old.kind, old.state) == (receipt.displaced.name, Kind.OLD, State.READY)
    with pytest.raises(psycopg.OperationalError, match="not currently accepting"):
        sandbox.connect(old.name)
    sandbox.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(old.name)))
    assert sandbox.items(old.name) == ruined


@pytest.mark.promise("--keep-backup keeps the backup")
def test_keep_backup_swaps_a_clone_in(sandbox: Sandbox) -> None:
    before = sandbox.items()
    backup = sandbox.back_up(label="kept").backup
    for _ in range(2):
        sandbox.ruin()
        receipt = sandbox.roll_back(backup.name, keep_backup=True)
        assert receipt.restored_kept
        assert sandbox.items() == before
        assert sandbox.row(sandbox.name)["comment"] is None
    kept = [entry for entry in sandbox.entries() if entry.kind is Kind.BACKUP]
    assert [(entry.name, entry.label) for entry in kept] == [(backup.name, "kept")]
    assert not sandbox.row(backup.name)["datallowconn"]


def test_a_rollback_uses_a_backup_up_and_says_how_many_remain(sandbox: Sandbox) -> None:
    first, second = (sandbox.back_up().backup.name for _ in range(2))
    for name, left in ((second, 1), (first, 0)):
        assert preview_swap(sandbox.server(), SwapRequest()).backups_left == left
        receipt = sandbox.roll_back()
        assert (receipt.restored.name, receipt.restored_kept, receipt.backups_left) == (name, False, left)
    sandbox.ruin()
    assert sandbox.undo().backups_left == 0


@pytest.mark.promise("what is pinned stays")
def test_what_is_pinned_outlives_a_rollback_and_an_undo(sandbox: Sandbox) -> None:
    before = sandbox.items()
    backup = sandbox.back_up(label="keep me", pinned=True).backup
    oid = sandbox.row(backup.name)["oid"]
    sandbox.ruin()
    ruined = sandbox.items()
    receipt = sandbox.roll_back()
    assert (receipt.restored_kept, receipt.backups_left) == (True, 1)
    assert sandbox.items() == before
    (old,) = [entry for entry in sandbox.entries() if entry.kind is Kind.OLD]
    pin_entry(sandbox.server(), old.name, None, LOCK_WAIT)
    receipt = sandbox.undo()
    assert (receipt.restored.name, receipt.restored_kept, receipt.backups_left) == (old.name, True, 1)
    assert sandbox.items() == ruined
    kept = {entry.name: (entry.pinned, entry.label) for entry in sandbox.entries() if entry.pinned}
    assert kept == {backup.name: (True, "keep me"), old.name: (True, None)}
    assert sandbox.row(backup.name)["oid"] == oid
    assert not sandbox.row(backup.name)["datallowconn"]


def test_where_there_is_no_room_for_a_clone_of_what_is_pinned_it_is_said_how_to_do_without(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(*arguments: object, **options: object) -> None:
        raise DiskFullError("No space left on device", state="Nothing was changed.", hint="Make room.")

    monkeypatch.setattr(kept_clone, "make_clone", no_room)
    backup = sandbox.back_up(pinned=True).backup.name
    with pytest.raises(DiskFullError) as caught:
        sandbox.roll_back()
    assert caught.value.hint == (
        f"Make room. Or use {backup} up, which takes no room: snapkit unpin {backup}, then the same again."
    )
    unpin_entry(sandbox.server(), backup, LOCK_WAIT)
    with pytest.raises(DiskFullError) as caught:
        sandbox.roll_back(keep_backup=True)
    assert caught.value.hint == "Make room."


def test_what_was_pinned_after_the_question_is_not_cloned_unasked(sandbox: Sandbox) -> None:
    backup = sandbox.back_up().backup.name
    confirmed = preview_swap(sandbox.server(), SwapRequest()).plan
    pin_entry(sandbox.server(), backup, None, LOCK_WAIT)
    with pytest.raises(BusyError, match="since the plan was made"):
        swap(sandbox.server(), SwapRequest(), LOCK_WAIT, unobserved, confirmed=confirmed)
    assert sandbox.databases() == [sandbox.name, backup]


@pytest.mark.parametrize(
    "keep_backup",
    [pytest.param(False, marks=pytest.mark.promise("clients that reconnect at once do not stop a rollback")), True],
)
def test_clients_that_reconnect_at_once_do_not_keep_a_rollback_from_succeeding(
    sandbox: Sandbox, keep_backup: bool
) -> None:
    sandbox.back_up()
    with sandbox.reconnecting_clients(8) as crowd:
        for number in range(5):
            receipt = sandbox.roll_back(keep_backup=True) if keep_backup else None
            if receipt is None:
                receipt = sandbox.undo() if number else sandbox.roll_back()
            assert receipt.disconnected
            queries = crowd.queries
            wait_until(lambda seen=queries: crowd.queries > seen)  # type: ignore[misc]


def test_a_dry_run_and_a_preview_change_nothing(sandbox: Sandbox) -> None:
    backup = sandbox.back_up(label="x").backup
    with sandbox.connect(application_name="shop"):
        preview = preview_swap(sandbox.server(), SwapRequest())
        assert preview.plan.entry.name == backup.name
        assert [session.application for session in preview.sessions] == ["shop"]
        assert sandbox.sessions(sandbox.name) == 1
    assert sandbox.databases() == [sandbox.name, backup.name]


@pytest.mark.promise("what was confirmed is what is done")
def test_what_was_confirmed_is_what_is_done_or_nothing(sandbox: Sandbox) -> None:
    sandbox.back_up()
    plan = preview_swap(sandbox.server(), SwapRequest()).plan
    newer = sandbox.back_up().backup
    with pytest.raises(BusyError, match="have changed since"):
        swap(sandbox.server(), SwapRequest(), LOCK_WAIT, lambda progress: None, confirmed=plan)
    assert newer.name in sandbox.databases()


@pytest.mark.promise("--no-disconnect disconnects nobody")
def test_no_disconnect(sandbox: Sandbox) -> None:
    sandbox.back_up()
    with sandbox.connect(application_name="billing") as client:
        with pytest.raises(BusyError, match="billing"):
            sandbox.roll_back(hold=HoldRules(disconnect=False))
        assert client.execute("SELECT 1").fetchone() == (1,)
    wait_until(lambda: sandbox.sessions(sandbox.name) == 0)
    assert sandbox.roll_back(hold=HoldRules(disconnect=False)).disconnected == ()


def test_a_prepared_transaction_stops_a_rollback_before_it_begins(sandbox: Sandbox) -> None:
    sandbox.back_up()
    with sandbox.connect() as client:
        client.execute("BEGIN")
        client.execute("DELETE FROM item WHERE id = 1")
        client.execute("PREPARE TRANSACTION 'in the way'")
        with pytest.raises(BusyError, match="in the way"):
            sandbox.roll_back()
        client.execute("ROLLBACK PREPARED 'in the way'")


def test_the_live_database_may_be_gone(sandbox: Sandbox) -> None:
    before = sandbox.items()
    backup = sandbox.back_up().backup
    sandbox.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(sandbox.name)))
    receipt = sandbox.roll_back()
    assert receipt.displaced is None
    assert sandbox.items() == before
    assert sandbox.databases() == [sandbox.name]
    assert backup.name not in sandbox.databases()


def test_what_cannot_be_rolled_back_to_is_refused_and_says_what_to_do(sandbox: Sandbox) -> None:
    with pytest.raises(NotFoundError, match="no backup"):
        sandbox.roll_back()
    with pytest.raises(NotFoundError, match="nothing to undo"):
        sandbox.undo()
    unmanaged = f"{sandbox.name}_backup_20260110_103045"
    sandbox.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(unmanaged)))
    with pytest.raises(UsageError, match="not made by snapkit") as caught:
        sandbox.roll_back(unmanaged)
    assert caught.value.hint is not None
    assert f"snapkit adopt {unmanaged}" in caught.value.hint
    invalid = sandbox.back_up().backup.name
    sandbox.execute("UPDATE pg_database SET datconnlimit = -2 WHERE datname = %s", invalid)
    with pytest.raises(UsageError, match="invalid"):
        sandbox.roll_back(invalid)
    with pytest.raises(NotFoundError):
        sandbox.roll_back()
    assert sandbox.items()


def test_a_comment_a_template_flag_and_a_sealed_source_come_back(sandbox: Sandbox) -> None:
    name = sql.Identifier(sandbox.name)
    sandbox.execute(sql.SQL("COMMENT ON DATABASE {} IS 'it''s \\ \"ours\" 100%'").format(name))
    sandbox.execute(sql.SQL("ALTER DATABASE {} IS_TEMPLATE true").format(name))
    backup = sandbox.back_up().backup.name
    assert not sandbox.row(backup)["datistemplate"]
    sandbox.execute(sql.SQL("COMMENT ON DATABASE {} IS 'other'").format(name))
    sandbox.execute(sql.SQL("ALTER DATABASE {} IS_TEMPLATE false").format(name))
    sandbox.roll_back()
    row = sandbox.row(sandbox.name)
    assert (row["comment"], row["datistemplate"], row["datallowconn"]) == ('it\'s \\ "ours" 100%', True, True)
    sandbox.undo()
    row = sandbox.row(sandbox.name)
    assert (row["comment"], row["datistemplate"], row["datallowconn"]) == ("other", False, True)


@pytest.mark.parametrize(
    "keep_backup", [pytest.param(False, marks=pytest.mark.promise("--sql prints a script that does the same")), True]
)
def test_the_script_for_psql_does_the_same(sandbox: Sandbox, tmp_path: Path, keep_backup: bool) -> None:
    before = sandbox.items()
    backup = sandbox.back_up().backup
    sandbox.ruin()
    script = tmp_path / "rollback.sql"
    script.write_text(script_of_swap(sandbox.server(), SwapRequest(keep_backup=keep_backup)))
    with sandbox.reconnecting_clients(5):
        done = _psql(sandbox, script)
    assert done.returncode == 0, done.stderr
    assert sandbox.items()[:100] == before
    kinds = [entry.kind for entry in sandbox.entries()]
    assert kinds == ([Kind.OLD, Kind.BACKUP] if keep_backup else [Kind.OLD])
    again = _psql(sandbox, script)
    assert again.returncode != 0
    assert "the databases have changed" in again.stderr
    assert (backup.name in sandbox.databases()) is keep_backup


def _psql(sandbox: Sandbox, script: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sandbox.cluster.binaries / "psql", "-X", "-q", "-d", sandbox.cluster.url("postgres"), "-f", script],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.promise("the owner needs no superuser")
def test_an_owner_without_superuser_runs_the_whole_lifecycle(sandbox: Sandbox) -> None:
    owner = sandbox.role("owner", "LOGIN CREATEDB")
    sandbox.execute(
        sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(sandbox.name), sql.Identifier(owner))
    )
    url = sandbox.cluster.url(sandbox.name, user=owner)
    with psycopg.connect(url):
        assert sandbox.run("backup", url=url).code == 0
    sandbox.ruin()
    assert sandbox.run("rollback", "--latest", url=url).code == 0
    assert len(sandbox.items()) == 100
    assert sandbox.row(sandbox.name)["owner"] == owner
    sandbox.execute("SELECT pg_current_xact_id()")
    assert sandbox.run("undo", url=url).code == 0
    assert sandbox.run("prune", "--keep", "1", "--keep-old", "0", url=url).code == 0
    assert sandbox.databases() == [sandbox.name]


def test_a_role_that_is_not_the_owner_is_refused_before_anything_is_touched(sandbox: Sandbox) -> None:
    backup = sandbox.back_up().backup.name
    role = sandbox.role("stranger", "LOGIN CREATEDB")
    server = sandbox.server(sandbox.cluster.url(sandbox.name, user=role))
    with pytest.raises(PrivilegeError, match="ownership"):
        swap(server, SwapRequest(), LOCK_WAIT, lambda progress: None)
    assert sandbox.databases() == [sandbox.name, backup]
