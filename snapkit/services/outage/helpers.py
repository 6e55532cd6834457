"""The standbys and poolers that a run was told of: ready before anything is touched, or left out.

They are a comfort. Where a rollback has to be made whatever happens, which is a guard's way back, those that fail are
tried again for a while, and then it goes without them, and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import field, replace
from datetime import timedelta
from time import monotonic, sleep
from typing import TypeVar

from snapkit.core.outage.standbys import ReplicaReceipt
from snapkit.core.reporting import Caution, Observe, Progress
from snapkit.core.values import dataclass
from snapkit.errors import SnapkitError
from snapkit.postgres.connection.server import Connection, Server
from snapkit.services.outage.pool_checks import Pooler, check_poolers, left_out_pooler
from snapkit.services.outage.standbys import Replica, check_replicas, check_still_standby, left_out_replica
from snapkit.services.run.survey import gather

PATIENCE = timedelta(seconds=5)
"""How long those that fail are tried again where a rollback can do without them: a restart takes less."""

_PAUSE = 0.5

_Helper = TypeVar("_Helper", Replica, Pooler)
_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True)
class Helpers:
    """Those that are of use, and what was said of the others."""

    needed: bool = True
    """Whether to fail for one that is not."""
    replicas: tuple[Replica, ...] = ()
    receipts: tuple[ReplicaReceipt, ...] = ()
    """Of the replicas, one for each."""
    poolers: tuple[Pooler, ...] = ()
    lost_poolers: tuple[Caution, ...] = ()
    lost_replicas: tuple[tuple[Replica, SnapkitError], ...] = field(default=(), repr=False)

    def cautions(self, displaced_oid: int | None) -> tuple[Caution, ...]:
        """Say who was left out, and what that means; ``displaced_oid`` is that of the database that was put aside."""
        lost = (left_out_replica(replica, error, displaced_oid) for replica, error in self.lost_replicas)
        return (*self.lost_poolers, *lost)


def ready_helpers(
    server: Server,
    replicas: Sequence[Replica],
    poolers: Sequence[Pooler],
    *,
    disconnect: bool,
    needed: bool,
    observe: Observe,
) -> Helpers:
    """Look at all of them, before others have to wait for us; raise what ``check_replicas`` and ``check_poolers`` do.

    Unless they are ``needed``: then what still fails after ``PATIENCE`` is left out. What goes wrong with the server
    itself is always raised.
    """
    if not replicas and not poolers:
        return Helpers(needed)
    with server.connect() as connection:
        live = gather(connection, server.source).live if replicas else None
        patience = timedelta(0) if needed else PATIENCE

        def look_at_replica(replica: Replica) -> tuple[ReplicaReceipt, ...]:
            return check_replicas(connection, [replica], live, disconnect=disconnect)

        def look_at_pooler(pooler: Pooler) -> object:
            return check_poolers(connection, [pooler], server.source)

        standbys, lost = _ready("replica", replicas, look_at_replica, patience, observe)
        working, away = _ready("PgBouncer", poolers, look_at_pooler, patience, observe)
    for _, error in (*lost, *away):
        if needed:
            raise error
    return Helpers(
        needed,
        tuple(replica for replica, _ in standbys),
        tuple(receipt for _, (receipt,) in standbys),
        tuple(pooler for pooler, _ in working),
        tuple(left_out_pooler(pooler, error) for pooler, error in away),
        tuple(lost),
    )


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


def look_again(connection: Connection, helpers: Helpers, state: str) -> Helpers:
    """Look, just before a swap, whether the replicas are standbys still; raise BusyError for one that was promoted.

    ``state`` is how things stand. Where they are not needed, one that was promoted, or cannot be asked, is left out.
    """
    for replica, receipt in zip(helpers.replicas, helpers.receipts, strict=True):
        try:
            check_still_standby(connection, replica, state)
        except SnapkitError as error:
            if helpers.needed:
                raise
            helpers = replace(
                helpers,
                replicas=tuple(each for each in helpers.replicas if each is not replica),
                receipts=tuple(each for each in helpers.receipts if each is not receipt),
                lost_replicas=(*helpers.lost_replicas, (replica, error)),
            )
    return helpers
