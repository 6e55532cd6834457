"""A command has all that belongs to one: what is missing fails here, and each result is told both ways."""

from __future__ import annotations

import inspect
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from snapkit.cli import commands
from snapkit.cli.commands import index
from snapkit.cli.commands.config import Configuration
from snapkit.cli.commands.demo import DemoOutcome
from snapkit.cli.commands.list import CsvListing, WideListing
from snapkit.cli.commands.rollback import Script
from snapkit.cli.commands.status import Exposition
from snapkit.cli.dry_run import DryRun
from snapkit.cli.registry import Registry, registry
from snapkit.core.checks.facts import Check, Status
from snapkit.core.comparison.differences import ChangedDefinition, ChangedTable, DefinitionChange, ShownRow
from snapkit.core.comparison.row_changes import Change, Method
from snapkit.core.comparison.writes import Rows
from snapkit.core.connection.endpoint import Address
from snapkit.core.guarding import Health
from snapkit.core.inventory.freshness import judge
from snapkit.core.inventory.naming import FreeNames
from snapkit.core.inventory.retention import Kept
from snapkit.core.outcome import Outcome
from snapkit.core.plans.statements import WrittenStep
from snapkit.core.plans.swap import plan_swap
from snapkit.core.restoring.restored import RestoreConflict, RestoredTable, TriggerMode
from snapkit.core.secrets import ShownCommand
from snapkit.errors import BusyError, PartialError
from snapkit.services.backup import BackupPreview, BackupReceipt, Copying
from snapkit.services.copying.decision import Choice
from snapkit.services.diff import DiffReceipt, DiffRequest
from snapkit.services.doctor import Diagnosis
from snapkit.services.entries.change import EntryReport
from snapkit.services.entries.drop import DropOutcome, Failure
from snapkit.services.guard import GuardReceipt
from snapkit.services.list import Listing
from snapkit.services.prune import Removal, RemovalPreview
from snapkit.services.recover import Recovery
from snapkit.services.restore import RestorePreview, RestoreReceipt
from snapkit.services.restoring.application import ShownTable
from snapkit.services.rollback import SwapPreview, SwapReceipt
from snapkit.services.shell import ShellReceipt
from snapkit.settings.in_force import SettingInForce
from tests.crash.scenarios import SCENARIOS
from tests.unit.builders import NOW, PROPERTIES, make_database, make_entry

FOLDER = Path(commands.__path__[0])
HELPERS = {"__init__", "index", "guard_steps"}
"""The files of the folder that have no command."""

SAME_IN_THE_CRASH_TABLE = {
    "unpin": "pin",  # the same statement, with another document
    "guard": "rollback",  # a backup, the user's command, a rollback: both are in the table
}

SECOND = timedelta(seconds=1)
ENTRY = make_entry(label="before 0042")
OLD = make_entry("app_old_20260110_103045")
STEPS = (WrittenStep("Drop it", ('DROP DATABASE "x"',), atomic=False),)
FAILURE = Failure(OLD, BusyError("It is busy."))
BACKUP = BackupReceipt(ENTRY, 1, Choice.FASTEST, Address("h", 1, 180000), Copying(1, SECOND), SECOND, (), SECOND, ())
SWAP = SwapReceipt("app", ENTRY, False, 0, OLD, SECOND, (), SECOND, ())
REMOVAL = Removal((Kept(ENTRY, ("last 1",)),), (OLD,), (), NOW)
COMMAND = ShownCommand(("./migrate",), 1)
GUARD = GuardReceipt(BACKUP, COMMAND, 0, Health.PASSED, removal=REMOVAL)
STATUS = judge([ENTRY], "app", max_age=SECOND, now=NOW)
REPORT = EntryReport(ENTRY, PROPERTIES, NOW)
BACKUP_PREVIEW = BackupPreview(STEPS, True)
SWAP_PREVIEW = SwapPreview(plan_swap("app", make_database(), ENTRY, None, FreeNames(NOW, ())), 0, STEPS, NOW, ())
REMOVAL_PREVIEW = RemovalPreview((Kept(ENTRY, ("last 1",)),), (OLD,), STEPS, NOW, failed=(FAILURE,))
CHANGED_COLUMN = ChangedDefinition("column", "public", "item.price", DefinitionChange.CHANGED, "integer", "numeric")
CHANGED_ROW = ShownRow(Change.UPDATED, {"id": "1"}, {"id": "1", "name": None}, {"id": "1", "name": "\x1b[1mnew"})
CHANGED_TABLES = (
    ChangedTable("public", "item", Rows(1, 2, 3), Method.VERSIONS, NOW, shown=(CHANGED_ROW,)),
    ChangedTable("public", "secret", None, Method.NOT_COMPARED, reason="You may not read it."),
)
DIFF = DiffReceipt(DiffRequest(rows=1), ENTRY, None, "app", NOW, (CHANGED_COLUMN,), CHANGED_TABLES, 7, SECOND)
CLASH = RestoreConflict("public", "orders", (("id", "7"),), "it is taken")
RESTORED = (RestoredTable("public", "orders", Rows(1, 2, 0)),)
RESTORE = RestoreReceipt("app", ENTRY, RESTORED, (), TriggerMode.OFF, SECOND)
SHOWN = ShownRow(Change.UPDATED, {"id": "7"}, {"id": "7", "name": "damaged"}, {"id": "7", "name": "sound"})
RESTORE_PREVIEW = RestorePreview(
    ENTRY, RESTORED, (), TriggerMode.OFF, (ShownTable("public", "orders", (SHOWN,)),), STEPS
)

