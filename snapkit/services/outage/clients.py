"""How clients are held while a run needs their database empty: the one bracket, for all runs that hold them.

Before the lock of the source is taken, the standbys and the PgBouncers that the user named are looked at
(``ready_to_copy``, ``ready_to_swap``). Under the lock, running transactions get their grace while everybody works on
(``let_transactions_end``). Then the PgBouncers are paused, and the ``Hold`` is lent under which the door is closed
(``held``); they are resumed when that block ends. When the change is committed, the standbys are waited for
(``follow``).

Standbys and PgBouncers are a comfort. Where a rollback has to be made whatever happens, which is a guard's way back,
those that fail are tried again for a while, and then it goes without them, and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import field, replace
from datetime import timedelta
from time import monotonic, sleep
from typing import TypeVar

from snapkit.core.client_session import ClientSession
from snapkit.core.inventory.database import Database
from snapkit.core.outage.hold_rules import DEFAULT_RULES, HoldRules
from snapkit.core.outage.pooled_databases import PoolerReceipt
from snapkit.core.outage.standbys import ReplicaReceipt, Standby
from snapkit.core.reporting import Caution, Observe, Progress
from snapkit.core.values import dataclass
from snapkit.errors import SnapkitError
from snapkit.postgres.connection.server import Connection, Server
from snapkit.postgres.connection.sqlstates import server_errors
from snapkit.postgres.outage.door import await_transactions
from snapkit.services.outage.hold import Hold
from snapkit.services.outage.pause import Pause
from snapkit.services.outage.pool_checks import Pooler, check_poolers, left_out_pooler
from snapkit.services.outage.pools import paused
from snapkit.services.outage.standbys import (
    Change,
    Replica,
    check_replicas,
    check_still_standby,
    follow,
    left_out_replica,
    untold_caution,
    untold_standbys,
)
from snapkit.services.run.survey import gather

PATIENCE = timedelta(seconds=5)
"""How long a standby or a PgBouncer that fails is tried again where a run can do without it: a restart takes less."""

_PAUSE = 0.5

_Helper = TypeVar("_Helper", Replica, Pooler)
_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True)
class HeldClients:
    """How clients were held by what has been done.

    ``outage`` is for how long, by the pause of a pool or at the server's door; ``disconnected`` are the sessions that
    were ended, ``poolers`` the PgBouncers that were paused.
    """

    outage: timedelta = timedelta(0)
    disconnected: tuple[ClientSession, ...] = ()
    poolers: tuple[PoolerReceipt, ...] = ()
    cautions: tuple[Caution, ...] = ()

    def after(self, before: HeldClients) -> HeldClients:
        """Return this with the time and the sessions of a hold that came before it in the same run."""
        disconnected = (*before.disconnected, *self.disconnected)
        return replace(self, outage=before.outage + self.outage, disconnected=disconnected)


class Holding:
    """Clients being held: ``hold`` is for what is done meanwhile, and bounds it."""

    def __init__(self, rules: HoldRules, pause: Pause | None = None) -> None:
        self._pause = pause or Pause()
        self.hold: Hold = self._pause.hold(rules)

    @property
    def leaving(self) -> timedelta:
        """How long the pools took to be empty, or were waited for."""
        return self._pause.leaving

    def ended(self, at_the_door: timedelta, disconnected: tuple[ClientSession, ...]) -> HeldClients:
        """Return how clients were held, once they are no longer; ``at_the_door`` is how long they were there."""
        pause = self._pause
        return HeldClients(pause.outage(at_the_door), disconnected, pause.poolers, pause.cautions)


@dataclass(frozen=True, slots=True)
class Clients:
    """How the clients of a source may be held, and where they are besides: on standbys, and behind PgBouncers.

    ``needed``: whether the run fails for a standby or a PgBouncer that fails; else it goes without those that do.
    """

    hold: HoldRules = DEFAULT_RULES
    standbys: tuple[Replica, ...] = ()
    poolers: tuple[Pooler, ...] = ()
    needed: bool = True

    @property
    def will_leave(self) -> bool:
        """Whether those who are inside now will be gone in time: disconnected, or gone with the pause of their pool."""
        return self.hold.disconnect or bool(self.poolers)

    def look_at_standbys(self, connection: Connection, occupied: Database | None) -> tuple[ReplicaReceipt, ...]:
        """Return where each standby is, and who is inside ``occupied`` there; raises as ``check_replicas`` does."""
        return check_replicas(connection, self.standbys, occupied, disconnect=self.hold.disconnect)

    def look_at_poolers(self, connection: Connection, source: str) -> tuple[PoolerReceipt, ...]:
        """Return what would be paused on each PgBouncer; raises as ``check_poolers`` does."""
        return check_poolers(connection, self.poolers, source)

    def ready_to_copy(self, server: Server) -> ReadyClients:
        """Look at all of them, which may take long, before others have to wait for us."""
        if not self.standbys and not self.poolers:
            return ReadyClients(self)
        with server.connect() as connection:
            self.look_at_poolers(connection, server.source)
            receipts = self.look_at_standbys(connection, None)
        return ReadyClients(self, self.standbys, receipts, self.poolers)

    def ready_to_swap(self, server: Server, observe: Observe) -> ReadyClients:
        """Look at all of them before others have to wait for us; raise as ``look_at_standbys`` and the other do.

        Unless they are ``needed``: then what still fails after ``PATIENCE`` is left out. What goes wrong with the
        server itself is always raised.
        """
        if not self.standbys and not self.poolers:
            return ReadyClients(self)
        with server.connect() as connection:
            live = gather(connection, server.source).live if self.standbys else None
            patience = timedelta(0) if self.needed else PATIENCE

            def look_at_standby(standby: Replica) -> tuple[ReplicaReceipt, ...]:
                return replace(self, standbys=(standby,)).look_at_standbys(connection, live)

            def look_at_pooler(pooler: Pooler) -> object:
                return replace(self, poolers=(pooler,)).look_at_poolers(connection, server.source)

            standbys, lost = _ready("replica", self.standbys, look_at_standby, patience, observe)
            working, away = _ready("PgBouncer", self.poolers, look_at_pooler, patience, observe)
        for _, error in (*lost, *away):
            if self.needed:
                raise error
        return ReadyClients(
            self,
            tuple(standby for standby, _ in standbys),
            tuple(receipt for _, (receipt,) in standbys),
            tuple(pooler for pooler, _ in working),
            tuple(left_out_pooler(pooler, error) for pooler, error in away),
            tuple(lost),
        )


@dataclass(frozen=True, slots=True)
class ReadyClients:
    """The standbys and the PgBouncers that have answered, and what was said of the others."""

    asked: Clients
    standbys: tuple[Replica, ...] = ()
    receipts: tuple[ReplicaReceipt, ...] = ()
    """Of the standbys, one for each."""
    poolers: tuple[Pooler, ...] = ()
    lost_poolers: tuple[Caution, ...] = ()
    lost_standbys: tuple[tuple[Replica, SnapkitError], ...] = field(default=(), repr=False)
    unnamed: tuple[Standby, ...] = ()
    """The standbys of the server, where the user named fewer."""

    @property
    def rules(self) -> HoldRules:
        """How clients may be held."""
        return self.asked.hold

    def under(self, rules: HoldRules) -> ReadyClients:
        """Return the same clients, to be held under other rules."""
        return replace(self, asked=replace(self.asked, hold=rules))

    def noting_unnamed(self, connection: Connection) -> ReadyClients:
        """Return it with the standbys of the server that nobody named, to warn of their sessions afterwards."""
        return replace(self, unnamed=untold_standbys(connection, self.asked.standbys))

    def look_again(self, connection: Connection, state: str) -> ReadyClients:
        """Look, just before a swap, whether the standbys are standbys still; raise BusyError for a promoted one.

        ``state`` is how things stand. Where they are not needed, one that was promoted, or cannot be asked, is left
        out.
        """
        ready = self
        for standby, receipt in zip(self.standbys, self.receipts, strict=True):
            try:
                check_still_standby(connection, standby, state)
            except SnapkitError as error:
                if self.asked.needed:
                    raise
                ready = ready.without(standby, receipt, error)
        return ready

    def without(self, standby: Replica, receipt: ReplicaReceipt, error: SnapkitError) -> ReadyClients:
        """Leave a standby out."""
        return replace(
            self,
            standbys=tuple(each for each in self.standbys if each is not standby),
            receipts=tuple(each for each in self.receipts if each is not receipt),
            lost_standbys=(*self.lost_standbys, (standby, error)),
        )

    def let_transactions_end(self, ddl: Connection, oid: int, observe: Observe, state: str) -> bool:
        """Wait for the running transactions as long as they may take while everybody works on.

        PostgreSQL has no patience for more than the rest of their grace once clients are held. Returns False where
        there is nothing to wait for.
        """
        if not self.rules.grace_before:
            return False
        with server_errors(state):
            observe(Progress("Letting transactions end", timedelta(0)))
            await_transactions(ddl, [oid], self.rules)
        return True

    @contextmanager
    def held(self, ddl: Connection, source: str, observe: Observe) -> Iterator[Holding]:
        """Hold the clients that come through PgBouncers during the block; the others are held at the server's door.

        Under the ``hold`` that is yielded the door is closed. Raises as ``paused`` does.
        """
        with paused(self.poolers, ddl, source, observe, self.rules, needed=self.asked.needed) as pause:
            yield Holding(self.rules, pause)

    def follow(self, change: Change, observe: Observe) -> tuple[tuple[ReplicaReceipt, ...], tuple[Caution, ...]]:
        """Wait until the standbys have replayed a change that is committed; return whom it disconnected there.

        What is not as it should be comes back as cautions, and so does what was left out.
        """
        receipts, cautions = follow(self.standbys, self.receipts, change, observe)
        displaced = change.displaced_oid
        lost = tuple(left_out_replica(standby, error, displaced) for standby, error in self.lost_standbys)
        untold = untold_caution(self.unnamed, len(receipts), displaced)
        return receipts, (*cautions, *untold, *self.lost_poolers, *lost)


def _ready(
    kind: str, helpers: Iterable[_Helper], look: Callable[[_Helper], _Found], patience: timedelta, observe: Observe
) -> tuple[list[tuple[_Helper, _Found]], list[tuple[_Helper, SnapkitError]]]:
    """Return those that are ready, with what was found, and those that were not within ``patience``; in their order."""
    began = monotonic()
    found: list[tuple[_Helper, _Found]] = []
    missing: list[tuple[_Helper, SnapkitError]] = []
    for helper in helpers:
        while True:
            try:
                found.append((helper, look(helper)))
                break
            except SnapkitError as error:
                elapsed = timedelta(seconds=monotonic() - began)
                if elapsed >= patience:
                    missing.append((helper, error))
                    break
                observe(Progress(f"Waiting for the {kind} {helper.place}", elapsed, waits=True))
            sleep(_PAUSE)
    return found, missing
