"""Check whether the PgBouncers that the user named can be paused; resume what an interrupted run left paused.

The pause itself is in ``services/outage/pools.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import field
from urllib.parse import quote

from snapkit.core.checks.facts import PoolerLook
from snapkit.core.outage.pooled_databases import (
    PooledDatabase,
    PoolerReceipt,
    as_typed,
    command,
    leading_to,
    maybe_forgotten,
    proven_to_lead,
)
from snapkit.core.plans.statements import WrittenStep
from snapkit.core.reporting import Caution
from snapkit.core.values import dataclass
from snapkit.errors import NOTHING_CHANGED, BusyError, ConnectionFailedError, PrivilegeError, SnapkitError, UsageError
from snapkit.postgres.catalog import databases as catalog
from snapkit.postgres.catalog import sessions as catalog_sessions
from snapkit.postgres.connection.conninfo import target_of_console
from snapkit.postgres.connection.driver import driver_connection
from snapkit.postgres.connection.server import Connection
from snapkit.postgres.connection.sqlstates import server_errors
from snapkit.postgres.outage.pgbouncer_console import Console, ConsoleError, ConsoleLostError
from snapkit.postgres.sql.locks import others_at_work

_LOOKS = 3
_CONNECT_TIMEOUT = "4"


@dataclass(frozen=True, slots=True)
class Pooler:
    """A PgBouncer that the user named: ``place`` is where it is, for messages; ``parameters`` lead to its console."""

    place: str
    parameters: Mapping[str, str] = field(repr=False)  # they may hold a password
    cautions: tuple[Caution, ...] = ()

    def url(self) -> str:
        """The URL of its console, without a password, to be typed in a shell."""
        named = self.parameters
        user = f"{quote(named['user'], safe='')}@" if "user" in named else ""
        if (host := named.get("host", "")).startswith("/"):
            return f"postgresql://{user}/{named['dbname']}?host={host}&port={named.get('port', '5432')}"
        return f"postgresql://{user}{self.place}/{named['dbname']}"


def poolers_of(urls: Sequence[str]) -> tuple[Pooler, ...]:
    """Return the PgBouncers of the URLs; nothing is connected yet. Raises UsageError, as ``target_of`` does."""
    poolers = []
    for number, url in enumerate(urls, 1):
        try:
            target = target_of_console(url)
        except UsageError as error:
            error.message = f"PgBouncer URL {number} of {len(urls)}: {error.message}"
            raise
        own = {"connect_timeout": _CONNECT_TIMEOUT} if "connect_timeout" not in url else {}
        poolers.append(Pooler(target.place, {**target.parameters, **own, "dbname": target.source}, target.cautions))
    return tuple(poolers)


def bracketed(steps: tuple[WrittenStep, ...], poolers: Iterable[PoolerReceipt], at: int) -> tuple[WrittenStep, ...]:
    """Return the steps of a plan with PAUSE before, and RESUME after, the step at the index ``at``."""
    poolers = tuple(poolers)

    def told(verb: str) -> tuple[WrittenStep, ...]:
        return tuple(
            WrittenStep(
                f"{verb.capitalize()} on the console of the PgBouncer {pooler.host}:{pooler.port}",
                tuple(command(verb, name) for name in pooler.databases),
                atomic=False,
            )
            for pooler in poolers
        )

    at %= len(steps)
    return (*steps[:at], *told("PAUSE"), steps[at], *told("RESUME"), *steps[at + 1 :])


# --- before -----------------------------------------------------------------------------------------------------------


def check_poolers(connection: Connection, poolers: Sequence[Pooler], source: str) -> tuple[PoolerReceipt, ...]:
    """Return which databases of each PgBouncer lead to ``source`` on the server of ``connection``.

    Raises, before anything is changed: ConnectionFailedError if a console cannot be reached; PrivilegeError if the user
    may not pause; UsageError if it is no console of PgBouncer, or has no such database; BusyError if somebody else has
    paused or disabled the database.
    """
    receipts = []
    for pooler in poolers:
        with opened(pooler, pooler.parameters) as console:
            databases = leading(console, pooler, source, connection)
            check_free(pooler, databases)
            check_admin(console, pooler, databases)
            receipts.append(receipt_of(console, [database.name for database in databases]))
    return tuple(receipts)


@contextmanager
def opened(pooler: Pooler, parameters: Mapping[str, str]) -> Iterator[Console]:
    """Connect to a console, and turn what it says in the block into snapkit's errors."""
    with named(pooler):
        console = Console(parameters)
        try:
            if not console.is_pgbouncer:
                raise UsageError(
                    f"PgBouncer {pooler.place}: what answers there is not PgBouncer's admin console.",
                    state=NOTHING_CHANGED,
                    hint="End the URL with /pgbouncer, the console's database: --pgbouncer-url "
                    "postgresql://admin@host:6432/pgbouncer. Other poolers are paused by hand: see "
                    "docs/poolers.md.",
                )
            yield console
        finally:
            console.close()


