"""The steps of a guarded deploy as the command line takes them: with progress, and a word between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from snapkit.cli.interruption import HeldSignals, interrupted
from snapkit.core.durations import duration_text
from snapkit.core.guarding import UNASKED, Health, HealthReport
from snapkit.core.model import Caution
from snapkit.foreground import Ending, run_command
from snapkit.health import HealthChecks, check_health
from snapkit.left_running import adopting, end_what_is_left
from snapkit.services.guard import claim, plan_return
from snapkit.services.rollback import SwapRequest

if TYPE_CHECKING:
    from snapkit.cli.invocation import Invocation
    from snapkit.core.model import Entry
    from snapkit.core.planning import SwapPlan
    from snapkit.core.results import BackupReceipt, Removal, SwapReceipt


@dataclass(frozen=True)
class TerminalSteps:
    """The steps of one call of ``snapkit guard``; ``found`` is the command by its program's path.

    From the command's start on, ``until_the_end`` holds signals back: nothing is to come between it and the rollback.
    """

    invocation: Invocation
    command: Sequence[str]
    found: Sequence[str]
    checks: HealthChecks
    make_backup: Callable[[Callable[[Entry], None]], BackupReceipt]
    request_for: Callable[[Entry], SwapRequest]
    swap_in: Callable[[SwapRequest, Entry, Callable[[], SwapPlan]], SwapReceipt]
    drop: Callable[[], Removal | None]
    until_the_end: ExitStack
    _signals: HeldSignals = field(default_factory=HeldSignals)
    _claimed: ExitStack = field(default_factory=ExitStack)
    """What keeps other runs away from the backup, until all is well or over."""

    def back_up(self) -> BackupReceipt:
        server = self.invocation.server()
        self.until_the_end.enter_context(self._claimed)
        receipt = self.make_backup(lambda entry: claim(server, entry, self._claimed))
        self._note(
            f"{receipt.backup.source} is backed up as {receipt.backup.name}; "
            f"clients were held for {duration_text(receipt.outage)}."
        )
        return receipt

    def run(self, backup: BackupReceipt) -> Ending:
        # What comes after is loaded before: the command may replace the very environment that snapkit is installed in.
        from rich import progress, text  # noqa: F401

        from snapkit.cli import document  # noqa: F401
        from snapkit.cli import text as rendering  # noqa: F401

        self.until_the_end.enter_context(self._signals.held())
        self.until_the_end.enter_context(adopting())
        ending = run_command(self.found, self._environment(backup), stdout_to_stderr=self.invocation.is_json)
        return replace(ending, signals=(*self._signals.came, *ending.signals))

    def check(self, backup: BackupReceipt) -> HealthReport:
        if not self.checks.any:
            return UNASKED
        interrupted = HealthReport(Health.FAILED, "it was interrupted.")
        if self._signals.came:
            return interrupted
        with self.invocation.terminal.progress("Waiting for the application to be well"):
            try:
                with self._signals.raising():
                    return check_health(self.checks, self._environment(backup))
            except KeyboardInterrupt:
                return interrupted

    def roll_back(self, backup: BackupReceipt, end: Ending | None) -> SwapReceipt:
        # Who presses Ctrl-C to end the command presses it twice; once more ends the rollback.
        with self._interruptible(but_for=1):
            if not end_what_is_left(end.group if end else None):
                left = "Something that the command started is still running, and cannot be ended: look for it with ps."
                self.invocation.add_caution(Caution("processes_left", left))
            entry = backup.backup
            request = self.request_for(entry)
            return self.swap_in(request, entry, lambda: plan_return(self.invocation.server(), backup, request))

    def prune(self) -> Removal | None:
        self._claimed.close()  # newer ones may have come, and then it may go
        with self._interruptible():
            return self.drop()

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
        """What the command and the health check get: what snapkit itself was given, and what this is about."""
        own = {"SNAPKIT_BACKUP": backup.backup.name, "SNAPKIT_SOURCE": backup.backup.source}
        return self.invocation.environment_with(own)
