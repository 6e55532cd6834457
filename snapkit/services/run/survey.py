"""What several services begin with: the facts about the server, its inventory, the live database, the source's lock."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from time import monotonic, sleep

from snapkit.core.checks.doctor import no_writes
from snapkit.core.client_session import ClientSession
from snapkit.core.connection.endpoint import Address
from snapkit.core.inventory.database import Database
from snapkit.core.inventory.entry import Entry, how_to_trust
from snapkit.core.inventory.kinds import State
from snapkit.core.inventory.ordering import ahead_cautions
from snapkit.core.inventory.recognition import Inventory, take_inventory
from snapkit.core.outcome import WrittenStep
from snapkit.core.plans.statements import Step
from snapkit.core.reporting import Caution, Observe, Progress, unobserved
from snapkit.core.values import dataclass
from snapkit.errors import (
    NOTHING_CHANGED,
    BusyError,
    InterruptedRunError,
    NotFoundError,
    PrivilegeError,
    SnapkitError,
    UnknownOutcomeError,
    UsageError,
)
from snapkit.postgres.catalog import databases as catalog
from snapkit.postgres.catalog import roles, server_facts
from snapkit.postgres.catalog import sessions as catalog_sessions
from snapkit.postgres.catalog.server_facts import ServerFacts
from snapkit.postgres.connection.driver import driver_connection
from snapkit.postgres.connection.server import Connection, Server
from snapkit.postgres.connection.sqlstates import (
    LOCK_NOT_AVAILABLE,
    SERVER_ERRORS,
    is_late_update,
    server_errors,
    sqlstate_of,
)
from snapkit.postgres.sql.blockers import blockers_seen
from snapkit.postgres.sql.ddl import quote_name, sql_text
from snapkit.postgres.sql.locks import source_lock

LEAVING = timedelta(seconds=5)
"""How long sessions that we may not end have to end by themselves: as long as PostgreSQL itself gives them. Those that
come meanwhile get that from PostgreSQL. https://www.postgresql.org/docs/current/sql-createdatabase.html"""

_LOOK_AGAIN = 0.1

MINIMUM_VERSION = 140000
"""As server_version_num."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """What is on the server, at one moment, as far as a plan has to know."""

    facts: ServerFacts
    inventory: Inventory
    live: Database | None

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self.inventory.databases)


def gather(connection: Connection, source: str) -> Gathered:
    """Read the facts; raise UsageError where the source is itself a backup."""
    _check_version(driver_connection(connection).info.server_version)  # one that is far too old would not understand
    with server_errors(NOTHING_CHANGED):
        facts, databases = catalog.survey(connection)
    inventory = take_inventory(databases, facts.role, facts.now)
    if inventory.is_ours(source):
        raise UsageError(
            f"The connection URL names {source!r}, which is itself a backup.",
            state=NOTHING_CHANGED,
            hint="Name the live database in the URL.",
        )
    return Gathered(facts, inventory, inventory.databases.get(source))


def _check_version(version: int) -> None:
    if version < MINIMUM_VERSION:
        raise SnapkitError(
            f"This is PostgreSQL {version // 10000}; snapkit needs {MINIMUM_VERSION // 10000} or later.",
            state=NOTHING_CHANGED,
        )


def need_live(gathered: Gathered, source: str) -> Database:
    """Return the live database; raise NotFoundError if there is none."""
    if gathered.live is not None:
        return gathered.live
    latest = (
        " The newest backup comes back with: snapkit rollback --latest" if gathered.inventory.of_source(source) else ""
    )
    raise NotFoundError(
        f"There is no database {source!r} on this server.",
        state=NOTHING_CHANGED,
        hint="Check the database's name in the connection URL." + latest,
    )


def need_known(gathered: Gathered, source: str) -> None:
    """Raise NotFoundError for a source of which there is nothing: a misspelt name is not one without backups."""
    inventory = gathered.inventory
    if not inventory.of_source(source) and not any(entry.source == source for entry in inventory.distrusted):
        need_live(gathered, source)


@contextmanager
def locked(server: Server, wait: timedelta, observe: Observe = unobserved) -> Iterator[Connection]:
    """Open the working connection and hold the lock of the server's source on it; see ``hold_lock``."""
    with server.connect() as connection, lock_on(connection, server.source, wait, observe):
        yield connection


@contextmanager
def lock_on(connection: Connection, source: str, wait: timedelta, observe: Observe) -> Iterator[None]:
    """Hold a source's lock on the working connection, for what changes something; see ``hold_lock``.

    Ctrl-C at the release comes too late to matter: the block is done, and the lock goes with the connection.
    """
    check_server(connection)
    is_done = False
    try:
        with hold_lock(connection, source, wait, observe):
            yield
            is_done = True
    except KeyboardInterrupt:
        if not is_done:
            raise


