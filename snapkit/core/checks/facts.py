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
from snapkit.core.outage.workers import Refusal, Worker
from snapkit.core.server.dependents import Dependents
from snapkit.core.values import dataclass


class Status(StrEnum):
    """How a check came out; a problem makes a backup or a rollback fail, a warning may surprise."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at, and what to do if it is not as it should be."""

    name: str
    status: Status
    message: str
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Estimate:
    """How a backup can be made, of what, and how long it would take as far as that can be told."""

    strategy: Strategy
    extent: Extent
    forecast: Forecast | None


@dataclass(frozen=True, slots=True)
class PoolerLook:
    """A PgBouncer that is named, and what of it a run would pause; or why that cannot be done at this moment."""

    place: str
    databases: tuple[str, ...] = ()
    at_work: bool = False
    """Whether a run that is at work has paused it."""
    problem: str | None = None
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What ``judge`` looks at. None means that it could not be learnt."""

    source: str
    live: Database | None
    stale_collation: bool
    is_standby: bool
    is_read_only: bool
    behind_pooler: bool
    grants: Mapping[str, str]
    """The rights that the role lacks, with the statement that grants each."""
    signal_grant: str
    """The statement by which the role may end the sessions of others."""
    sessions: Sequence[ClientSession]
    prepared: Sequence[str]
    slots: Sequence[str]
    subscriptions: Sequence[str]
    standbys: Sequence[Standby]
    workers: Sequence[Worker]
    workers_refused: Refusal | None
    """Why a run would not end them."""
    extensions: Sequence[str] | None
    free_bytes: int | None
    estimates: Sequence[Estimate]
    """Of each way that this server knows; the first is the one that would be taken."""
    locks: LockTable | None
    """What a copy while clients work would lock, and the room for that."""
    clock_difference: timedelta
    remains: Sequence[Entry]
    entries: Sequence[Entry]
    """Those of the source."""
    dependents: Dependents
    left_open: Sequence[Entry]
    """Those that a shell has left open which is no more."""
    not_trusted: Sequence[Entry]
    poolers: Sequence[PoolerLook] = ()