SAMPLES: list[tuple[str, Outcome, str]] = [
    ("backup", BACKUP, ENTRY.name),
    ("backup", DryRun(BACKUP_PREVIEW), "DROP DATABASE"),
    ("list", Listing(None, (ENTRY, OLD), NOW, sized=True), OLD.name),
    ("list", WideListing(Listing(None, (ENTRY, OLD), NOW, sized=True)), "before 0042"),
    ("list", CsvListing(Listing(None, (ENTRY, OLD), NOW, sized=True)), "size_bytes"),
    ("show", REPORT, "work_mem"),
    ("status", STATUS, "too old"),
    ("status", Exposition(STATUS), "snapkit_backups"),
    ("rollback", SWAP, OLD.name),
    ("rollback", DryRun(SWAP_PREVIEW), "DROP DATABASE"),
    ("rollback", Script("BEGIN;"), "BEGIN;"),
    ("undo", SWAP, OLD.name),
    ("restore", RESTORE, "restore --undo"),
    ("restore", replace(RESTORE, tables=(), conflicts=(CLASH,)), "(id=7): it is taken"),
    ("restore", DryRun(RESTORE_PREVIEW), "name: damaged → sound"),
    ("prune", REMOVAL, "1 database dropped"),
    ("prune", DryRun(REMOVAL_PREVIEW), "It is busy."),
    ("delete", replace(REMOVAL, failed=(FAILURE,)), "not dropped"),
    ("shell", ShellReceipt(ENTRY, COMMAND, 3), ""),
    ("diff", DIFF, "price"),
    ("diff", replace(DIFF, after=OLD, schema=(), tables=(), tables_compared=8), OLD.name),
    ("pin", replace(REPORT, change="pinned"), "pinned"),
    ("unpin", replace(REPORT, change="unpinned"), "unpinned"),
    ("label", replace(REPORT, change="labelled"), "before 0042"),
    ("adopt", replace(REPORT, change="adopted"), "adopted"),
    ("adopt", REPORT, "work_mem"),
    ("doctor", Diagnosis((Check("it", Status.PROBLEM, "It is bad.", "Mend it."),)), "Mend it."),
    ("config", Configuration((SettingInForce("keep", "7", "snapkit.toml"),)), "snapkit.toml"),
    ("recover", Recovery((OLD,), (), ()), OLD.name),
    ("guard", GUARD, "succeeded"),
    ("guard", replace(GUARD, failure="It failed.", rollback=SWAP, removal=None), OLD.name),
    ("guard", DryRun(BACKUP_PREVIEW), "DROP DATABASE"),
    ("demo", DemoOutcome(), "--keep"),
    ("demo", DemoOutcome("postgresql://", "snapkit demo --stop"), "snapkit demo --stop"),
    ("demo", DemoOutcome(stopped=2), "2 servers"),
]


def _kinds(of: type[Outcome]) -> Iterator[type[Outcome]]:
    for each in of.__subclasses__():
        yield each
        yield from _kinds(each)


def test_every_file_of_a_command_is_in_the_index() -> None:
    files = {path.stem for path in FOLDER.glob("*.py")} - HELPERS
    assert files == set(index.FILES.values())


@pytest.mark.parametrize("name", index.FILES)
def test_the_file_of_a_command_registers_it(name: str) -> None:
    index.load(name)
    assert registry.commands[name].function.__module__ == f"{commands.__name__}.{index.FILES[name]}"


def test_no_command_is_registered_that_is_not_in_the_index() -> None:
    for name in index.FILES:
        index.load(name)
    assert set(registry.commands) == set(index.FILES)


@pytest.mark.parametrize("said", ["changes", "text", "data"])
def test_what_is_to_be_said_of_a_command_has_no_default(said: str) -> None:
    assert inspect.signature(Registry.command).parameters[said].default is inspect.Parameter.empty


@pytest.mark.parametrize("name", index.FILES)
def test_what_changes_something_is_in_the_crash_table(name: str) -> None:
    index.load(name)
    tried = {scenario.name.split()[0] for scenario in SCENARIOS}
    if registry.commands[name].changes:
        assert SAME_IN_THE_CRASH_TABLE.get(name, name) in tried, f"tests/crash/scenarios.py has none for {name}"
    else:
        assert name not in tried


def test_there_is_a_sample_of_every_result_and_command() -> None:
    assert {name for name, _, _ in SAMPLES} == set(index.FILES)
    assert {type(result) for _, result, _ in SAMPLES} == set(_kinds(Outcome)) - {DropOutcome}  # of which two are made


@pytest.mark.parametrize(("name", "result", "told"), SAMPLES, ids=lambda each: type(each).__name__)
def test_each_result_is_told_both_ways(name: str, result: Any, told: str) -> None:
    index.load(name)
    rendering = registry.commands[name].rendering
    stream = io.StringIO()
    rendering.text(result, Console(file=stream, width=100))
    assert told in stream.getvalue()
    document = rendering.data(result)
    assert document
    assert json.loads(json.dumps(document)) == document
    if rendering.names is not None:
        assert all(isinstance(each, str) for each in rendering.names(result) or ())


def test_what_was_not_done_is_the_shortfall_of_a_result() -> None:
    failed = replace(REMOVAL, failed=(FAILURE,))
    assert isinstance(failed.shortfall, PartialError)
    assert failed.shortfall.message == "1 of 2 could not be dropped."
    assert failed.complaints == (FAILURE.error,)
    assert Recovery((), (FAILURE,), ()).complaints == (FAILURE.error,)
    assert REMOVAL.shortfall is BACKUP.shortfall is None
    assert BACKUP.complaints == ()
    assert list(map(str, STATUS.complaints)) == [str(STATUS.shortfall)]
