"""The state of a pause: how long clients have been held by it, and what is known of each pool."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from snapkit.core.outage.hold_rules import HoldRules
from snapkit.core.outage.pooled_databases import PoolerReceipt
from snapkit.core.reporting import Caution
from snapkit.postgres.outage.pgbouncer_console import Console
from snapkit.services.outage.hold import Hold
from snapkit.services.outage.pool_checks import Pooler


@dataclass
class Pause:
    """How clients were held by PgBouncers; complete when the pause is over. Without PgBouncers nobody was.

    ``began`` is when the first PAUSE was sent, ``ended`` when the last pool served its clients again: seconds of the
    monotonic clock. ``leaving`` is how long transactions were waited for.
    """

    poolers: tuple[PoolerReceipt, ...] = ()
    began: float | None = None
    ended: float | None = None
    leaving: timedelta = timedelta(0)
    cautions: tuple[Caution, ...] = ()

    def hold(self, rules: HoldRules) -> Hold:
        """Return the hold that this pause began; one that has not begun if nothing was paused."""
        return Hold(rules, self.began)

    def outage(self, at_the_door: timedelta) -> timedelta:
        """How long clients were held: by the pause, else at the server's door."""
        if self.began is None or self.ended is None:
            return at_the_door
        return max(at_the_door, timedelta(seconds=self.ended - self.began))


@dataclass
class Pool:
    """The console of one PgBouncer, and one more connection for each database, since a PAUSE may keep one busy."""

    pooler: Pooler
    parameters: Mapping[str, str]
    console: Console
    names: tuple[str, ...]
    pausing: list[Console]
    wait_timeout: str | None
    login_retry: str | None
    left: list[str] = field(default_factory=list)
    """The databases that are paused, as far as we know."""
    is_out: bool = False
    """Whether nothing is paused there after all."""
    was_resumed: bool = False
    """Whether somebody else has let clients on before us: a restart, an administrator, the watchdog."""
    let_on_at: float | None = None
    """When we let them on, or found that it could not be done; on the monotonic clock."""
    is_settled: bool = False
    """Whether all that we have set there is again what it was."""

    def close(self) -> None:
        for console in (self.console, *self.pausing):
            console.close()
