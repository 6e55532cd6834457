"""Pause the database on each PgBouncer that was told of, act, and resume: clients wait, and none fails.

Each pool is paused for as short as can be, and stays paused under no circumstances: a watchdog, which outlives us, has
its own connections open before anything is paused (``postgres/outage/watchdog.py``), and ``recover`` resumes what even
that could not.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic

from snapkit.core.outage.hold_rules import DEFAULT_RULES, HoldRules
from snapkit.core.outage.pooled_databases import as_typed, clients_wait, command, logins_under_way, outlasts
from snapkit.core.outcome import PoolerReceipt
from snapkit.core.reporting import Caution, Observe, Progress
from snapkit.errors import NOTHING_CHANGED, SnapkitError, UsageError
from snapkit.postgres.catalog.sessions import keep_awake
from snapkit.postgres.connection.server import Connection
from snapkit.postgres.connection.sqlstates import server_errors
from snapkit.postgres.outage.login_retry import SETTING, Service, await_service
from snapkit.postgres.outage.pgbouncer_console import Console, ConsoleError, ConsoleLostError, await_answers
from snapkit.postgres.outage.watchdog import Post, Watchdog, WatchdogError
from snapkit.services.outage.hold import Hold
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

LONGEST_PAUSE = timedelta(hours=1)
"""After this the watchdog lets clients on, whatever we do meanwhile; they then wait at the server's door."""

_LOGIN_PATIENCE = 2.0
"""Seconds to wait for a moment in which PgBouncer does not log in to the server. A PAUSE in the middle of a login makes
it take the server for unreachable, for server_login_retry (15 s)."""

_LOOK_AGAIN = 0.02
_CALM_LOOKS = 5
_RESUME_PATIENCE = 5.0
"""Seconds; our connection to the server must not be idle for longer than ten meanwhile."""


@dataclass
class Pause:
    """How a pause went; complete once it is over. Without poolers it is none, and nobody was held by it.

    ``began`` is when the first PAUSE was sent, ``ended`` when the last pool served its clients again: seconds of the
    monotonic clock. ``leaving`` is how long the pools took to be empty, or were waited for.
    """

    poolers: tuple[PoolerReceipt, ...] = ()
    began: float | None = None
    ended: float | None = None
    leaving: timedelta = timedelta(0)
    cautions: tuple[Caution, ...] = ()

    def hold(self, rules: HoldRules) -> Hold:
        """Return the hold of which this is the beginning, if there is anything to pause."""
        return Hold(rules, self.began)

    def outage(self, at_the_door: timedelta) -> timedelta:
        """How long clients were held: by the pause, or else at the server's door."""
        if self.began is None or self.ended is None:
            return at_the_door
        return max(at_the_door, timedelta(seconds=self.ended - self.began))


@dataclass
class _Pool:
    """The console of one PgBouncer, and a connection for each database there, since a PAUSE may keep one busy."""

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

    Running transactions may take as long as the rules let them at the door; after that the block begins all the same,
    with the PAUSE pending, so that nobody new gets in. Raises as ``check_poolers`` does, and SnapkitError where the
    watchdog cannot be started; nobody is held then. A RESUME that fails is a caution, and the watchdog goes on trying.
    ``connection``, which holds the source's lock, is kept awake meanwhile. Where the poolers are not ``needed``, those
    that fail are left out, with a caution, and nothing of that is raised.
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
        pools, watchdog = _ready_to_pause(stack, poolers, source, connection, rules, awake, leave_out)
        if watchdog is None:
            yield pause
            return
        pause.poolers = tuple(receipt_of(pool.console, pool.names) for pool in pools)
        try:
            watchdog.arm()
            _pause(pools, pause, rules.grace_at_the_door, awake, leave_out)
            yield pause
        except SnapkitError as error:
            _resume(pools, pause, watchdog)
            left = (caution.message for caution in pause.cautions if caution.code == "pool_not_resumed")
            error.state = " ".join(filter(None, (error.state, *left)))
            raise
        except BaseException:
            _resume(pools, pause, watchdog)
            raise
        _resume(pools, pause, watchdog)
        pause.cautions += tuple(caution for pool in pools for caution in _afterwards(pool, pause))


