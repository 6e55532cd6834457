"""Resume the pools on every PgBouncer at once, and wait until their clients are served."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic

from snapkit.core.outage.pooled_databases import as_typed, command
from snapkit.core.reporting import Caution
from snapkit.postgres.outage.login_retry import Service, await_service
from snapkit.postgres.outage.pgbouncer_console import Console, ConsoleError, ConsoleLostError, await_answers
from snapkit.postgres.outage.watchdog import Watchdog
from snapkit.processes.deadline import Deadline
from snapkit.services.outage.pause import Pause, Pool
from snapkit.services.outage.pool_checks import Pooler

LOOK_AGAIN = 0.02
"""Seconds between two looks at a console."""

_RESUME_PATIENCE = 5.0
"""Seconds; our connection to the server must not be idle for longer than ten meanwhile."""


def resume(pools: Sequence[Pool], pause: Pause, watchdog: Watchdog) -> None:
    """Send RESUME to all consoles at once. After one Ctrl-C it is sent again. A second call does nothing.

    The outage lasts until clients are served again. A PgBouncer that cannot be reached any more is not counted: nobody
    waits at one that is gone.
    """
    if pause.ended is not None or not any(pool.left for pool in pools):
        return
    deadline = Deadline(_RESUME_PATIENCE)
    for _ in range(2):
        try:
            _resume_quickly(pools)
            for pool in pools:
                _await_service(pool, pause, deadline)
            while any(pool.left for pool in pools) and not deadline.is_over:
                for pool in pools:
                    _resume_patiently(pool)
                    _await_service(pool, pause, deadline)
            break
        except KeyboardInterrupt:
            continue
    pause.ended = max((pool.let_on_at for pool in pools if pool.let_on_at is not None), default=monotonic())
    watchdog.resumed([number for number, pool in enumerate(pools) if pool.is_settled])
    pause.cautions += tuple(_still_paused(pool.pooler, pool.left) for pool in pools if pool.left)


def _resume_quickly(pools: Sequence[Pool]) -> None:
    """Send RESUME to all; what is not answered at once stays in ``left``."""
    for round_ in range(max(len(pool.left) for pool in pools)):
        asked = [(pool, pool.left[round_]) for pool in pools if len(pool.left) > round_]
        for pool, name in asked:
            pool.console.send(command("RESUME", name))
        await_answers([pool.console for pool, _ in asked], Deadline(_RESUME_PATIENCE / 2))
        for pool, _ in asked:
            with suppress(ConsoleError):
                pool.console.answer()
                pool.left[round_] = ""
    for pool in pools:
        pool.left = [name for name in pool.left if name]
        pool.let_on_at = monotonic()


def _resume_patiently(pool: Pool) -> None:
    """Try again, on a new connection if the old one is lost."""
    if not pool.left:
        return
    try:
        if not pool.console.is_open:
            pool.console.close()
            pool.console = Console(pool.parameters)
        for name in tuple(pool.left):
            was_paused = pool.console.resume(name)
            pool.was_resumed |= not was_paused
            if was_paused:
                pool.let_on_at = monotonic()
            pool.left.remove(name)
    except ConsoleLostError:
        pool.console.close()
        time.sleep(LOOK_AGAIN)
    except ConsoleError:
        time.sleep(LOOK_AGAIN)


def _await_service(pool: Pool, pause: Pause, deadline: Deadline) -> None:
    """Wait until clients are served again. If that cannot be seen, the watchdog sees to it."""
    if pool.left or pool.is_settled:
        return
    try:
        service = await_service(pool.console, pool.names, deadline)
    except ConsoleError:
        return
    pool.is_settled = True
    if not pool.was_resumed:
        pool.let_on_at = monotonic()
    if service.put_off or not service.again:
        pause.cautions += (_not_served(pool.pooler, pool.names, service),)


def _not_served(pooler: Pooler, names: Sequence[str], service: Service) -> Caution:
    """Warn that queries may have been refused. PgBouncer does not count the clients whom it refuses."""
    if service.again:
        said = (
            "treated a login that the pause had interrupted as a failed one. snapkit made it log in again right "
            "after the pause. Until then it refused new queries (08P01, server login has been failing)."
        )
    else:
        said = (
            f"still had no connection to the server {_RESUME_PATIENCE:g} s after the pause. Its clients wait, or "
            "are refused. See SHOW POOLS on its console."
        )
    return Caution("pool_login_failed", f"PgBouncer {pooler.place} ({', '.join(names)}) {said}")


def _still_paused(pooler: Pooler, names: Sequence[str]) -> Caution:
    return Caution(
        "pool_not_resumed",
        f"PgBouncer {pooler.place} could not be resumed: the clients of {', '.join(names)} may still wait there. "
        f"snapkit's watchdog tries again for ten minutes. By hand: {as_typed(pooler.url(), names)}",
    )
