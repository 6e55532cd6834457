"""A guarded deploy: what becomes of it, step by step, with no server."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from snapkit.core.connection.endpoint import Address
from snapkit.core.guarding import UNASKED, Health, HealthReport, OnFailure, failure_of
from snapkit.core.secrets import ShownCommand
from snapkit.errors import (
    NOTHING_CHANGED,
    BusyError,
    InterruptedRunError,
    NotFoundError,
    PrivilegeError,
    RollbackFailedError,
    RolledBackError,
    SnapkitError,
    UnknownOutcomeError,
    UsageError,
)
from snapkit.processes.foreground import Ending
from snapkit.services.backup import BackupReceipt, Copying
from snapkit.services.copying.decision import Choice
from snapkit.services.entries.drop import Failure
from snapkit.services.guard import GuardReceipt, guard
from snapkit.services.prune import Removal
from snapkit.services.rollback import SwapReceipt
from tests.unit.builders import NOW, make_entry

NOTHING = timedelta(0)
ADDRESS = Address("localhost", 5432, 180000)
BACKUP = BackupReceipt(make_entry(), 1, Choice.FASTEST, ADDRESS, Copying(1, NOTHING), NOTHING, (), NOTHING, ())
SWAP = SwapReceipt("app", make_entry(), False, 0, make_entry("app_old_20260110_103045"), NOTHING, (), NOTHING, ())
REMOVAL = Removal((), (make_entry(),), (), NOW)
NAME = BACKUP.backup.name
COMMAND = ShownCommand(("migrate", "now then"), 2)
LEFT_THERE = f"'app' is as the command left it; the backup {NAME!r} is there."
TYPE = f"snapkit rollback {NAME}"
LOOK = f"See what there is (snapkit list). To roll back: {TYPE}"
WENT_THROUGH = Ending(0)
ILL = HealthReport(Health.FAILED, "it answered 503.")
WELL = HealthReport(Health.PASSED)


@dataclass
class Script:
    """Steps that come out as a test wants them to."""

    end: Ending | Exception = WENT_THROUGH
    report: HealthReport | Exception = UNASKED
    rollback: SwapReceipt | Exception | None = SWAP
    removal: Removal | SnapkitError | None = None
    command: ShownCommand = COMMAND
    confirmed: SnapkitError | None = None
    taken: list[str] = field(default_factory=list)

    def back_up(self) -> BackupReceipt:
        self.taken.append("back up")
        return BACKUP

    def confirm(self, backup: BackupReceipt) -> None:
        if self.confirmed is not None:
            raise self.confirmed

    def run(self, backup: BackupReceipt) -> Ending:
        self.taken.append("run")
        if isinstance(self.end, Exception):
            raise self.end
        return self.end

    def check(self, backup: BackupReceipt) -> HealthReport:
        self.taken.append("check")
        if isinstance(self.report, Exception):
            raise self.report
        return self.report

    def roll_back(self, backup: BackupReceipt, end: Ending | None) -> SwapReceipt | None:
        self.taken.append("roll back")
        if isinstance(self.rollback, Exception):
            raise self.rollback
        return self.rollback

    def prune(self) -> Removal | None:
        self.taken.append("prune")
        if isinstance(self.removal, SnapkitError):
            raise self.removal
        return self.removal


@pytest.mark.parametrize("on_failure", OnFailure)
def test_a_command_that_would_work_on_another_database_is_not_run(on_failure: OnFailure) -> None:
    script = Script(confirmed=BusyError("It is another."))
    receipt = guard(script, on_failure)
    assert script.taken == ["back up"]
    assert (receipt.was_run, receipt.rollback, receipt.failure) == (False, None, "It is another.")
    assert isinstance(receipt.shortfall, BusyError)
    assert (receipt.shortfall.state or "").startswith("The command was not run")


@pytest.mark.parametrize(
    ("script", "on_failure", "taken", "error"),
    [
        (Script(), OnFailure.ROLLBACK, "check, prune", None),
        (Script(report=WELL, removal=REMOVAL), OnFailure.KEEP, "check, prune", None),
        (Script(report=ILL), OnFailure.ROLLBACK, "check, roll back", RolledBackError),
        (Script(report=ILL), OnFailure.KEEP, "check", SnapkitError),
        (Script(end=Ending(1)), OnFailure.ROLLBACK, "roll back", RolledBackError),
        (Script(end=Ending(1)), OnFailure.KEEP, "", SnapkitError),
        (Script(end=Ending(0, (signal.SIGTERM,))), OnFailure.ROLLBACK, "roll back", RolledBackError),
        (Script(end=Ending(1), rollback=BusyError("busy.")), OnFailure.ROLLBACK, "roll back", RollbackFailedError),
        (
            Script(end=Ending(1), rollback=UnknownOutcomeError("who knows")),
            OnFailure.ROLLBACK,
            "roll back",
            UnknownOutcomeError,
        ),
        (
            Script(end=Ending(1), rollback=RolledBackError("It went through.")),
            OnFailure.ROLLBACK,
            "roll back",
            RolledBackError,
        ),
        (Script(end=UsageError("It cannot be run.")), OnFailure.ROLLBACK, "", SnapkitError),
        (Script(end=OSError("?")), OnFailure.ROLLBACK, "roll back", RolledBackError),
        (Script(report=OSError("?")), OnFailure.ROLLBACK, "check, roll back", RolledBackError),
        (Script(end=Ending(1), rollback=OSError("?")), OnFailure.ROLLBACK, "roll back", RollbackFailedError),
    ],
)
def test_what_is_done_and_what_comes_of_it(
    script: Script, on_failure: OnFailure, taken: str, error: type[SnapkitError] | None
) -> None:
    receipt = guard(script, on_failure)
    assert ", ".join(script.taken) == ("back up, run, " + taken).rstrip(", ")
    assert type(receipt.shortfall) is (error or type(None))
    assert receipt.command_exit_code == (script.end.exit_code if isinstance(script.end, Ending) else None)


@pytest.mark.parametrize(
    "came_of_it",
    [
        BusyError("It is busy.", hint="Wait."),
        InterruptedRunError("Interrupted."),
        Removal((), (), (Failure(make_entry(), BusyError("It is busy.")),), NOW),
    ],
)
def test_a_prune_that_fails_does_not_make_the_deploy_fail(came_of_it: Removal | SnapkitError) -> None:
    receipt = guard(Script(removal=came_of_it), OnFailure.ROLLBACK)
    assert receipt.shortfall is None
    assert [caution.code for caution in receipt.cautions] == ["prune_failed"]


def test_an_error_says_where_things_are() -> None:
    rolled_back = guard(Script(end=Ending(1)), OnFailure.ROLLBACK).shortfall
    assert rolled_back is not None
    assert rolled_back.hint is not None
    assert SWAP.displaced is not None
    assert SWAP.displaced.name in rolled_back.hint
    nothing_was_live = guard(
        Script(end=Ending(1), rollback=SwapReceipt("app", make_entry(), False, 0, None, NOTHING, (), NOTHING, ())),
        OnFailure.ROLLBACK,
    ).shortfall
    assert nothing_was_live is not None
    assert nothing_was_live.hint is None


@pytest.mark.parametrize(
    ("exit_code", "interrupted", "report", "said"),
    [
        (0, False, UNASKED, None),
        (0, False, WELL, None),
        (3, False, UNASKED, "migrate 'now then' ended with exit code 3."),
        (143, False, UNASKED, "migrate 'now then' was ended by SIGTERM (exit code 143)."),
        (255, True, UNASKED, "migrate 'now then' ended with exit code 255."),
        (0, True, UNASKED, "The run was interrupted; migrate 'now then' ended with exit code 0."),
        (0, False, ILL, "The health check failed: it answered 503."),
    ],
)
def test_why_it_failed(exit_code: int, interrupted: bool, report: HealthReport, said: str | None) -> None:
    assert failure_of(ShownCommand(("migrate", "now then"), 2), exit_code, interrupted, report) == said


@pytest.mark.parametrize(
    ("error", "state", "hint"),
    [
        (BusyError("It is busy.", state=NOTHING_CHANGED, hint="Run the command again."), LEFT_THERE, TYPE),
        (BusyError("It is busy."), LEFT_THERE, TYPE),
        (PrivilegeError("It may not.", hint="GRANT it;"), LEFT_THERE, f"GRANT it; Then: {TYPE}"),
        (
            SnapkitError("Invalid.", hint="Drop it, then: snapkit rollback x"),
            LEFT_THERE,
            "Drop it, then: snapkit rollback x",
        ),
        (NotFoundError("Gone."), f"'app' is as the command left it; the backup {NAME!r} is gone.", "snapkit list"),
        (InterruptedRunError("Interrupted.", state="It may have gone through."), "It may have gone through.", LOOK),
    ],
)
def test_a_rollback_that_failed_says_how_things_stand_now(error: SnapkitError, state: str, hint: str) -> None:
    """What the inner error says of the database holds for a run that had changed nothing before."""
    shortfall = guard(Script(end=Ending(1), rollback=error), OnFailure.ROLLBACK).shortfall
    assert shortfall is not None
    assert (shortfall.state, shortfall.hint) == (state, hint)


def test_what_has_written_nothing_is_not_rolled_back_and_that_is_said() -> None:
    receipt = guard(Script(end=Ending(1), rollback=None), OnFailure.ROLLBACK)
    assert [caution.code for caution in receipt.cautions] == ["nothing_written"]
    assert isinstance(receipt.shortfall, RolledBackError)
    assert "There was nothing to roll back" in (receipt.shortfall.state or "")
    kept = guard(Script(end=Ending(1), rollback=None), OnFailure.KEEP)
    assert (kept.cautions, type(kept.shortfall)) == ((), SnapkitError)


def test_a_command_that_could_not_be_started_leaves_a_backup_that_is_named() -> None:
    shortfall = guard(Script(end=UsageError("It cannot be run.")), OnFailure.ROLLBACK).shortfall
    assert shortfall is not None
    assert (shortfall.message, shortfall.hint) == (
        "It cannot be run.",
        f"If you no longer need it: snapkit delete {NAME}",
    )
    assert NAME in (shortfall.state or "")


def test_the_audit_log_names_what_all_its_parts_touched_and_the_outage_is_that_of_all() -> None:
    swap = replace(SWAP, outage=timedelta(seconds=2))
    backup = replace(BACKUP, outage=timedelta(seconds=1))
    receipt = GuardReceipt(
        backup, ShownCommand(("migrate",), 1), 1, Health.NONE, "It failed.", rollback=swap, removal=REMOVAL
    )
    assert receipt.changed == ("app_backup_20260110_103045", "app_old_20260110_103045")
    assert receipt.outage == timedelta(seconds=3)
    assert replace(receipt, rollback=None).outage == timedelta(seconds=1)