@contextmanager
def hold_lock(
    connection: Connection, source: str, wait: timedelta, observe: Observe
) -> Iterator[tuple[ClientSession, ...]]:
    """Hold a source's lock, as ``source_lock`` does; ``observe`` is told for whom it has to wait."""
    began = monotonic()

    def announce(text: str) -> None:
        observe(Progress(text, timedelta(seconds=monotonic() - began), waits=True))

    with ExitStack() as stack:
        with server_errors(NOTHING_CHANGED):
            ended = stack.enter_context(source_lock(connection, source, wait, announce))
        yield ended


class Standing:
    """How things stand at this moment: what an interruption says of it. ``untouched`` is how they stood before."""

    def __init__(self, untouched: str) -> None:
        self._untouched = untouched
        self.state = untouched
        self.is_open = False
        """Whether nobody knows how they stand."""

    def perhaps_done(self) -> None:
        """From here on the change may have gone through."""
        self.state, self.is_open = "It may have gone through. See what there is: snapkit list", True

    def undone(self) -> None:
        """It has turned out that it has not."""
        self.state, self.is_open = self._untouched, False


@contextmanager
def interruptions(state: str) -> Iterator[Standing]:
    """Turn Ctrl-C inside into an error that says what became of the databases: UnknownOutcomeError if that is open."""
    standing = Standing(state)
    try:
        yield standing
    except KeyboardInterrupt:
        kind = UnknownOutcomeError if standing.is_open else InterruptedRunError
        raise kind("Interrupted.", state=standing.state) from None


def address_of(connection: Connection) -> Address:
    info = driver_connection(connection).info
    return Address(info.host, info.port, info.server_version)


def check_server(connection: Connection, *, makes_room: bool = False) -> None:
    """Raise, before anything is touched, if the server takes no writes or a pooler stands before it.

    A server that was made read-only, as some are when their disk is full, still lets a run in that ``makes_room``.
    """
    with server_errors(NOTHING_CHANGED):
        footing = server_facts.footing(connection)
    is_read_only = not makes_room and server_facts.is_read_only(connection)
    refusal = no_writes(is_standby=footing.is_standby, is_read_only=is_read_only)
    if refusal is not None:
        message, hint = refusal
        raise SnapkitError(message, state=NOTHING_CHANGED, hint=hint)
    if footing.behind_pooler:
        raise UsageError(
            "The connection runs through a pooler, where locks of a session do not hold.",
            state=NOTHING_CHANGED,
            hint="Name the server itself with DIRECT_URL or --direct-url.",
        )


def check_rights(connection: Connection, database: Database, *, createdb: bool = True) -> None:
    """Raise PrivilegeError if the role does not own the database or, with ``createdb``, may not make and rename any."""
    with server_errors(NOTHING_CHANGED):
        grants = missing_grants(connection, database, createdb=createdb)
    if grants:
        raise PrivilegeError(
            f"For the database {database.name!r} the role lacks: {', '.join(grants)}.",
            state=NOTHING_CHANGED,
            hint="An administrator grants it with: " + " ".join(grants.values()),
        )


def missing_grants(connection: Connection, database: Database, *, createdb: bool = True) -> dict[str, str]:
    """Return the rights that the role lacks to clone and rename a database, with the statement that grants each."""
    rights = roles.role_rights(connection, database.owner)
    role, owner = quote_name(rights.role), quote_name(database.owner)
    grants = {}
    if createdb and not rights.may_create:
        grants["CREATEDB"] = f"ALTER ROLE {role} CREATEDB;"
    if not database.is_mine or (createdb and not rights.may_act_as_owner):
        alike = ""
        if database.owner_is_superuser:
            grant = f"ALTER DATABASE {quote_name(database.name)} OWNER TO {role};"
            alike = "and the same for the database and every backup of it, which go by one owner; "
        elif driver_connection(connection).info.server_version >= 160000:
            grant = f"GRANT {owner} TO {role} WITH INHERIT TRUE, SET TRUE;"
        else:
            grant = f"GRANT {owner} TO {role};" + ("" if rights.inherits else f" ALTER ROLE {role} INHERIT;")
        grants["ownership"] = f"{grant} ({alike}or connect as {database.owner})"
    return grants


def check_empty_enough(
    connection: Connection, databases: list[Database], *, disconnect: bool
) -> tuple[ClientSession, ...]:
    """Return who is inside; raise before anything is touched if somebody is there who would not go.

    BusyError for prepared transactions, and for any session if nobody is to be disconnected; PrivilegeError for a
    session that this role may not end and that does not end by itself within ``LEAVING``.
    """
    oids = [database.oid for database in databases]
    with server_errors(NOTHING_CHANGED):
        sessions = catalog_sessions.sessions_inside(connection, oids)
        prepared = catalog_sessions.prepared_transactions(connection, [database.name for database in databases])
    for name, gids in prepared.items():
        listed = ", ".join(repr(gid) for gid in gids)
        raise BusyError(
            f"{name!r} has prepared transactions, which disconnecting does not end: {listed}.",
            state=NOTHING_CHANGED,
            hint="End each of them, connected to that database, with COMMIT PREPARED or ROLLBACK PREPARED.",
        )
    if sessions and not disconnect:
        raise sessions_busy(sessions, NOTHING_CHANGED)
    deadline = monotonic() + LEAVING.total_seconds()
    stays = _protected(sessions)
    while stays:
        if monotonic() >= deadline:
            protected = [session for session in sessions if _who(session) in stays]
            raise sessions_protected(protected, NOTHING_CHANGED, server_facts.server_facts(connection).role)
        sleep(_LOOK_AGAIN)
        with server_errors(NOTHING_CHANGED):
            sessions = catalog_sessions.sessions_inside(connection, oids)
        stays &= _protected(sessions)
    return tuple(sessions)


