"""Whether an application is healthy: a URL answers 2xx, or a command ends with 0. Both are tried until the time is
up."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from urllib.parse import urlsplit

from snapkit.core.guarding import UNASKED, Health, HealthReport
from snapkit.core.hooks import command_words
from snapkit.core.values import dataclass
from snapkit.errors import NOTHING_CHANGED, UsageError
from snapkit.processes.background import run_in_background
from snapkit.processes.command_exit import what_went_wrong
from snapkit.processes.deadline import Deadline
from snapkit.processes.http_check import what_is_wrong

_BETWEEN = 0.5
"""Seconds between two tries."""

_ANSWER = 10.0
"""Seconds to wait for one answer of a URL. The application may have started by the next try."""


@dataclass(frozen=True, slots=True)
class HealthChecks:
    """What is asked of an application; each of them has to pass. ``command`` is for a shell."""

    command: str | None
    url: str | None
    timeout: timedelta

    @property
    def any(self) -> bool:
        """Whether there is anything to be asked."""
        return self.command is not None or self.url is not None

    def __post_init__(self) -> None:
        """Raise UsageError for what is no HTTP URL."""
        if self.url is None:
            return
        try:
            parts = urlsplit(self.url)
            is_written = not any(character <= " " or character == "\x7f" for character in self.url)
            is_fit = is_written and parts.scheme in ("http", "https") and parts.hostname and (parts.port or True)
        except ValueError:
            is_fit = False
        if not is_fit:
            raise UsageError(
                "--health-url must begin with http:// or https://.",
                state=NOTHING_CHANGED,
                hint="snapkit guard --help",
            )


def check_health(checks: HealthChecks, environment: Mapping[str, str]) -> HealthReport:
    """Try until all checks pass or the time is up. ``environment`` is the command's."""
    tries: list[Callable[[float], str | None]] = []
    if checks.url is not None:
        tries.append(lambda seconds: what_is_wrong(checks.url or "", min(seconds, _ANSWER)))
    if checks.command is not None:
        tries.append(lambda seconds: _run(checks.command or "", environment, seconds))
    if not tries:
        return UNASKED
    deadline = Deadline(checks.timeout)
    for attempt in tries:
        reason = _until(attempt, deadline)
        if reason is not None:
            return HealthReport(Health.FAILED, reason)
    return HealthReport(Health.PASSED)


def _until(attempt: Callable[[float], str | None], deadline: Deadline) -> str | None:
    """Return None as soon as the attempt finds nothing wrong, else what it found when the time was up.

    There is at least one attempt, which gets what is left of the time; the first one a second at the least.
    """
    reason = attempt(max(deadline.left, 1.0))
    while reason is not None:
        left = deadline.left
        if left <= _BETWEEN:
            return reason
        time.sleep(_BETWEEN)
        reason = attempt(left - _BETWEEN)
    return None


def _run(command: str, environment: Mapping[str, str], seconds: float) -> str | None:
    ending = run_in_background(
        command_words(command), environment, "", timedelta(seconds=seconds), pass_on=lambda piece: None
    )
    return what_went_wrong("The health command", ending, timedelta(seconds=seconds), "health-timeout")
