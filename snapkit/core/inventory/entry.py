"""One entry of the inventory."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from snapkit.core.inventory.database import Database
from snapkit.core.inventory.kinds import Kind, State, Strategy
from snapkit.core.values import dataclass
from snapkit.errors import NOTHING_CHANGED, UsageError

if TYPE_CHECKING:
    from snapkit.core.deploy.deploy import Deploy
    from snapkit.core.inventory.metadata import Metadata
    from snapkit.core.inventory.opened import Opened


@dataclass(frozen=True, slots=True)
class Entry:
    """One database of the inventory, as its comment describes it or, without one, its name and marks."""

    database: Database
    source: str
    kind: Kind
    state: State
    created_at: datetime
    sequence: int = 1
    metadata: Metadata | None = None
    size_bytes: int | None = None
    bears_its_name: bool = True
    """Whether it still has the name that snapkit gave it. A renamed one is used only if its name is given."""
    altered: str | None = None
    """How it differs from what snapkit sealed, in words that follow its name."""
    ordered_at: datetime | None = None
    """The latest time at which it can have been made, judged by entries that the server made later; None: its own
    date."""

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
        """The names of the properties of its source that it could not be given."""
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
        """When it was made, corrected for a wrong clock; see ``ordering``."""
        return self.ordered_at or self.created_at

    @property
    def age_key(self) -> tuple[datetime, int, int, str]:
        """Sorts from the oldest to the newest; within one second the higher number is the newer."""
        return (self.dated, self.order or 0, self.sequence, self.name)


def check_usable(entry: Entry) -> None:
    """Raise UsageError for an entry that is not ready."""
    if entry.state is State.READY:
        return
    another = "Choose another backup: snapkit list"
    reasons = {
        State.UNMANAGED: (
            "was not made by snapkit, or has lost its comment",
            f"If it is a backup that you trust, first run: snapkit adopt {entry.name}",
        ),
        State.INCOMPLETE: ("is an unfinished clone: its run was interrupted, or is still at work", another),
        State.INVALID: ("is invalid: its DROP DATABASE was interrupted, and it can only be dropped", another),
        State.ALTERED: (f"is not as it was sealed: it {entry.altered}", how_to_trust(entry)),
    }
    reason, hint = reasons[entry.state]
    raise UsageError(f"{entry.name!r} {reason}.", state=NOTHING_CHANGED, hint=hint)


def how_to_trust(entry: Entry) -> str:
    """Say what can be done with an entry that was altered."""
    return (
        f"Its contents may have changed. If you trust it, seal it again as it is: snapkit adopt {entry.name}. If "
        f"not, drop it: snapkit delete {entry.name}"
    )
