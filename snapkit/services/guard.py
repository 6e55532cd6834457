"""A guarded deploy: back up, run the command, check the application's health; roll back if that fails, else prune."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Protocol

from snapkit.core.guarding import UNASKED, Health, HealthReport, OnFailure, failure_of
from snapkit.core.inventory.entry import Entry
from snapkit.core.outcome import Outcome
from snapkit.core.plans.statements import WrittenStep
from snapkit.core.plans.swap import SwapPlan
from snapkit.core.reporting import Caution, Observe
from snapkit.core.secrets import ShownCommand
from snapkit.core.server.dependents import in_the_way
from snapkit.core.values import dataclass
from snapkit.errors import (
    NOTHING_CHANGED,
    BusyError,
    InterruptedRunError,
    NotFoundError,
    RollbackFailedError,
    RolledBackError,
    SnapkitError,
    UnknownOutcomeError,
    UsageError,
    unexpected,
)
from snapkit.postgres.catalog import databases
from snapkit.postgres.catalog.dependents import kept_by_entries_alone
from snapkit.postgres.connection.server import Server
from snapkit.postgres.connection.sqlstates import SERVER_ERRORS, server_errors
from snapkit.processes.foreground import Ending
from snapkit.services.backup import BackupPreview, BackupReceipt, BackupRequest, preview_backup
from snapkit.services.prune import Removal
from snapkit.services.rollback import SwapReceipt, SwapRequest, decide_swap
from snapkit.services.run.retry import Persistence
from snapkit.services.run.standby_confirmation import is_confirmed
from snapkit.services.run.survey import gather

Swap = Callable[[SwapPlan, Persistence], SwapReceipt]
"""Swaps as planned; what was sent, and not answered, is asked after as long as the persistence says."""


class GuardRollback(Protocol):
    """The rollback of a guard, for a caller that does more before it and after it."""

    def decide(self, observe: Observe) -> SwapPlan:
        """Return the plan of the rollback, for ``swap`` to hold to; raises SnapkitError."""

    def take(self, swap: Swap, observe: Observe) -> SwapReceipt:
        """Do it with ``swap``; raises SnapkitError."""


@dataclass(frozen=True, slots=True)
class PersistentRollback:
    """A rollback that is tried again while the trouble may pass; each try makes its plan anew."""

    plan: Callable[[], SwapPlan]
    persistence: Persistence
    done: Callable[[], None]
    """Called once it has been done, or given up: nobody need keep the backup any more."""

    def decide(self, observe: Observe) -> SwapPlan:
        return self.persistence.through(self.plan, _DOING, observe)

    def take(self, swap: Swap, observe: Observe) -> SwapReceipt:
        try:
            return self.persistence.through(lambda: swap(self.plan(), self.persistence), _DOING, observe)
        finally:
            self.done()


_DOING = "to roll back"


class Steps(Protocol):
    """The steps of a guarded deploy. The caller provides them, with progress, hooks and terminal."""

    @property
    def command(self) -> ShownCommand:
        """The command, as far as it is shown."""

    def back_up(self) -> BackupReceipt:
        """Make the backup; raises SnapkitError."""

    def confirm(self, backup: BackupReceipt) -> None:
        """See that the command would work on what was backed up, and could be undone; raises SnapkitError."""

    def run(self, backup: BackupReceipt) -> Ending:
        """Run the command to its end; raises UsageError if it cannot be started."""

    def check(self, backup: BackupReceipt) -> HealthReport:
        """Check the application's health after the command."""

    def roll_back(self, backup: BackupReceipt, end: Ending | None) -> SwapReceipt | None:
        """End what the command has left running, and swap the backup in; raises SnapkitError.

        Returns None if it is proved that nothing was written since the command began: there is nothing to roll back.
        ``end`` None means that it is not known how the command ended. RolledBackError: the rollback went through,
        though no more is known.
        """

    def prune(self) -> Removal | None:
        """Drop what no rule keeps, but not the backup; None where no rule was given. Raises SnapkitError."""


