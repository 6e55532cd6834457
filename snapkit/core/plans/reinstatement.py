"""What an undo gives back to the entry that a rollback used up: what it was, if nothing was written while it was live.

The server hands out transaction IDs in order, one to each transaction that writes. Of those between the rollback and
the end of the undo all must be snapkit's own; else somebody, in whatever database, has written something. One thing
needs no transaction ID: ``nextval`` within the values that a sequence has logged already. It logs the first after a
checkpoint, which each clone by files begins with; so a clone by WAL_LOG proves nothing.
https://www.postgresql.org/docs/current/transaction-id.html
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from snapkit.core.inventory import metadata as comments
from snapkit.core.inventory.kinds import Kind, Strategy
from snapkit.core.inventory.metadata import Metadata
from snapkit.core.inventory.naming import free_name
from snapkit.core.plans.swap import SwapPlan
from snapkit.core.values import dataclass

_SWAPS = 2
"""The rollback, and the undo: a transaction each."""


@dataclass(frozen=True, slots=True)
class Returning:
    """What a displaced database was before it was live: its name, and its document, to be given back."""

    oid: int
    name: str
    metadata: Metadata


def plan_returning(plan: SwapPlan, taken: Collection[str]) -> Returning | None:
    """Return what the database that ``plan`` has put aside was, if a rollback to it was what ``plan`` takes back."""
    restored, live = plan.entry.metadata, plan.live
    if restored is None or live is None or restored.gave_way_to is None:
        return None
    former = comments.used_up_by(restored, live.oid)
    if former is None:
        return None
    aside, name = plan.displaced_metadata, restored.gave_way_to
    metadata = replace(
        former,
        seal=aside.seal,
        gave_way_to=aside.gave_way_to,
        gave_way_to_oid=aside.gave_way_to_oid,
        gave_way_at=aside.order,
        used_up=aside.used_up,
    )
    free = name if name not in taken else free_name(former.source, former.kind, former.created_at, taken)
    return Returning(live.oid, free, metadata)


def is_unwritten(plan: SwapPlan, returning: Returning, next_transaction: int, own: int) -> bool:
    """Whether nothing can have been written while it was live.

    ``next_transaction`` is the next transaction ID, read when it let nobody in any more; ``own`` are those that the
    undo has used besides that of its swap.
    """
    before = plan.entry.order
    if before is None or returning.metadata.strategy is Strategy.WAL_LOG:
        return False
    return next_transaction - before == _SWAPS + own


def was_backup(plan: SwapPlan) -> str | None:
    """Return the name of the backup that was live, and that ``plan`` puts aside by taking back the rollback to it."""
    returning = plan_returning(plan, ())
    return returning.name if returning is not None and returning.metadata.kind is Kind.BACKUP else None
