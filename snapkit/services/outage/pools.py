"""Pause the source's databases on the PgBouncers that the user named: their clients wait, and no query fails.

Pools are paused as briefly as can be. If snapkit dies, a watchdog resumes them: it has its own connections open before
anything is paused (``postgres/outage/watchdog.py``). If that fails too, ``snapkit recover`` resumes them.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from time import monotonic

from snapkit.core.outage.hold_rules import DEFAULT_RULES, HoldRules
from snapkit.core.outage.pooled_databases import clients_wait, command, logins_under_way, outlasts
from snapkit.core.reporting import Caution, Observe, Progress
from snapkit.errors import NOTHING_CHANGED, SnapkitError, UsageError
from snapkit.postgres.catalog.sessions import keep_awake
from snapkit.postgres.connection.server import Connection
from snapkit.postgres.connection.sqlstates import server_errors
from snapkit.postgres.outage.login_retry import SETTING
from snapkit.postgres.outage.pgbouncer_console import Console, await_answers
from snapkit.postgres.outage.watchdog import Post, Watchdog, WatchdogError
from snapkit.processes.deadline import Deadline
from snapkit.services.outage.pause import Pause, Pool
from snapkit.services.outage.pool_checks import (
    Pooler,
    check_admin,
    check_free,
    leading,
    left_out_pooler,
    named,
    opened,
    receipt_of,
    settings_of,
)
from snapkit.services.outage.resume import LOOK_AGAIN, resume

LONGEST_PAUSE = timedelta(hours=1)
"""After this the watchdog lets clients on, whatever we do meanwhile; they then wait at the server's door."""

_LOGIN_PATIENCE = 2.0
"""Seconds to wait for a moment in which PgBouncer does not log in to the server. A PAUSE in the middle of a login makes
it take the server for unreachable, for server_login_retry (15 s)."""

_CALM_LOOKS = 5


@contextmanager
def paused(
    poolers: Sequence[Pooler],
    connection: Connection,
    source: str,
    observe: Observe,
    rules: HoldRules = DEFAULT_RULES,
    *,
    needed: bool = True,
) -> Iterator[Pause]:
    """Hold the clients of ``source`` on each PgBouncer during the block.

    Running transactions may take as long as the rules allow once clients wait. After that the block begins, with the
    PAUSE pending, so that nobody new gets in. Raises as ``check_poolers`` does, and SnapkitError if the watchdog cannot
    be started; then nobody is held. If a RESUME fails, it is a warning, and the watchdog goes on trying.
    ``connection``, which holds the source's lock, is kept awake meanwhile. If the PgBouncers are not ``needed``, those
    that fail are left out with a warning, and none of these errors is raised.
    """
    pause = Pause()
    if not poolers:
        yield pause
        return
    observe(Progress("Pausing the poolers", timedelta(0)))

    def awake() -> None:
        with server_errors(NOTHING_CHANGED):
            keep_awake(connection)

    def leave_out(pooler: Pooler, error: SnapkitError) -> None:
        if needed:
            raise error
        pause.cautions += (left_out_pooler(pooler, error),)

    with ExitStack() as stack:
        pools, watchdog = _ready_to_pause(
            stack, poolers, source, connection, limit=rules.limit, awake=awake, leave_out=leave_out
        )
        if watchdog is None:
            yield pause
            return
        pause.poolers = tuple(receipt_of(pool.console, pool.names) for pool in pools)
        try:
            watchdog.arm()
            _pause(pools, pause, rules.grace_at_the_door, awake, leave_out)
            yield pause
        except SnapkitError as error:
            resume(pools, pause, watchdog)
            left = (caution.message for caution in pause.cautions if caution.code == "pool_not_resumed")
            for each in left:
                error.state = error.state + f" {each}" if error.state else each
            raise
        except BaseException:
            resume(pools, pause, watchdog)
            raise
        resume(pools, pause, watchdog)
        pause.cautions += tuple(caution for pool in pools for caution in _afterwards(pool, pause))


_LeaveOut = Callable[[Pooler, SnapkitError], None]
"""Takes note of a pooler that fails, or raises the error."""


def _ready_to_pause(
    stack: ExitStack,
    poolers: Sequence[Pooler],
    source: str,
    connection: Connection,
    *,
    limit: timedelta | None,
    awake: Callable[[], None],
    leave_out: _LeaveOut,
) -> tuple[Sequence[Pool], Watchdog | None]:
    """Open all connections for a pause, until the stack is closed; without a watchdog nothing is paused."""
    token = f"snapkit {secrets.token_hex(4)}"
    pools: list[Pool] = []
    for pooler in poolers:
        try:
            pools.append(stack.enter_context(_poised(pooler, source, connection, token)))
        except SnapkitError as error:
            leave_out(pooler, error)
        awake()
    if not pools:
        return (), None
    try:
        watchdog = stack.enter_context(_watchdog(pools, limit or LONGEST_PAUSE))
    except SnapkitError as error:
        for pool in pools:
            leave_out(pool.pooler, error)
        return (), None
    awake()
    for number, pool in enumerate(pools):
        try:
            _check_single(pool, token)
        except SnapkitError as error:
            leave_out(pool.pooler, error)
            pool.is_out = True
            watchdog.resumed([number])
    return [pool for pool in pools if not pool.is_out], watchdog