def guard(steps: Steps, on_failure: OnFailure) -> GuardReceipt:
    """Go through the steps, and return what came of them.

    Raises SnapkitError only if the backup could not be made; then the command was not run. Once it runs, no failure of
    snapkit's own keeps the rollback from being made. The receipt tells of a rollback that failed. If old backups could
    not be dropped, a deploy that went well is still one that went well.
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
        rollback = steps.roll_back(backup, end)
        return replace(receipt, rollback=rollback, nothing_written=rollback is None)
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
    said = f"All went well, but some old backups were not dropped. {why} {error.hint or ''}"
    return Caution("prune_failed", said.rstrip())


def preview_guard(
    server: Server,
    request: BackupRequest,
    command: ShownCommand,
    on_failure: OnFailure,
    *,
    checks: bool,
    prunes: bool,
    carries: bool = False,
) -> BackupPreview:
    """Return what a guarded deploy would do at this moment; the command is not run, and nothing is changed.

    Of what comes after the command the statements are not told, since they depend on what that leaves.
    """
    preview = preview_backup(server, request)
    titles = [f"Run {command}", *(["Note which rows it has written, while clients work"] if carries else [])]
    if checks:
        titles.append("Check whether the application is well")
    if on_failure is OnFailure.ROLLBACK:
        swap = "swap a clone of the backup in, and bring late writes along" if carries else "swap the backup in"
        titles.append(f"If either fails: {swap}" if checks else f"If it fails: {swap}")
    if prunes:
        titles.append("If all is well: drop what no rule keeps")
    return replace(preview, steps=(*preview.steps, *(WrittenStep(title, (), atomic=False) for title in titles)))


def check_replicated(backup: BackupReceipt, *, allow_unreplicated: bool) -> None:
    """Raise SnapkitError if no synchronous standby has the backup, and InterruptedRunError if the run was to end."""
    if backup.interrupted:
        raise InterruptedRunError("Interrupted.")
    if not allow_unreplicated and not is_confirmed(backup.cautions):
        raise SnapkitError(
            "No synchronous standby has confirmed the backup: if one takes this server's place, the backup may "
            "be missing there. To go on anyway: --allow-unreplicated"
        )


def check_backed_up(server: Server, backup: BackupReceipt) -> None:
    """Raise BusyError if the database that the command would find is not the one that was backed up."""
    source = backup.backup.source
    if _name_of(server, backup.source_oid) != source:
        raise BusyError(f"{source!r} is not the database that was backed up: it was renamed or replaced meanwhile.")


def what_is_in_the_way(server: Server, backup: Entry) -> tuple[Caution, ...]:
    """Say, after a command that failed, which roles and tablespaces cannot be dropped for the backup; never raises.

    What the command did in one transaction that was rolled back leaves no trace of that.
    """
    with suppress(SnapkitError, *SERVER_ERRORS), server.connect() as connection:
        inventory = gather(connection, server.source).inventory
        entries = {entry.database.oid for entry in inventory.entries} | {backup.database.oid}
        return in_the_way(kept_by_entries_alone(connection, entries), backup.name)
    return ()


def plan_return(server: Server, backup: BackupReceipt, request: SwapRequest) -> SwapPlan:
    """Return the plan of the rollback to ``backup``, which ``swap`` then holds to.

    The command may have dropped the database, and made another of its name. Raises BusyError if somebody else has
    swapped databases while it ran: then the live database is not the one that the command worked on.
    """
    own, source = backup.backup, backup.backup.source
    if _name_of(server, own.database.oid) == source:
        raise BusyError(
            "Somebody rolled the database back to this backup while the command ran.",
            state=f"{source!r} is as it was before the command, plus what was written after that rollback.",
            is_passing=False,
        )
    plan = decide_swap(server, request)
    replaced = plan.live is not None and plan.live.oid != backup.source_oid
    if replaced and _name_of(server, backup.source_oid) is not None:
        raise BusyError(
            f"{source!r} is not the database that was backed up: somebody swapped it while the command ran.",
            state=f"What is live now was not touched; the backup {own.name!r} is there.",
            is_passing=False,
        )
    return plan


def account_of(server: Server, backup: BackupReceipt, interrupted: InterruptedRunError) -> SnapkitError:
    """Return the error for a rollback that was interrupted: RolledBackError if it went through all the same.

    The server is asked, by OID, since the interruption may come after the COMMIT.
    """
    own = backup.backup
    with suppress(SnapkitError):
        if _name_of(server, own.database.oid) == own.source:
            return RolledBackError(f"The rollback of {own.source!r} was interrupted after it was done.")
    return interrupted


def _name_of(server: Server, oid: int) -> str | None:
    with server.connect() as connection, server_errors(NOTHING_CHANGED):
        return databases.name_of(connection, oid)


@dataclass(frozen=True, slots=True)
class GuardReceipt(Outcome):
    """What came of a guarded command. ``failure`` says why it failed; None if all went well.

    ``command_exit_code`` is None where it is not known: it could not be started (``was_run``), or we failed ourselves.
    ``rollback`` is None where there was none: all went well, or the database was to be kept as it is, or it is proved
    that ``nothing_written`` was there for one to undo. An error in its place says why it failed.
    """

    backup: BackupReceipt
    command: ShownCommand
    command_exit_code: int | None
    health: Health
    failure: str | None = None
    failed_as: type[SnapkitError] = SnapkitError
    """What kind of error it is that the command was not run."""
    was_run: bool = True
    rollback: SwapReceipt | SnapkitError | None = None
    nothing_written: bool = False
    removal: Removal | None = None
    prune_cautions: tuple[Caution, ...] = ()

    @property
    def leaves_stdout(self) -> bool:
        return True

    @property
    def cautions(self) -> tuple[Caution, ...]:
        """Those of all its parts."""
        swap = self.rollback.cautions if isinstance(self.rollback, SwapReceipt) else ()
        prune = self.removal.cautions if self.removal else ()
        still = (_still(self.backup.backup.source),) if self.nothing_written else ()
        return (*self.backup.cautions, *swap, *still, *prune, *self.prune_cautions)

    @property
    def outage(self) -> timedelta:
        """How long clients were held in all."""
        swap = self.rollback.outage if isinstance(self.rollback, SwapReceipt) else timedelta(0)
        return self.backup.outage + swap

    @property
    def changed(self) -> tuple[str, ...]:
        swap = self.rollback.changed if isinstance(self.rollback, SwapReceipt) else ()
        prune = self.removal.changed if self.removal else ()
        return tuple(dict.fromkeys((*self.backup.changed, *swap, *prune)))

    @property
    def ran(self) -> tuple[ShownCommand, int | None]:
        return self.command, self.command_exit_code

    @property
    def shortfall(self) -> SnapkitError | None:
        """What the run ends with, the receipt notwithstanding; None if all went well."""
        if self.failure is None:
            return None
        source, name = self.backup.backup.source, self.backup.backup.name
        as_it_was_left = f"{source!r} is as the command left it"
        if not self.was_run:
            return self.failed_as(
                self.failure,
                state=f"The command was not run: {source!r} is as it was. The backup {name!r} is there.",
                hint=f"If you no longer need it: snapkit delete {name}",
            )
        match self.rollback:
            case None if self.nothing_written:
                return RolledBackError(
                    self.failure,
                    state=f"There was nothing to roll back: {source!r} is as it was before the command.",
                    hint=f"If you no longer need the backup: snapkit delete {name}",
                )
            case None:
                return SnapkitError(
                    self.failure,
                    state=f"{as_it_was_left} (--on-failure keep).",
                    hint=f"To roll back anyway: snapkit rollback {name}",
                )
            case UnknownOutcomeError() as error:
                return error
            case RolledBackError() as error:
                return RolledBackError(
                    f"{self.failure} {error.message}",
                    state=f"{source!r} is as it was before the command.",
                    hint="See what there is: snapkit list",
                )
            case SnapkitError() as error:
                state, hint = (
                    f"{as_it_was_left}; the backup {name!r} is there.",
                    _then(error, f"snapkit rollback {name}"),
                )
                if isinstance(error, NotFoundError):
                    state, hint = f"{as_it_was_left}; the backup {name!r} is gone.", "snapkit list"
                elif not error.changed_nothing:
                    state = error.state or ""
                    hint = f"See what there is (snapkit list). To roll back: snapkit rollback {name}"
                return RollbackFailedError(
                    f"{self.failure} The rollback failed, too: {error.message}", state=state, hint=hint
                )
            case receipt:
                return RolledBackError(
                    self.failure,
                    state=f"The database was rolled back: {source!r} is as it was before the command.",
                    hint=_where_it_is(receipt),
                )


def _still(source: str) -> Caution:
    return Caution(
        "nothing_written",
        f"Nothing was written to {source!r} while the command ran: the server gave out no transaction ID, and no "
        "sequence moved.",
    )


def _then(error: SnapkitError, command: str) -> str:
    """Say what to type: behind what has to be done before, where something that does not pass was in the way."""
    if error.is_passing or not error.hint:
        return command
    return error.hint if "snapkit rollback" in error.hint else f"{error.hint} Then: {command}"


def _where_it_is(receipt: SwapReceipt) -> str | None:
    """Say where what the command left is to be found."""
    if receipt.displaced is None:
        return None
    return f"What the command left is kept as {receipt.displaced.name!r}."
