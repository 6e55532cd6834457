"""What must hold after every trial, on the server and in what snapkit has said."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from snapkit.core.inventory.entry import Entry
from snapkit.core.inventory.kinds import Kind, State
from snapkit.services.recover import recover
from tests.cluster import PASSWORD
from tests.crash.scenarios import Scenario
from tests.crash.stage import Stage, content, database_directories, databases, properties_of
from tests.sandbox import LOCK_WAIT, wait_until


@dataclass(frozen=True, order=True)
class Outcome:
    """What came of a trial, in the words of the table."""

    code: int | None
    saw: str
    state: str
    then: str


def judge(
    stage: Stage, scenario: Scenario, code: int | None, *, killed: bool, may_leave_files: bool
) -> tuple[Outcome, float]:
    """See that every promise was kept; return the outcome, and how long the application waited at most, in seconds.

    ``may_leave_files`` is for a crash of the server in the midst of CREATE DATABASE.
    """
    box = stage.box
    # The source is reachable under its own name, with no action of ours, and holds one state or the other.
    assert stage.application.served_again(), "the application is not served any more"
    found = content(box, box.name)
    after = databases(box)
    live = next(oid for oid, row in after.items() if row["name"] == box.name)
    swapped = live != stage.live
    restored = scenario.restores and found == stage.contents[1]
    assert found == stage.contents[1 if swapped or restored else 0], (found, swapped)
    assert scenario.swaps or not swapped
    stage.gate.close()  # what was silent until now is heard of

    disconnected, longest_wait = stage.application.was_disconnected, stage.application.longest_wait
    gone = [row["name"] for oid, row in stage.before.items() if oid not in after]
    assert len(gone) <= scenario.drops, gone
    assert box.name not in gone
    was_open = _seal_what_is_open(stage, scenario)
    entries = box.entries()
    _check_entries(stage, entries, swapped)
    if scenario.restores:
        state, is_done = "rows brought back" if restored else "as before", restored
        state += ", and the entry open to its owner until the next run" if was_open else ""
    elif scenario.only_reads:
        state, is_done = "open to its owner until the next run" if was_open else "sealed", code == 0
        assert not (was_open and is_done)
    else:
        state, is_done = _state(stage, scenario, entries, after, gone, swapped)
    if code is not None and code >= 0:
        _check_report(stage, code, is_done)
    assert (code is not None and code < 0) == killed, code
    _check_that_life_goes_on(stage, may_leave_files)

    saw = "disconnected, and back" if disconnected else "nothing"
    if disconnected and scenario.swaps:
        saw += " in the restored state" if swapped else " in the same state"
    return Outcome(None if code is None or code < 0 else code, saw, state, _what_to_type(code, is_done)), longest_wait


def _seal_what_is_open(stage: Stage, scenario: Scenario) -> bool:
    """Whether an entry was left open; the next run has sealed it, once the server knows that who read it is gone."""
    box = stage.box
    if not any(entry.opened for entry in box.entries()):
        return False
    assert scenario.only_reads or scenario.restores

    def is_sealed() -> bool:
        recover(box.server(), LOCK_WAIT, lambda progress: None)
        return not any(entry.opened for entry in box.entries())

    wait_until(is_sealed)
    return True


def _what_to_type(code: int | None, is_done: bool) -> str:
    if code == 22:
        return "snapkit list"
    return "nothing" if is_done else "the command again"


def _check_entries(stage: Stage, entries: tuple[Entry, ...], swapped: bool) -> None:
    """What is ready is whole: its content, and all that a clone by template would not carry."""
    box = stage.box
    for entry in entries:
        if entry.state is not State.READY:
            continue
        name = sql.Identifier(entry.name)
        assert box.row(entry.name)["datallowconn"] is False, entry.name
        box.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(name))
        assert content(box, entry.name) in stage.contents
        with box.admin.transaction():  # both rows at once, as a seal of ours: else it is one that was altered by hand
            box.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(name))
            box.execute(
                sql.SQL("COMMENT ON DATABASE {} IS {}").format(name, sql.Literal(box.row(entry.name)["comment"]))
            )
        assert properties_of(box, entry.database.oid) == stage.properties, entry.name
        assert entry.metadata is not None
        assert entry.metadata.comment == "of the shop"
    live = box.row(box.name)
    assert live["datallowconn"] is True
    assert live["comment"] == "of the shop"
    assert properties_of(box, live["oid"]) == stage.properties


def _state(
    stage: Stage,
    scenario: Scenario,
    entries: tuple[Entry, ...],
    after: dict[int, dict[str, Any]],
    gone: list[str],
    swapped: bool,
) -> tuple[str, bool]:
    """The state afterwards in words, and whether the command has done what it was for."""
    if scenario.swaps:
        # An undo may have given it back what it was before; else it is a displaced database.
        aside = [e for e in entries if e.state is State.READY and e.database.oid == stage.live]
        assert bool(aside) is swapped, "what was live has not been put aside"
        return ("swapped", True) if swapped else ("as before", False)
    if scenario.drops:
        return f"{len(gone)} of {scenario.drops} dropped", len(gone) == scenario.drops
    if scenario.backs_up:
        ready = [e for e in entries if e.kind is Kind.BACKUP and e.state is State.READY]
        made = [e for e in ready if e.database.oid not in stage.before]
        assert all(after[oid]["name"] == row["name"] for oid, row in stage.before.items()), "one was renamed for good"
        return ("backup complete", True) if made else ("no backup", False)
    changed = any(after[oid]["comment"] != row["comment"] for oid, row in stage.before.items())
    return ("done", True) if changed else ("as before", False)


def _check_report(stage: Stage, code: int, is_done: bool) -> None:
    """What snapkit said agrees with what happened."""
    assert stage.command is not None
    out, err = stage.command.output()
    assert "Traceback" not in out + err, err
    assert PASSWORD not in out + err
    assert "Something unexpected" not in out + err, out
    document = stage.command.document()
    if code == 0:
        assert document["status"] == "success"
        assert is_done, "reported as done, and it is not"
        return
    error = document["error"]
    assert error["exit_code"] == code
    if code == 22:
        return
    if document["status"] == "partial":  # each that failed says what became of it
        assert not is_done
        assert all("was not dropped" in failed["error"]["message"] for failed in document["data"]["failed"])
        return
    said_untouched = any(
        words in error["message"] for words in ("Nothing was changed", "No backup was made", "was not dropped")
    )
    assert not (said_untouched and is_done), f"it went through, and snapkit says: {error['message']}"
    hints = f"{error['message']} {error['hint']}"
    assert said_untouched or "snapkit list" in hints or "snapkit recover" in hints, error
    assert document["data"] is None


def _check_that_life_goes_on(stage: Stage, may_leave_files: bool) -> None:
    """The next command works, and after recover nothing is left."""
    box = stage.box
    box.back_up()
    recovery = recover(box.server(), LOCK_WAIT, lambda progress: None)
    assert recovery.failed == ()
    # Those that the verdict has opened and closed by hand, to see what is in them, say so.
    states = {entry.state for entry in box.entries() if entry.is_managed}
    assert states <= {State.READY, State.ALTERED}, states
    assert not [name for name in box.databases() if "_partial_" in name]
    orphans = [c.message for c in recovery.cautions if c.code == "orphaned_files"]
    known = {str(oid) for (oid,) in box.execute("SELECT oid FROM pg_database")}
    for directory in database_directories(stage.cluster):
        if directory.name not in known:
            shutil.rmtree(directory)
            assert may_leave_files, f"files are left in {directory}"
            assert any(f"/{directory.name} " in message for message in orphans), orphans
    ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'snapkit'"
    wait_until(lambda: box.execute(ours) == [(0,)])
    assert box.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [(0,)]
