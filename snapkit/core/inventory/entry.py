"""The values that everything else speaks in. Sizes are bytes, times are aware datetimes, durations timedeltas."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from snapkit.core.values import dataclass

if TYPE_CHECKING:
    from snapkit.core.deploy.deploy import Deploy
    from snapkit.core.inventory.metadata import Metadata
    from snapkit.core.inventory.opened import Opened

INVALID_CONNECTION_LIMIT = -2
"""``datconnlimit`` of a database whose DROP was interrupted: it can only be dropped.
https://www.postgresql.org/docs/current/catalog-pg-database.html"""

PARTIAL_CONNECTION_LIMIT = 1_397_637_456
"""The connection limit that marks a clone under construction beyond its name (the ASCII codes of ``SNAP``).

A clone has no comment before its last transaction, and CREATE DATABASE can set this. Nobody sets it by chance.
"""

OPEN_PARTIAL_CONNECTION_LIMIT = 1_397_637_455
"""The same for one that is being filled from outside, and so lets its owner in (``SNAO``)."""


class Kind(StrEnum):
    """What a database in the inventory is."""

    BACKUP = "backup"
    OLD = "old"
    PARTIAL = "partial"


class State(StrEnum):
    """Whether it can be used."""

    READY = "ready"
    INCOMPLETE = "incomplete"
    INVALID = "invalid"
    UNMANAGED = "unmanaged"
    ALTERED = "altered"
    """It is ours, and not as we sealed it; see ``sealing``."""


class Strategy(StrEnum):
    """How PostgreSQL copies the files of a clone; ``ONLINE``: definitions and rows instead, while clients work."""

    CLONE = "clone"
    FILE_COPY = "file-copy"
    WAL_LOG = "wal-log"
    ONLINE = "online"


@dataclass(frozen=True, slots=True)
class Database:
    """One row of pg_database, with its owner's name.

    ``document`` is its comment where that may be one of ours (see ``metadata``), ``has_comment`` whether it has any.
    """

    oid: int
    name: str
    owner: str
    owner_is_superuser: bool
    allow_connections: bool
    connection_limit: int
    is_template: bool
    tablespace: str
    document: str | None
    has_comment: bool
    is_mine: bool
    """Whether the role that asks owns it, itself or through another role."""
    access: int | None = None
    """The hash of its access list, the default one written out; None where that was not asked for."""
    row_is_newer: bool | None = None
    """Whether its row in pg_database was written by a later transaction than its comment; None: it has no comment."""

    @property
    def is_invalid(self) -> bool:
        return self.connection_limit == INVALID_CONNECTION_LIMIT

    @property
    def is_open_partial(self) -> bool:
        """Whether it bears the mark of a copy that was being filled: sessions of ours may be inside."""
        return self.connection_limit == OPEN_PARTIAL_CONNECTION_LIMIT


@dataclass(frozen=True, slots=True)
class Entry:
    """One database of the inventory: what it is, read from its comment or, failing that, from its name and marks."""

    database: Database
    source: str
    kind: Kind
    state: State
    created_at: datetime
    sequence: int = 1
    metadata: Metadata | None = None
    size_bytes: int | None = None
    bears_its_name: bool = True
    """Whether it is named as snapkit named it. One that was renamed by hand is used only if it is asked for by name."""
    altered: str | None = None
    """What about it is not as it was sealed, in words that go on from its name."""
    ordered_at: datetime | None = None
    """When it was made at the latest, by what the server made after it; None: as it says."""

    @property
    def name(self) -> str:
        return self.database.name

    @property
    def label(self) -> str | None:
        return self.metadata.label if self.metadata else None

    @property
    def pinned(self) -> bool:
        return self.metadata is not None and self.metadata.pinned

    @property
    def pin_reason(self) -> str | None:
        return self.metadata.pin_reason if self.metadata else None

    @property
    def opened(self) -> Opened | None:
        return self.metadata.opened if self.metadata else None

    @property
    def not_given(self) -> tuple[str, ...]:
        """The names of those properties of its source that it could not be given when it was made."""
        return self.metadata.not_given if self.metadata else ()

    @property
    def strategy(self) -> Strategy | None:
        return self.metadata.strategy if self.metadata else None

    @property
    def deploy(self) -> Deploy | None:
        return self.metadata.deploy if self.metadata else None

    @property
    def is_managed(self) -> bool:
        """Whether there is proof that snapkit made it, and it is complete."""
        return self.metadata is not None

    @property
    def order(self) -> int | None:
        """A number that grows with each run on the server, whatever its clock says; None: it has none."""
        return self.metadata.order if self.metadata else None

    @property
    def dated(self) -> datetime:
        """When it was made, as far as that can be believed; see ``ordering``."""
        return self.ordered_at or self.created_at

    @property
    def age_key(self) -> tuple[datetime, int, int, str]:
        """Sorts from the oldest to the newest; within one second the higher number is the newer."""
        return (self.dated, self.order or 0, self.sequence, self.name)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server is, and as whom: what was reached or, before that, what the settings name.

    ``host`` is a directory for a Unix socket; ``role`` None where nothing names one.
    """

    host: str
    port: str
    role: str | None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Standby:
    """A server that streams from this one, as pg_stat_replication shows it to this role (what it hides is None)."""

    name: str | None
    client: str | None

    def describe(self) -> str:
        """Name the standby in one short phrase."""
        return (self.name or "name unknown") + (f" at {self.client}" if self.client else "")


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
        return self.state + (f" since {self.state_since.astimezone(UTC):%H:%M:%S} UTC" if self.state_since else "")


@dataclass(frozen=True, slots=True)
class Caution:
    """Something that went through, and that the user ought to know. ``code`` is for programs."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is, in bytes or, for drops, in databases; ``done`` is None where it cannot be told."""

    phase: str
    elapsed: timedelta
    """Since the phase began."""
    done: int | None = None
    total: int | None = None
    waits: bool = False
    """Whether it stands still for somebody else, whom ``phase`` names; worth saying in a pipe, too."""
    unit: str = "bytes"
    is_estimate: bool = False
    """Whether ``done`` goes by how long it took the last time, since the server does not show it."""
    pace: float | None = None
    """Units a second of late, where that is known; what is left goes by it."""
    is_late: bool = False
    """Whether it takes longer by now than the last time told: how much longer, nobody knows."""

    @property
    def rate(self) -> float | None:
        """Units a second so far; None before there is anything to go by."""
        seconds = self.elapsed.total_seconds()
        return self.done / seconds if self.done and seconds > 0 else None

    @property
    def remaining(self) -> timedelta | None:
        """How long the rest takes at the pace of late, or else at the rate so far; None where nothing tells that.

        When all is done, and something besides is still to come, nothing does.
        """
        pace = self.pace or self.rate
        if self.total is None or self.done is None or pace is None or self.done >= self.total or self.is_late:
            return None
        return timedelta(seconds=(self.total - self.done) / pace)


Observe = Callable[[Progress], None]
"""Is told how far a run is, now and then and from any thread."""


def unobserved(progress: Progress) -> None:
    """Stands for an observer where nobody looks."""
