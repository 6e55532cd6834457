"""Whether an application is well: a URL that answers 2xx, a command that ends with 0, tried until the time is up."""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import timedelta
from http.client import HTTPException
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import Request, urlopen

from snapkit.background import run_in_background
from snapkit.core.guarding import UNASKED, Health, HealthReport
from snapkit.core.hooks import command_words, what_went_wrong
from snapkit.core.values import dataclass
from snapkit.errors import UsageError

_BETWEEN = 0.5
"""Seconds between two tries."""

_ANSWER = 10.0
"""Seconds that one answer of a URL may take; the next try may find an application that has started meanwhile."""


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
                "--health-url is no URL of http:// or https://.",
                state="Nothing was changed.",
                hint="snapkit guard --help",
            )


def check_health(checks: HealthChecks, environment: Mapping[str, str]) -> HealthReport:
    """Try until all checks pass or the time is up. ``environment`` is the command's."""
    tries: list[Callable[[float], str | None]] = []
    if checks.url is not None:
        tries.append(lambda seconds: _ask(checks.url or "", seconds))
    if checks.command is not None:
        tries.append(lambda seconds: _run(checks.command or "", environment, seconds))
    if not tries:
        return UNASKED
    deadline = time.monotonic() + checks.timeout.total_seconds()
    for attempt in tries:
        reason = _until(attempt, deadline)
        if reason is not None:
            return HealthReport(Health.FAILED, reason)
    return HealthReport(Health.PASSED)


def _until(attempt: Callable[[float], str | None], deadline: float) -> str | None:
    """Return None as soon as the attempt finds nothing wrong, else what it found when the time was up.

    There is at least one attempt, which gets what is left of the time; the first one a second at the least.
    """
    reason = attempt(max(deadline - time.monotonic(), 1.0))
    while reason is not None:
        left = deadline - time.monotonic()
        if left <= _BETWEEN:
            return reason
        time.sleep(_BETWEEN)
        reason = attempt(left - _BETWEEN)
    return None


def _ask(url: str, seconds: float) -> str | None:
    shown = _shown(url)
    try:
        with urlopen(_request(url), timeout=min(seconds, _ANSWER)) as answer:  # noqa: S310
            status = answer.status
    except HTTPError as error:
        status = error.code
    except (OSError, HTTPException, ValueError) as error:
        return f"{shown} gave no answer ({_why(error)})."
    return None if 200 <= status < 300 else f"{shown} answered {status}."


def _request(url: str) -> Request:
    """Return the request for a URL. User and password are for that server alone, not for one that it redirects to.

    https://docs.python.org/3/library/urllib.request.html#urllib.request.Request.add_unredirected_header
    """
    parts = urlsplit(url)
    userinfo, _, place = parts.netloc.rpartition("@")
    request = Request(urlunsplit(parts._replace(netloc=place)), headers={"User-Agent": "snapkit"})  # noqa: S310
    if userinfo:
        user, _, password = userinfo.partition(":")
        given = b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode("ascii")
        request.add_unredirected_header("Authorization", f"Basic {given}")
    return request


def _why(error: Exception) -> str:
    """What is wrong, in the system's words; others may repeat the URL."""
    reason = getattr(error, "reason", error)
    return str(reason) if isinstance(reason, OSError) and not isinstance(reason, URLError) else type(reason).__name__


def _shown(url: str) -> str:
    """Leave out what may be secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _run(command: str, environment: Mapping[str, str], seconds: float) -> str | None:
    ending = run_in_background(
        command_words(command), environment, "", timedelta(seconds=seconds), pass_on=lambda piece: None
    )
    return what_went_wrong("The health command", ending, timedelta(seconds=seconds), "health-timeout")
