"""The steps of a guarded deploy as the command line takes them: with progress, and a word between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from snapkit.cli.format import duration_text
from snapkit.cli.interruption import uninterrupted
from snapkit.core.guarding import Health, HealthReport
from snapkit.foreground import Ending, run_command
from snapkit.health import HealthChecks, check_health
from snapkit.services.guard import plan_return
from snapkit.services.rollback import SwapRequest

if TYPE_CHECKING:
    from snapkit.cli.invocation import Invocation
    from snapkit.core.planning import SwapPlan
    from snapkit.core.results import BackupReceipt, Removal, SwapReceipt


@dataclass(frozen=True)
class TerminalSteps:
    """The steps of one call of ``snapkit guard``; ``found`` is the command by its program's path."""

    invocation: Invocation
    command: Sequence[str]
    found: Sequence[str]
    checks: HealthChecks
    make_backup: Callable[[], BackupReceipt]
    request_for: Callable[[str], SwapRequest]
    swap_in: Callable[[SwapRequest, SwapPlan], SwapReceipt]
    drop: Callable[[], Removal | None]

    def back_up(self) -> BackupReceipt:
        receipt = self.make_backup()
        self._note(
            f"{receipt.backup.source} is backed up as {receipt.backup.name}; "
            f"clients were held for {duration_text(receipt.outage)}."
        )
        return receipt

    def run(self, backup: BackupReceipt) -> Ending:
        return run_command(self.found, _environment(backup), stdout_to_stderr=self.invocation.as_json)

    def check(self, backup: BackupReceipt) -> HealthReport:
        if not self.checks.any:
            return check_health(self.checks, {})
        with self.invocation.terminal.progress("Waiting for the application to be well"):
            try:
                return check_health(self.checks, _environment(backup))
            except KeyboardInterrupt:
                return HealthReport(Health.FAILED, "it was interrupted.")

    def roll_back(self, backup: BackupReceipt) -> SwapReceipt:
        with uninterrupted():  # who pressed Ctrl-C to end the command wants the database back, once more or not
            request = self.request_for(backup.backup.name)
            return self.swap_in(request, plan_return(self.invocation.server(), backup, request))

    def prune(self) -> Removal | None:
        return self.drop()

    def _note(self, text: str) -> None:
        self.invocation.terminal.note(text)


def _environment(backup: BackupReceipt) -> Mapping[str, str]:
    """What the command, and the health check, get besides the environment that snapkit has."""
    return {"SNAPKIT_BACKUP": backup.backup.name, "SNAPKIT_SOURCE": backup.backup.source}
