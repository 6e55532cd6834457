"""Which late writes are to go along with a rollback."""

from __future__ import annotations

from snapkit.core.comparison.lineage import Boundary
from snapkit.core.values import dataclass
from snapkit.services.carrying.knowledge import Knowledge


@dataclass(frozen=True, slots=True)
class CarryRequest:
    """What is known of rows at the boundary, and the boundary itself, for a later restore; None: it is not known.

    ``unsettled`` are transactions that were open when the command ended, and at the boundary still: maybe its own.
    ``clone`` is the name of a backup that was made at the boundary: it tells what ``knowledge`` otherwise would.
    """

    knowledge: Knowledge
    boundary: Boundary | None = None
    unsettled: tuple[int, ...] = ()
    clone: str | None = None