@contextmanager
def _poised(pooler: Pooler, source: str, connection: Connection, token: str) -> Iterator[Pool]:
    """Open the connections to pause one PgBouncer and resume it; check again that nobody else has paused it."""
    parameters = {**pooler.parameters, "application_name": token}
    with opened(pooler, parameters) as console, ExitStack() as stack:
        databases = leading(console, pooler, source, connection)
        check_free(pooler, databases)
        check_admin(console, pooler, databases)
        very_one = {**parameters, **console.address}
        names = tuple(database.name for database in databases)
        settings = settings_of(console)
        pool = Pool(pooler, very_one, console, names, [], settings.get("query_wait_timeout"), settings.get(SETTING))
        stack.callback(pool.close)
        pool.pausing += [Console(very_one) for _ in names]
        yield pool


@contextmanager
def _watchdog(pools: Sequence[Pool], limit: timedelta) -> Iterator[Watchdog]:
    problem: WatchdogError
    try:
        posts = [Post(pool.parameters, pool.names, pool.login_retry) for pool in pools]
        watchdog = Watchdog(posts, limit.total_seconds())
        try:
            watchdog.wait_until_ready()
            yield watchdog
        finally:
            watchdog.close()
        return
    except WatchdogError as error:
        problem = error
    raise SnapkitError(
        f"The watchdog, which resumes the pools if snapkit dies, could not be started: {problem}.",
        state=NOTHING_CHANGED + " Nothing was paused.",
        hint="snapkit pauses nothing without it. To go on without pausing, leave out --pgbouncer-url, or give "
        "--no-pgbouncer.",
    ) from problem


def _check_single(pool: Pool, token: str) -> None:
    """Raise if our connections, the watchdog's too, have reached more than one PgBouncer process."""
    with named(pool.pooler):
        clients = pool.console.ask("SHOW CLIENTS")
    if not clients or "application_name" not in clients[0]:
        return  # PgBouncer before 1.18 does not tell
    ours = sum((row.get("application_name") or "").startswith(token) for row in clients)
    if ours < 2 + len(pool.pausing):
        raise UsageError(
            f"Several PgBouncers answer at {pool.pooler.place}: a load balancer, or so_reuseport.",
            state=NOTHING_CHANGED + " Nothing was paused.",
            hint="Give one --pgbouncer-url for each of them, with an address of its own. If they share a port, "
            "each can listen on a Unix socket of its own.",
        )


def _pause(
    pools: Sequence[Pool], pause: Pause, grace: timedelta, awake: Callable[[], None], leave_out: _LeaveOut
) -> None:
    """Send PAUSE to all at once; return when all pools are empty, or ``grace`` is over."""
    deadline = Deadline(_LOGIN_PATIENCE)
    for pool in pools:
        try:
            with named(pool.pooler):
                _wait_for_calm(pool, deadline)
        except SnapkitError as error:
            leave_out(pool.pooler, error)
            pool.is_out = True
            continue
        pause.began = pause.began or monotonic()
        for name, console in zip(pool.names, pool.pausing, strict=True):
            pool.left.append(name)
            console.send(command("PAUSE", name))
    asked = [pool for pool in pools if not pool.is_out]
    everyone = [console for pool in asked for console in pool.pausing]
    pending = await_answers(everyone, Deadline(grace), awake)
    if pause.began is not None:
        pause.leaving = timedelta(seconds=monotonic() - pause.began)
    for pool in asked:
        try:
            with named(pool.pooler):
                for console in pool.pausing:
                    if console not in pending:
                        console.answer()
        except SnapkitError as error:
            leave_out(pool.pooler, error)
        waits = [name for name, console in zip(pool.names, pool.pausing, strict=True) if console in pending]
        if waits:
            pause.cautions += (
                Caution(
                    "pool_not_empty",
                    f"PgBouncer {pool.pooler.place}: after {grace.total_seconds():g} s, transactions were still "
                    f"running in {', '.join(waits)} (or clients were connected, if it pools by session). snapkit "
                    "did not wait for them any longer.",
                ),
            )


def _wait_for_calm(pool: Pool, deadline: Deadline) -> None:
    """Wait until PgBouncer is not logging in to the server, and is not about to."""
    calm = 0
    while calm < _CALM_LOOKS and not deadline.is_over:
        rows = pool.console.ask("SHOW POOLS")
        calm = 0 if logins_under_way(rows, pool.names) else calm + 1
        if calm and not clients_wait(rows, pool.names):
            return
        time.sleep(LOOK_AGAIN)


def _afterwards(pool: Pool, pause: Pause) -> Iterator[Caution]:
    """Warn if the pause was ended early, or was longer than PgBouncer lets clients wait."""
    place = pool.pooler.place
    if pool.was_resumed:
        yield Caution(
            "pool_resumed_early",
            f"PgBouncer {place} was no longer paused when the work was done: it was restarted, or somebody else "
            "resumed it. Its clients may have been disconnected.",
        )
    if outlasts(pause.outage(timedelta(0)), pool.wait_timeout):
        yield Caution(
            "pool_waited_too_long",
            f"PgBouncer {place} lets clients wait for {pool.wait_timeout} s (query_wait_timeout), and the pause "
            "took longer: it refused the clients that waited longest.",
        )
