"""The steps of a guarded deploy as the command line takes them: with progress, and a word between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from snapkit.cli.ctrl_c import HeldSignals, interrupted
from snapkit.core.durations import duration_text
from snapkit.core.guarding import UNASKED, Health, HealthReport
from snapkit.core.reporting import Caution
from snapkit.errors import InterruptedRunError, SnapkitError, UsageError
from snapkit.processes.foreground import Ending, run_command
from snapkit.processes.health import HealthChecks, check_health
from snapkit.processes.left_running import adopting, end_what_is_left
from snapkit.services.carrying.end_of_command import NotedEnd
from snapkit.services.entries.guard_lock import Kept, keep_from_others
from snapkit.services.guard import (
    PersistentRollback,
    account_of,
    check_backed_up,
    check_replicated,
    plan_return,
    what_is_in_the_way,
)
from snapkit.services.rollback import SwapRequest
from snapkit.services.run.any_writes import Mark, mark_moment, nothing_written_since
from snapkit.services.run.disk_room import pile_of
from snapkit.services.run.retry import Persistence

if TYPE_CHECKING:
    from datetime import timedelta

    from snapkit.cli.invocation import Invocation
    from snapkit.core.inventory.entry import Entry
    from snapkit.core.secrets import ShownCommand
    from snapkit.services.backup import BackupReceipt
    from snapkit.services.guard import GuardRollback
    from snapkit.services.prune import Removal
    from snapkit.services.rollback import SwapReceipt


@dataclass(frozen=True)
class TerminalSteps:
    """The steps of one call of ``snapkit guard``; ``found`` is the command by its program's path.

    From the command's start on, ``until_the_end`` holds signals back: nothing is to come between it and the rollback.
    """

    invocation: Invocation
    command: ShownCommand
    found: Sequence[str]
    checks: HealthChecks
    named_in_dotenv: Mapping[str, str] = field(repr=False)  # it may hold a password
    make_backup: Callable[[Callable[[Entry], None]], BackupReceipt]
    request_for: Callable[[Entry], SwapRequest]
    swap_in: Callable[[SwapRequest, Entry, GuardRollback], SwapReceipt]
    drop: Callable[[Sequence[int]], Removal | None]
    rollback_wait: timedelta
    until_the_end: ExitStack
    noting: Callable[[BackupReceipt], NotedEnd] | None = None
    """With --carry: what is begun when the command has ended, so that late writes can be told from its own."""
    allow_unreplicated: bool = False
    """Whether to run the command though no synchronous standby has confirmed the backup."""
    _signals: HeldSignals = field(default_factory=HeldSignals)
    _kept: ExitStack = field(default_factory=ExitStack)
    """What keeps the way back open, until it has been taken or all is well."""
    _locks: list[Kept] = field(default_factory=list)
    """That, once there is a backup."""
    _made: list[int] = field(default_factory=list)
    """The OID of the backup: whatever a prune drops, it is not that."""
    _unwritten: list[bool] = field(default_factory=list)
    """Whether it is proved that it has written nothing, once it has ended."""
    _marks: list[Mark | None] = field(default_factory=list)
    """The moment before the command was run."""
    _ends: list[NotedEnd] = field(default_factory=list)
    """The end of the command, once it has ended."""
    _problems: list[SnapkitError] = field(default_factory=list)
    """Why it could not be kept open."""

    def back_up(self) -> BackupReceipt:
        self.until_the_end.enter_context(self._kept)
        receipt = self.make_backup(self._keep)
        self._note(
            f"{receipt.backup.source} is backed up as {receipt.backup.name}; "
            f"clients were held for {duration_text(receipt.outage)}."
        )
        return receipt

    def confirm(self, backup: BackupReceipt) -> None:
        check_replicated(backup, allow_unreplicated=self.allow_unreplicated)
        with self._interruptible():
            check_backed_up(self.invocation.server(), backup)
            with self.invocation.terminal.progress("Opening the sessions for a rollback") as observe:
                for kept in self._locks:
                    kept.make_ready(observe)
            self._marks.append(mark_moment(self.invocation.server(), backup.source_oid))

    def run(self, backup: BackupReceipt) -> Ending:
        _load_what_comes_after()
        if self._problems:
            raise UsageError(f"The backup could not be protected from other runs. {self._problems[0].message}")
        self.until_the_end.enter_context(self._signals.held())
        self.until_the_end.enter_context(self._kept)  # to be closed while signals are held back
        self.until_the_end.enter_context(adopting())
        ending = run_command(self.found, self._environment(backup), stdout_to_stderr=self.invocation.is_json)
        if ending.exit_code:
            for caution in what_is_in_the_way(self.invocation.server(), backup.backup):
                self.invocation.add_caution(caution)
        if self.noting is not None:
            # Asked now: what is begun next writes to the server.
            self._unwritten.extend(nothing_written_since(self.invocation.server(), mark) for mark in self._marks)
            self._ends.append(self.noting(backup))
            self.until_the_end.callback(self._ends[0].stop)
        return replace(ending, signals=(*self._signals.came, *ending.signals))

    def check(self, backup: BackupReceipt) -> HealthReport:
        if not self.checks.any:
            return UNASKED
        interrupted = HealthReport(Health.FAILED, "it was interrupted.")
        if self._signals.came:
            return interrupted
        with self.invocation.terminal.progress("Waiting for the health check to pass"):
            try:
                with self._signals.raising():
                    return check_health(self.checks, self._environment(backup))
            except KeyboardInterrupt:
                return interrupted

    def roll_back(self, backup: BackupReceipt, end: Ending | None) -> SwapReceipt | None:
        try:
            return self._roll_back(backup, end)
        except InterruptedRunError as error:
            raise account_of(self.invocation.server(), backup, error) from error

    def _roll_back(self, backup: BackupReceipt, end: Ending | None) -> SwapReceipt | None:
        # Who presses Ctrl-C to end the command presses it twice; once more ends the rollback.
        with self._interruptible(but_for=1):
            if not end_what_is_left(end.group if end else None):
                left = "A process that the command started is still running, and could not be ended. Find it with ps."
                self.invocation.add_caution(Caution("processes_left", left))
                self._marks.clear()  # it may write yet
                self._unwritten.clear()
            entry, server = backup.backup, self.invocation.server()
            if any(self._unwritten) or any(nothing_written_since(server, mark) for mark in self._marks):
                self._let_go()
                return None
            request = self.request_for(entry)
            if self._ends:
                with self.invocation.terminal.progress("Noting which rows the command has written"):
                    request = replace(request, carry=self._ends[0].carrying())
            persistence = Persistence(self.rollback_wait, self._signals.heeding())
            guard_rollback = PersistentRollback(lambda: plan_return(server, backup, request), persistence, self._let_go)
            receipt = self.swap_in(request, entry, guard_rollback)
        for caution in pile_of(server):
            self.invocation.add_caution(caution)
        return receipt

    def _let_go(self) -> None:
        for kept in self._locks:
            kept.let_go()

    def _keep(self, backup: Entry) -> None:
        """Called while no other run can get at the backup. Nothing is raised: the backup is complete."""
        self._made.append(backup.database.oid)
        try:
            kept = keep_from_others(self.invocation.server(), backup, self._kept)
        except InterruptedRunError:
            raise
        except SnapkitError as error:
            self._problems.append(error)
        else:
            self._locks.append(kept)
            if kept.caution is not None:
                self.invocation.add_caution(kept.caution)

    def prune(self) -> Removal | None:
        for end in self._ends:
            end.stop()
        self._kept.close()  # newer ones may have come, and then it may go
        with self._interruptible():
            return self.drop(self._made)

    @contextmanager
    def _interruptible(self, but_for: int = 0) -> Iterator[None]:
        try:
            with self._signals.raising(but_for):
                yield
        except KeyboardInterrupt:
            raise interrupted() from None

    def _note(self, text: str) -> None:
        self.invocation.terminal.note(text)

    def _environment(self, backup: BackupReceipt) -> Mapping[str, str]:
        """What the command and the health check get: what snapkit itself was given, that of .env which names the
        database, the variables that lead libpq's programs there, and what this is about."""
        from snapkit.postgres.connection.libpq_environment import environment_to_live

        own = {"SNAPKIT_BACKUP": backup.backup.name, "SNAPKIT_SOURCE": backup.backup.source}
        leading = environment_to_live(self.invocation.server())
        return self.invocation.environment_with({**self.named_in_dotenv, **leading, **own})


def _load_what_comes_after() -> None:
    """The command may replace the very environment that snapkit is installed in."""
    from rich import padding, progress, table, text  # noqa: F401

    from snapkit.cli import deploy_facts, entry_facts, envelope, held_clients  # noqa: F401
    from snapkit.cli import table as tables  # noqa: F401
    from snapkit.core import checks  # noqa: F401