_LeaveOut = Callable[[Pooler, SnapkitError], None]
"""Takes note of a pooler that fails, or raises the error."""


def _ready_to_pause(
    stack: ExitStack,
    poolers: Sequence[Pooler],
    source: str,
    connection: Connection,
    rules: HoldRules,
    awake: Callable[[], None],
    leave_out: _LeaveOut,
) -> tuple[Sequence[_Pool], Watchdog | None]:
    """Open what it takes to pause, until the stack is closed; without a watchdog nothing may be paused."""
    token = f"snapkit {secrets.token_hex(4)}"
    pools: list[_Pool] = []
    for pooler in poolers:
        try:
            pools.append(stack.enter_context(_poised(pooler, source, connection, token)))
        except SnapkitError as error:
            leave_out(pooler, error)
        awake()
    if not pools:
        return (), None
    try:
        watchdog = stack.enter_context(_watchdog(pools, rules.limit or LONGEST_PAUSE))
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
def _poised(pooler: Pooler, source: str, connection: Connection, token: str) -> Iterator[_Pool]:
    """Open what it takes to pause a PgBouncer and to resume it, having looked once more that nobody else has."""
    parameters = {**pooler.parameters, "application_name": token}
    with opened(pooler, parameters) as console, ExitStack() as stack:
        databases = leading(console, pooler, source, connection)
        check_free(pooler, databases)
        check_admin(console, pooler, databases)
        very_one = {**parameters, **console.address}
        names = tuple(database.name for database in databases)
        settings = settings_of(console)
        pool = _Pool(pooler, very_one, console, names, [], settings.get("query_wait_timeout"), settings.get(SETTING))
        stack.callback(pool.close)
        pool.pausing += [Console(very_one) for _ in names]
        yield pool


@contextmanager
def _watchdog(pools: Sequence[_Pool], limit: timedelta) -> Iterator[Watchdog]:
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
        f"The process that is to resume the pools should snapkit die could not be started: {problem}.",
        state=f"{NOTHING_CHANGED} Nothing was paused.",
        hint="Without it nothing is paused. To go on without pausing, leave --pgbouncer-url out, or give "
        "--no-pgbouncer.",
    ) from problem


def _check_single(pool: _Pool, token: str) -> None:
    """Raise if not all our connections, the watchdog's too, have come to one and the same process."""
    with named(pool.pooler):
        clients = pool.console.ask("SHOW CLIENTS")
    if not clients or "application_name" not in clients[0]:
        return  # PgBouncer before 1.18 does not tell
    ours = sum((row.get("application_name") or "").startswith(token) for row in clients)
    if ours < 2 + len(pool.pausing):
        raise UsageError(
            f"Several PgBouncers answer at {pool.pooler.place}: a load balancer, or so_reuseport.",
            state=f"{NOTHING_CHANGED} Nothing was paused.",
            hint="Name each of them by an address of its own, with a --pgbouncer-url for each: where they share a "
            "port, each can listen on a Unix socket of its own.",
        )


def _pause(
    pools: Sequence[_Pool], pause: Pause, grace: timedelta, awake: Callable[[], None], leave_out: _LeaveOut
) -> None:
    """Pause everywhere at once; return when all are empty, or ``grace`` is over."""
    deadline = monotonic() + _LOGIN_PATIENCE
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
    pending = await_answers(everyone, monotonic() + grace.total_seconds(), awake)
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
                    f"PgBouncer {pool.pooler.place}: after {grace.total_seconds():g} s transactions were still running "
                    f"in {', '.join(waits)} (or clients connected, if it pools by session); they were not waited for "
                    "any longer.",
                ),
            )


