"""Read what every run needs to know first: the server, the inventory, the live database."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from snapkit.core.checks.preconditions import no_live_database
from snapkit.core.connection.endpoint import Address
from snapkit.core.inventory.database import Database
from snapkit.core.inventory.entry import Entry, how_to_trust
from snapkit.core.inventory.kinds import State
from snapkit.core.inventory.naming import FreeNames
from snapkit.core.inventory.ordering import ahead_cautions
from snapkit.core.inventory.recognition import Inventory, take_inventory
from snapkit.core.inventory.selection import select_among
from snapkit.core.plans.statements import Step, WrittenStep
from snapkit.core.reporting import Caution, Observe, unobserved
from snapkit.core.server.version import MINIMUM_VERSION, major_version
from snapkit.core.values import dataclass
from snapkit.errors import NOTHING_CHANGED, SnapkitError, UsageError
from snapkit.postgres.catalog import databases as catalog
from snapkit.postgres.catalog.server_facts import ServerFacts
from snapkit.postgres.connection.driver import driver_connection, server_version
from snapkit.postgres.connection.server import Connection, Server
from snapkit.postgres.connection.sqlstates import server_errors
from snapkit.postgres.sql.ddl import sql_text


@dataclass(frozen=True, slots=True)
class ServerState:
    """What is on the server at one moment."""

    facts: ServerFacts
    inventory: Inventory
    live: Database | None

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self.inventory.databases)

    @property
    def free_names(self) -> FreeNames:
        """The names of what is made now."""
        return FreeNames(self.facts.now, self.names)


@dataclass(frozen=True, slots=True)
class RunContext:
    """What the steps of a run work with: ``ddl`` is the working connection, ``state`` what it found on the server."""

    server: Server
    ddl: Connection
    state: ServerState
    observe: Observe = unobserved

    @property
    def source(self) -> str:
        """The name of the live database."""
        return self.server.source


def gather(connection: Connection, source: str) -> ServerState:
    """Read the state of the server; raise UsageError if the source is itself a backup."""
    _check_version(server_version(connection))  # one that is far too old would not understand
    with server_errors(NOTHING_CHANGED):
        facts, databases = catalog.survey(connection)
    inventory = take_inventory(databases, facts.role, facts.now)
    if inventory.is_ours(source):
        raise UsageError(
            f"The connection URL names {source!r}, which is itself a backup.",
            state=NOTHING_CHANGED,
            hint="Name the live database in the URL.",
        )
    return ServerState(facts, inventory, inventory.databases.get(source))


def _check_version(version: int) -> None:
    if version < MINIMUM_VERSION:
        raise SnapkitError(
            f"This is PostgreSQL {major_version(version)}; snapkit needs {major_version(MINIMUM_VERSION)} or later.",
            state=NOTHING_CHANGED,
        )


def need_live(gathered: ServerState, source: str) -> Database:
    """Return the live database; raise NotFoundError if there is none."""
    if gathered.live is not None:
        return gathered.live
    has_distrusted = any(entry.source == source for entry in gathered.inventory.distrusted)
    raise no_live_database(
        source, has_backups=bool(gathered.inventory.of_source(source)), has_distrusted=has_distrusted
    )


def need_known(gathered: ServerState, source: str) -> None:
    """Raise NotFoundError if there is neither a database nor a backup of this name: it may be misspelt."""
    inventory = gathered.inventory
    if not inventory.of_source(source) and not any(entry.source == source for entry in inventory.distrusted):
        need_live(gathered, source)


def chosen(gathered: ServerState, source: str, wanted: str | None) -> Entry:
    """Return the entry that ``wanted`` names; None: the newest ready backup. Raises NotFoundError and UsageError."""
    inventory = gathered.inventory
    need_known(gathered, source)
    distrusted = [entry for entry in inventory.distrusted if entry.source == source]
    return select_among(inventory.of_source(source), wanted, source, distrusted, inventory.entries)


def address_of(connection: Connection) -> Address:
    info = driver_connection(connection).info
    return Address(info.host, info.port, info.server_version)


def entry_cautions(entries: Iterable[Entry], now: datetime) -> tuple[Caution, ...]:
    """Warn of entries whose date is in the future, and of altered ones, which cannot be rolled back to."""
    entries = tuple(entries)
    return (*ahead_cautions(entries, now), *altered_cautions(entries))


def altered_cautions(entries: Iterable[Entry]) -> tuple[Caution, ...]:
    """Warn of entries that somebody has altered: you cannot roll back to them."""
    return tuple(
        Caution("altered", f"You cannot roll back to {entry.name}: it {entry.altered}. {how_to_trust(entry)}")
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
