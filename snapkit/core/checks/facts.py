"""What the checks look at, and how one comes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from enum import StrEnum

from snapkit.core.client_session import ClientSession
from snapkit.core.copying.estimates import Extent, Forecast
from snapkit.core.copying.lock_room import LockTable
from snapkit.core.inventory.database import Database
from snapkit.core.inventory.entry import Entry
from snapkit.core.inventory.kinds import Strategy
from snapkit.core.outage.standbys import Standby
from snapkit.core.outage.workers import Worker
from snapkit.core.server.dependents import Dependents
from snapkit.core.server.replication import Replication
from snapkit.core.values import dataclass
from snapkit.errors import SnapkitError


class Status(StrEnum):
    """The result of a check. A problem makes a backup or a rollback fail. A warning may surprise the user."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Check:
    """One check: its result, and what to do if it is not ok."""

    name: str
    status: Status
    message: str
    hint: str | None = None


def problem(name: str, error: SnapkitError) -> Check:
    """Return the check for what a run refuses with ``error``."""
    return Check(name, Status.PROBLEM, in_one_line(error), error.hint)


def in_one_line(error: SnapkitError) -> str:
    """Return the message of an error, its lines put together."""
    first, *more = error.message.splitlines()
    return f"{first} {'; '.join(line.strip() for line in more)}" if more else first


@dataclass(frozen=True, slots=True)
class Estimate:
    """One way to make a backup: what it copies, and how long it takes, if that is known."""

    strategy: Strategy
    extent: Extent
    forecast: Forecast | None


@dataclass(frozen=True, slots=True)
class PoolerLook:
    """A PgBouncer from the settings: which of its databases a run would pause, or why it cannot pause them now."""

    place: str
    databases: tuple[str, ...] = ()
    at_work: bool = False
    """Whether a run that is at work has paused it."""
    problem: str | None = None
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts that ``judge`` uses. None means that a fact is not known."""

    source: str
    quoted_source: str
    """Its name, quoted for SQL."""
    live: Database | None
    stale_collation: str | None
    """The collation version that the database has noted, if the system's is another."""
    is_standby: bool
    is_read_only: bool
    behind_pooler: bool
    grants: Mapping[str, str]
    """The rights that the role lacks, with the statement that grants each."""
    role: str
    """The role's name, quoted for SQL."""
    sessions: Sequence[ClientSession]
    prepared: Sequence[str]
    replication: Replication
    standbys: Sequence[Standby]
    workers: Sequence[Worker]
    workers_refused: SnapkitError | None
    """Why a run would not end them."""
    extensions: Sequence[str] | None
    free_bytes: int | None
    estimates: Sequence[Estimate]
    """One for each way that this server knows. The first is the one that a backup would use."""
    locks: LockTable | None
    """The locks that an online copy would take, and the room for locks."""
    online_refused: SnapkitError | None
    """Why a copy while clients work would be refused."""
    clock_difference: timedelta
    leftovers: Sequence[Entry]
    entries: Sequence[Entry]
    """Those of the source."""
    dependents: Dependents
    left_open: Sequence[Entry]
    """Those that a shell has left open which is no more."""
    not_trusted: Sequence[Entry]
    poolers: Sequence[PoolerLook] = ()
