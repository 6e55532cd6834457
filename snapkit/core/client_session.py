"""A session of a client, as pg_stat_activity shows it."""

from __future__ import annotations

from datetime import datetime

from snapkit.core.utc import utc_clock
from snapkit.core.values import dataclass


@dataclass(frozen=True, slots=True)
class ClientSession:
    """A session inside a database, as pg_stat_activity shows it to this role (what it hides is None)."""

    pid: int
    user: str | None
    application: str | None
    client: str | None
    state: str | None
    """What it is doing: ``idle``, ``active``, ``idle in transaction``."""
    state_since: datetime | None
    backend_start: datetime | None
    may_terminate: bool

    def describe(self) -> str:
        """Name the session in one short phrase."""
        who = f"pid {self.pid}, user {self.user or 'unknown'}"
        if self.application:
            who += f", {self.application}"
        return who + (f", from {self.client}" if self.client else "")

    def doing(self) -> str:
        """Say what it is doing, and since when, in UTC; an empty text where this role may not see it."""
        if self.state is None:
            return ""
        return self.state + (f" since {utc_clock(self.state_since)} UTC" if self.state_since else "")