def _protected(sessions: Iterable[ClientSession]) -> set[tuple[int, datetime | None]]:
    return {_who(session) for session in sessions if not session.may_terminate}


def _who(session: ClientSession) -> tuple[int, datetime | None]:
    """What tells a session from a later one of the same process ID, where this role may see it."""
    return session.pid, session.backend_start


def sessions_busy(sessions: list[ClientSession], state: str) -> BusyError:
    return BusyError(
        f"{_count(sessions)} connected:\n" + _lines(sessions),
        state=state,
        hint="Stop these clients, or leave --no-disconnect out to disconnect them.",
    )


def sessions_protected(sessions: list[ClientSession], state: str, role: str) -> PrivilegeError:
    return PrivilegeError(
        f"{_count(sessions)} connected that this role may not disconnect:\n" + _lines(sessions),
        state=state,
        hint=f"A superuser can let it: GRANT pg_signal_backend TO {quote_name(role)}; "
        "(sessions of superusers can be ended by superusers only). Or stop these clients.",
        is_passing=True,
    )


def locked_by_others(sessions: list[ClientSession], state: str) -> BusyError:
    """The error for a lock that was not to be had, or not before its holder had changed the database."""
    who = f"{_count(sessions)} holding it:\n{_lines(sessions)}" if sessions else "it has just been released."
    return BusyError(
        f"Another transaction holds a lock on the database; {who}",
        state=state,
        hint="Wait for that transaction to end, or end it, and run the command again.",
    )


@contextmanager
def blockers_named(connection: Connection, state: str) -> Iterator[None]:
    """Translate what the server raises inside, as ``server_errors`` does, and name for whose lock it was waited."""
    with blockers_seen(connection) as seen, server_errors(state):
        try:
            yield
        except SERVER_ERRORS as error:
            if seen and (sqlstate_of(error) == LOCK_NOT_AVAILABLE or is_late_update(error)):
                raise locked_by_others(list(seen.values()), state) from error
            raise


def _count(sessions: list[ClientSession]) -> str:
    return f"{len(sessions)} session{' is' if len(sessions) == 1 else 's are'}"


def _lines(sessions: list[ClientSession]) -> str:
    return "\n".join(session_lines(sessions))


def session_lines(sessions: list[ClientSession]) -> list[str]:
    """Return a line for each of the first sessions, and one that says how many more there are."""
    shown = [f"  {session.describe()}" for session in sessions[:10]]
    return shown + ([f"  and {len(sessions) - 10} more"] if len(sessions) > 10 else [])


def recognition_cautions(inventory: Inventory) -> tuple[Caution, ...]:
    """Say which databases look like ours and are left alone."""
    cautions = []
    if inventory.newer:
        names = ", ".join(database.name for database in inventory.newer)
        cautions.append(Caution("newer_version", f"Made by a newer snapkit, and left alone: {names}. Upgrade snapkit."))
    cautions += [
        Caution(
            "not_trusted",
            f"{entry.name} says that it is a backup of {entry.source}, but its owner {entry.database.owner} does not "
            "own that database; it is left alone.",
        )
        for entry in inventory.distrusted
    ]
    return tuple(cautions)


def entry_cautions(entries: Iterable[Entry], now: datetime) -> tuple[Caution, ...]:
    """Warn of entries whose date cannot be, and of those that are no way back since somebody has altered them."""
    entries = tuple(entries)
    return (*ahead_cautions(entries, now), *altered_cautions(entries))


def altered_cautions(entries: Iterable[Entry]) -> tuple[Caution, ...]:
    """Warn of entries that are no way back since somebody has altered them."""
    return tuple(
        Caution("altered", f"{entry.name} is no way back, since it {entry.altered}. {how_to_trust(entry)}")
        for entry in entries
        if entry.state is State.ALTERED
    )


def written(steps: Iterable[Step]) -> tuple[WrittenStep, ...]:
    """Return the steps of a plan with their statements as SQL."""
    return tuple(WrittenStep(step.title, tuple(map(sql_text, step.statements)), step.atomic) for step in steps)


def with_sizes(connection: Connection, entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """Return the entries with their sizes in bytes."""
    with server_errors(NOTHING_CHANGED):
        sizes = catalog.sizes(connection, [entry.database.oid for entry in entries])
    return tuple(replace(entry, size_bytes=sizes.get(entry.database.oid)) for entry in entries)
