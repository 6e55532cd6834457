"""Whether a guarded command has failed, and how that is said."""

from __future__ import annotations

import signal
from enum import StrEnum

from snapkit.core.secrets import ShownCommand
from snapkit.core.values import dataclass


class OnFailure(StrEnum):
    """What becomes of the database when the command or the health check fails."""

    ROLLBACK = "rollback"
    KEEP = "keep"


class Health(StrEnum):
    """How the health check came out; ``NONE``: none was asked for, or the command had failed already."""

    PASSED = "passed"
    FAILED = "failed"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class HealthReport:
    """How the health check came out, and why where it failed."""

    health: Health
    reason: str | None = None


UNASKED = HealthReport(Health.NONE)


def failure_of(command: ShownCommand, exit_code: int, interrupted: bool, report: HealthReport) -> str | None:
    """Return, as a sentence, why the deploy failed; None if it did not.

    ``interrupted`` is whether snapkit was told to end meanwhile, whatever the command made of it.
    """
    if exit_code:
        return f"{command} {_ending(exit_code)}."
    if interrupted:
        return f"The run was interrupted; {command} ended with exit code 0."
    if report.health is Health.FAILED:
        return f"The health check failed: {report.reason}"
    return None


def _ending(code: int) -> str:
    if code > 128:
        try:
            return f"was ended by {signal.Signals(code - 128).name} (exit code {code})"
        except ValueError:
            pass
    return f"ended with exit code {code}"