@contextmanager
def named(pooler: Pooler) -> Iterator[None]:
    """Turn what a console says into an error that names the PgBouncer."""
    without = (
        "To go on without it, leave out its --pgbouncer-url or, if a settings file or a variable names it, give "
        "--no-pgbouncer. Then its clients are disconnected."
    )
    try:
        yield
    except ConsoleLostError as error:
        raise ConnectionFailedError(
            f"PgBouncer {pooler.place}: {error}",
            state=NOTHING_CHANGED,
            hint="Check host, port, user and password in --pgbouncer-url; the user has to be one of PgBouncer's "
            f"admin_users. {without}",
        ) from error
    except ConsoleError as error:
        raise SnapkitError(f"PgBouncer {pooler.place} says: {error}.", state=NOTHING_CHANGED, hint=without) from error


def left_out_pooler(pooler: Pooler, error: SnapkitError) -> Caution:
    """Warn that a rollback went without a PgBouncer."""
    text = error.message.removeprefix(f"PgBouncer {pooler.place}: ").rstrip(".")
    return Caution(
        "pooler_left_out",
        f"PgBouncer {pooler.place} was left out, because the rollback does not wait for it any longer: {text}. "
        "Its clients were disconnected, not held, and some of their queries may have failed. A pause that this "
        "run did not make stays.",
    )


def _address(connection: Connection) -> tuple[frozenset[str], int]:
    """Return how the server was reached: its host, as name and as number, and its port."""
    info = driver_connection(connection).info
    return frozenset((info.host, info.hostaddr)), info.port


def leading(console: Console, pooler: Pooler, source: str, connection: Connection) -> tuple[PooledDatabase, ...]:
    hosts, port = _address(connection)

    def found() -> tuple[PooledDatabase, ...]:
        databases = console.databases()
        here = leading_to(databases, source, hosts, port)
        if len(here) == sum(database.database == source for database in databases):
            return here
        # One server may stand there under several names, of which only one is ours.
        with server_errors(NOTHING_CHANGED):
            oid = catalog.oid_of(connection, source)
            sessions = catalog_sessions.sessions_inside(connection, [oid]) if oid is not None else []
        inside = {(session.pid, session.user) for session in sessions}
        proven = proven_to_lead(console.ask("SHOW SERVERS"), inside)
        return leading_to(databases, source, hosts, port, proven)

    if databases := found():
        return databases
    # One that is known by "*" only, and has no client, is not in the list. RECONNECT puts it there, and does no more
    # where there is no connection to the server. It may leave the list again before we have looked.
    try:
        for _ in range(_LOOKS):
            console.ask(command("RECONNECT", source))
            if databases := found():
                return databases
    except ConsoleLostError:
        raise
    except (ValueError, ConsoleError) as error:
        if console.user not in _administrators(console):
            raise _looks_only(console, pooler, error) from error
    raise UsageError(
        f"PgBouncer {pooler.place} has no database that leads to {source!r}.",
        state=NOTHING_CHANGED,
        hint="See what it has with SHOW DATABASES on its console. If no client comes through it, leave out its "
        "--pgbouncer-url.",
    )


def check_free(pooler: Pooler, databases: Sequence[PooledDatabase]) -> None:
    for database in databases:
        try:
            resume = command("RESUME", database.name)
        except ValueError as error:
            raise UsageError(
                f"PgBouncer {pooler.place}: {error}, which takes 63 bytes, quotes included.",
                state=NOTHING_CHANGED,
                hint="Give it a shorter alias in pgbouncer.ini: short = dbname='...'",
            ) from None
        if database.paused or database.disabled:
            what, remedy = ("paused", resume) if database.paused else ("disabled", command("ENABLE", database.name))
            raise BusyError(
                f"PgBouncer {pooler.place}: the database {database.name!r} is {what} already, by an administrator, or "
                "by a snapkit that was interrupted.",
                state=NOTHING_CHANGED + " Its clients wait. snapkit does not resume what others have paused.",
                hint=f"If nobody needs that: {remedy}; on its console. If an interrupted snapkit has left it: "
                "snapkit recover, with the same --pgbouncer-url.",
            )


