"""What an undo restores of the entry that a rollback used up: its name and document, if nothing was written meanwhile.

The server gives out transaction IDs in order, one to each transaction that writes. If all IDs between the rollback and
the end of the undo are snapkit's own, nobody has written anything, in any database. There is one exception:
``nextval`` needs no ID while it uses values that the sequence has logged already. The first ``nextval`` after a
checkpoint does log. A clone by files begins with a checkpoint, a clone by WAL_LOG does not, and so proves nothing.
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
    """The name and the document that a displaced database had before it was live, and gets back."""

    oid: int
    name: str
    metadata: Metadata


def plan_returning(plan: SwapPlan, taken: Collection[str]) -> Returning | None:
    """Return what the database that ``plan`` displaces was before, if ``plan`` takes back a rollback to it."""
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
        lineage=aside.lineage or former.lineage,
        heir=aside.heir,
    )
    free = name if name not in taken else free_name(former.source, former.kind, former.created_at, taken)
    return Returning(live.oid, free, metadata)


def is_unwritten(plan: SwapPlan, returning: Returning, next_transaction: int, own: int) -> bool:
    """Whether nothing can have been written while it was live.

    ``next_transaction`` is the next transaction ID, read when nobody could connect to it any more. ``own`` are the IDs
    that the undo has used besides that of its swap.
    """
    before = plan.entry.order
    if before is None or returning.metadata.strategy is Strategy.WAL_LOG:
        return False
    return next_transaction - before == _SWAPS + own


def was_backup(plan: SwapPlan) -> str | None:
    """Return the name of the backup that is live now, if ``plan`` takes back the rollback to it."""
    returning = plan_returning(plan, ())
    return returning.name if returning is not None and returning.metadata.kind is Kind.BACKUP else None
