"""A guarded deploy: back up, run the command, see whether all is well; roll back if not, else prune."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from typing import Protocol

from snapkit.core.guarding import UNASKED, Health, HealthReport, OnFailure, failure_of
from snapkit.core.model import Caution, Entry
from snapkit.core.planning import SwapPlan
from snapkit.core.results import BackupReceipt, GuardReceipt, Removal, SwapReceipt
from snapkit.core.shown import ShownCommand
from snapkit.errors import BusyError, InterruptedRunError, SnapkitError, UsageError, unexpected
from snapkit.foreground import Ending
from snapkit.postgres import catalog
from snapkit.postgres.errors import server_errors
from snapkit.postgres.server import Server
from snapkit.services.common import interruptions
from snapkit.services.opening import way_back
from snapkit.services.rollback import SwapRequest, decide_swap

ROLLBACK_LOCK_WAIT = timedelta(minutes=10)
"""How long the rollback waits at least for another run with the same source: nobody else would do it afterwards."""


class Steps(Protocol):
    """What a guarded deploy consists of. Each step is its caller's, with its progress, hooks and terminal."""

    @property
    def command(self) -> ShownCommand:
        """The command, as far as it is shown."""

    def back_up(self) -> BackupReceipt:
        """Make the backup; raises SnapkitError."""

    def confirm(self, backup: BackupReceipt) -> None:
        """See that the command would work on what was backed up; raises SnapkitError."""

    def run(self, backup: BackupReceipt) -> Ending:
        """Run the command to its end; raises UsageError if it cannot be started."""

    def check(self, backup: BackupReceipt) -> HealthReport:
        """See whether all is well after the command."""

    def roll_back(self, backup: BackupReceipt, end: Ending | None) -> SwapReceipt:
        """End what the command has left running, and swap the backup in; raises SnapkitError.

        ``end`` None: how the command ended is not known.
        """

    def prune(self) -> Removal | None:
        """Drop what no rule keeps, but not the backup; None where no rule was given. Raises SnapkitError."""


def guard(steps: Steps, on_failure: OnFailure) -> GuardReceipt:
    """Go through the steps, and return what came of them.

    Raises SnapkitError only for a backup that could not be made: the command was not run then. Once it runs, nothing
    that goes wrong with our own part keeps the database from going back. A rollback that failed is in the receipt. That
    old backups could not be dropped does not make a deploy that went well a failed one.
    """
    backup = steps.back_up()
    receipt = GuardReceipt(backup, steps.command, None, Health.NONE)
    end = None
    try:
        steps.confirm(backup)
    except SnapkitError as error:
        return replace(receipt, failure=error.message, failed_as=type(error), was_run=False)
    try:
        end = steps.run(backup)
        receipt = _judged(receipt, steps, end)
    except UsageError as error:
        return replace(receipt, failure=error.message, was_run=False)
    except Exception as error:
        receipt = replace(receipt, failure=f"snapkit itself failed while the command ran ({type(error).__name__}).")
    if receipt.failure is None:
        return _pruned(receipt, steps)
    if on_failure is OnFailure.KEEP:
        return receipt
    try:
        return replace(receipt, rollback=steps.roll_back(backup, end))
    except Exception as error:
        return replace(receipt, rollback=error if isinstance(error, SnapkitError) else unexpected(error))


def _judged(receipt: GuardReceipt, steps: Steps, end: Ending) -> GuardReceipt:
    interrupted = bool(end.signals)
    report = UNASKED
    if not end.exit_code and not interrupted:
        try:
            report = steps.check(receipt.backup)
        except Exception as error:
            report = HealthReport(Health.FAILED, f"it could not be made ({type(error).__name__}).")
    failure = failure_of(receipt.command, end.exit_code, interrupted, report)
    return replace(receipt, command_exit_code=end.exit_code, health=report.health, failure=failure)


def _pruned(receipt: GuardReceipt, steps: Steps) -> GuardReceipt:
    try:
        removal = steps.prune()
    except SnapkitError as error:
        return replace(receipt, prune_cautions=(_not_pruned(error),))
    failed = removal.failed if removal else ()
    return replace(receipt, removal=removal, prune_cautions=tuple(_not_pruned(failure.error) for failure in failed))


def _not_pruned(error: SnapkitError) -> Caution:
    why = "The prune was interrupted." if isinstance(error, InterruptedRunError) else error.message
    said = f"All went well, but not every old backup was dropped. {why} {error.hint or ''}"
    return Caution("prune_failed", said.rstrip())


def keep_from_others(server: Server, entry: Entry, until: ExitStack) -> Caution | None:
    """Keep other runs from dropping the backup until the stack is closed; its source's lock is held.

    Where snapkit works from template1 it is not done, which a caution says: with a session there, no CREATE DATABASE
    would go through. Raises SnapkitError if it cannot be done.
    """
    with interruptions(f"The backup {entry.name!r} is complete; the command was not run."):
        if server.works_from_template:
            return Caution(
                "not_kept",
                "While the command runs, other runs may drop the backup: snapkit works from the database 'template1' "
                "here, where no session may stay. Name another database with --maintenance-db.",
            )
        until.enter_context(way_back(server, entry))
    return None


def check_backed_up(server: Server, backup: BackupReceipt) -> None:
    """Raise BusyError unless the database that the command will find by its name is the one that was backed up."""
    source = backup.backup.source
    if _name_of(server, backup.source_oid) != source:
        raise BusyError(
            f"{source!r} is another database than the one that was backed up: it was renamed or replaced meanwhile."
        )


def plan_return(server: Server, backup: BackupReceipt, request: SwapRequest) -> SwapPlan:
    """Return the plan of the rollback to ``backup``, for ``swap`` to hold to.

    The command may have dropped the database, and made another of its name. Raises BusyError if somebody else has
    swapped databases while it ran: what is live then is not what the command worked on.
    """
    own, source = backup.backup, backup.backup.source
    if _name_of(server, own.database.oid) == source:
        raise BusyError(
            "While the command ran, somebody rolled back to its backup.",
            state=f"{source!r} is as it was before the command, but for what was written to it since that rollback.",
        )
    plan = decide_swap(server, request)
    replaced = plan.live is not None and plan.live.oid != backup.source_oid
    if replaced and _name_of(server, backup.source_oid) is not None:
        raise BusyError(
            f"{source!r} is another database than the one that was backed up: it was swapped while the command ran.",
            state=f"What is live now was not touched; the backup {own.name!r} is there.",
        )
    return plan


def _name_of(server: Server, oid: int) -> str | None:
    with server.connect() as connection, server_errors("Nothing was changed."):
        return catalog.name_of(connection, oid)