def check_admin(console: Console, pooler: Pooler, databases: Sequence[PooledDatabase]) -> None:
    """Raise PrivilegeError if the user may only look. ENABLE shows that: it changes nothing on an enabled database."""
    try:
        console.ask(command("ENABLE", databases[0].name))
    except ConsoleLostError:
        raise
    except ConsoleError as error:
        raise _looks_only(console, pooler, error) from error


def _looks_only(console: Console, pooler: Pooler, error: Exception) -> PrivilegeError:
    return PrivilegeError(
        f"PgBouncer {pooler.place} does not take commands from the user {console.user!r}; it says: {error}.",
        state=NOTHING_CHANGED,
        hint="Name a user of its admin_users in --pgbouncer-url, or add this one to admin_users in pgbouncer.ini "
        "and have it read with RELOAD.",
    )


def settings_of(console: Console) -> Mapping[str | None, str | None]:
    return {row.get("key"): row.get("value") for row in console.ask("SHOW CONFIG")}


def _administrators(console: Console) -> list[str]:
    return [name.strip() for name in (settings_of(console).get("admin_users") or "").split(",")]


def receipt_of(console: Console, names: Iterable[str]) -> PoolerReceipt:
    return PoolerReceipt(console.address["host"], int(console.address["port"]), tuple(names))


# --- what stays paused ------------------------------------------------------------------------------------------------


def resume_forgotten(
    poolers: Sequence[Pooler], connection: Connection, source: str
) -> tuple[tuple[PoolerReceipt, ...], SnapkitError | None]:
    """Resume what is paused of ``source``; return what was, and the last error, since the others are to be resumed too.

    The lock of the source is held, so that no run which has paused them is at work.
    """
    resumed: list[PoolerReceipt] = []
    problem: SnapkitError | None = None
    for pooler in poolers:
        try:
            with opened(pooler, pooler.parameters) as console:
                wanted = maybe_forgotten(console.databases(), source, *_address(connection))
                names = [name for name in wanted if _can_be_told(name) and console.resume(name)]
                if names:
                    resumed.append(receipt_of(console, names))
        except SnapkitError as error:
            error.hint = " ".join(filter(None, (error.hint, "Until it is resumed, its clients may wait.")))
            problem = error
    return tuple(resumed), problem


def tell_paused(connection: Connection, poolers: Sequence[Pooler], source: str) -> tuple[Caution, ...]:
    """Warn of databases that are still paused though no run is at work, and of consoles that do not answer.

    ``connection`` must not hold the source's lock for a run that has paused them.
    """
    if not poolers:
        return ()
    with server_errors(NOTHING_CHANGED):
        if others_at_work(connection, source):
            return ()
    cautions: list[Caution] = []
    for pooler in poolers:
        try:
            with opened(pooler, pooler.parameters) as console:
                paused = [each.name for each in console.databases() if each.database == source and each.paused]
        except SnapkitError as error:
            cautions.append(Caution("pooler_unreachable", f"{error.message} Whether its clients wait is not known."))
            continue
        if names := [name for name in paused if _can_be_told(name)]:
            message = (
                f"PgBouncer {pooler.place} holds the clients of {', '.join(names)}: paused by an administrator, "
                "or by a snapkit that was interrupted. If an interrupted snapkit has left it, resume it with: "
                f"snapkit recover. By hand: {as_typed(pooler.url(), names)}"
            )
            cautions.append(Caution("pool_paused", message))
    return tuple(cautions)


def look_at_poolers(connection: Connection, poolers: Sequence[Pooler], source: str) -> tuple[PoolerLook, ...]:
    """Return for each PgBouncer whether a run could pause it now."""
    with server_errors(NOTHING_CHANGED):
        is_at_work = bool(poolers) and others_at_work(connection, source)
    looks = []
    for pooler in poolers:
        try:
            (receipt,) = check_poolers(connection, [pooler], source)
            looks.append(PoolerLook(pooler.place, receipt.databases))
        except BusyError as error:
            if is_at_work:
                looks.append(PoolerLook(pooler.place, at_work=True))
            else:
                looks.append(PoolerLook(pooler.place, problem=error.message, hint=error.hint))
        except SnapkitError as error:
            looks.append(PoolerLook(pooler.place, problem=error.message, hint=error.hint))
    return tuple(looks)


def _can_be_told(name: str) -> bool:
    try:
        command("RESUME", name)
    except ValueError:
        return False
    return True