def _wait_for_calm(pool: _Pool, deadline: float) -> None:
    """Wait until no login is under way, nor about to begin: nobody waits for one, or none has begun for a while."""
    calm = 0
    while calm < _CALM_LOOKS and monotonic() < deadline:
        rows = pool.console.ask("SHOW POOLS")
        calm = 0 if logins_under_way(rows, pool.names) else calm + 1
        if calm and not clients_wait(rows, pool.names):
            return
        time.sleep(_LOOK_AGAIN)


def _resume(pools: Sequence[_Pool], pause: Pause, watchdog: Watchdog) -> None:
    """Resume everywhere, on all consoles at once; Ctrl-C begins it anew, once. Done again, it does nothing.

    How long clients were held is until they are served again. What cannot be reached any more is not counted: who was
    connected to a PgBouncer that is gone does not wait there.
    """
    if pause.ended is not None or not any(pool.left for pool in pools):
        return
    deadline = monotonic() + _RESUME_PATIENCE
    for _ in range(2):
        try:
            _resume_quickly(pools)
            for pool in pools:
                _await_service(pool, pause, deadline)
            while any(pool.left for pool in pools) and monotonic() < deadline:
                for pool in pools:
                    _resume_patiently(pool)
                    _await_service(pool, pause, deadline)
            break
        except KeyboardInterrupt:
            continue
    pause.ended = max((pool.let_on_at for pool in pools if pool.let_on_at is not None), default=monotonic())
    watchdog.resumed([number for number, pool in enumerate(pools) if pool.is_settled])
    pause.cautions += tuple(_still_paused(pool.pooler, pool.left) for pool in pools if pool.left)


def _resume_quickly(pools: Sequence[_Pool]) -> None:
    """Send to all what is answered at once, if all is well; what is not stays ``left``."""
    for round_ in range(max(len(pool.left) for pool in pools)):
        asked = [(pool, pool.left[round_]) for pool in pools if len(pool.left) > round_]
        for pool, name in asked:
            pool.console.send(command("RESUME", name))
        await_answers([pool.console for pool, _ in asked], monotonic() + _RESUME_PATIENCE / 2)
        for pool, _ in asked:
            with suppress(ConsoleError):
                pool.console.answer()
                pool.left[round_] = ""
    for pool in pools:
        pool.left = [name for name in pool.left if name]
        pool.let_on_at = monotonic()


def _resume_patiently(pool: _Pool) -> None:
    """Find out why not, on a new connection if the old one is gone."""
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
        time.sleep(_LOOK_AGAIN)
    except ConsoleError:
        time.sleep(_LOOK_AGAIN)


def _await_service(pool: _Pool, pause: Pause, deadline: float) -> None:
    """Wait until those who waited are served. What cannot be learnt, or put back, the watchdog sees to."""
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
    """Say that clients did not just wait. PgBouncer counts nobody whom it refuses."""
    if service.again:
        said = (
            "took a login that the pause had cut short for a failed one. It was made to log in again as soon as the "
            "pause was over. Until it had, it refused queries of clients who did not wait already: 08P01, server login "
            "has been failing."
        )
    else:
        said = (
            f"still had no connection to the server {_RESUME_PATIENCE:g} s after the pause, and clients wait, or are "
            "refused: see SHOW POOLS on its console."
        )
    return Caution("pool_login_failed", f"PgBouncer {pooler.place} ({', '.join(names)}) {said}")


def _still_paused(pooler: Pooler, names: Sequence[str]) -> Caution:
    return Caution(
        "pool_not_resumed",
        f"PgBouncer {pooler.place} could not be told to let clients on, and {', '.join(names)} may still be paused "
        f"there. It is tried again for ten minutes. By hand: {as_typed(pooler.url(), names)}",
    )


def _afterwards(pool: _Pool, pause: Pause) -> Iterator[Caution]:
    """Say what kept the pause from being what it was meant to be."""
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
            f"PgBouncer {place} lets clients wait for {pool.wait_timeout} s (query_wait_timeout), and the pause took "
            "longer: it has refused those who waited longest.",
        )
