"""The end of a guarded command: what is noted then, so that later writes can be told from the command's own."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from snapkit.core.inventory.entry import Entry
from snapkit.core.reporting import Caution
from snapkit.core.values import dataclass

if TYPE_CHECKING:
    from snapkit.postgres.connection.server import Server
    from snapkit.services.carrying.carry import Carrying

_WAIT = timedelta(seconds=60)
"""How long a rollback waits until the rows are noted. What is not known by then is not brought along."""


class NotedEnd(Protocol):
    """What is known of the end of the command, or is being noted."""

    def carrying(self) -> Carrying:
        """Wait until it is known, and return how late writes go along with a rollback."""

    def stop(self) -> None:
        """Give it up, if it is not done: nobody needs it any more."""


class ScannedEnd:
    """The rows are read when the command has ended, beside what comes next."""

    def __init__(self, server: Server, backup: Entry) -> None:
        from snapkit.services.carrying.boundary import BoundaryScan

        self._scan = BoundaryScan(server, backup)
        self._scan.begin()

    def carrying(self) -> Carrying:
        from snapkit.services.carrying.carry import Carrying

        return Carrying(self._scan.end(_WAIT))

    def stop(self) -> None:
        self._scan.close()


@dataclass(frozen=True, slots=True)
class ClonedEnd:
    """A backup was made when the command had ended. ``cautions`` are those of that backup."""

    clone: Entry
    cautions: tuple[Caution, ...] = ()

    def carrying(self) -> Carrying:
        from snapkit.services.carrying.carry import Carrying
        from snapkit.services.carrying.knowledge import NothingKnown
        from snapkit.services.carrying.request import CarryRequest

        lineage = self.clone.metadata.lineage if self.clone.metadata else None
        boundary = lineage.ancestors[0].boundary if lineage and lineage.ancestors else None
        return Carrying(CarryRequest(NothingKnown(""), boundary, clone=self.clone.name))

    def stop(self) -> None:
        """There is nothing to give up."""
