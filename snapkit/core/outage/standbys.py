"""The standbys that stream from the server."""

from __future__ import annotations

from collections.abc import Sequence

from snapkit.core.client_session import ClientSession
from snapkit.core.values import dataclass


@dataclass(frozen=True, slots=True)
class Standby:
    """A server that streams from this one, as pg_stat_replication shows it to this role (what it hides is None)."""

    name: str | None
    client: str | None

    def describe(self) -> str:
        """Name the standby in one short phrase."""
        return (self.name or "name unknown") + (f" at {self.client}" if self.client else "")


def listed_standbys(standbys: Sequence[Standby]) -> str:
    """Return, as the beginning of a sentence, how many standbys stream from the server, and which."""
    number = "1 standby streams" if len(standbys) == 1 else f"{len(standbys)} standbys stream"
    return f"{number} from this server ({', '.join(standby.describe() for standby in standbys)})"


@dataclass(frozen=True, slots=True)
class ReplicaReceipt:
    """A standby that was told of, and whom a swap disconnected there, or would."""

    host: str
    port: int
    disconnected: tuple[ClientSession, ...] = ()
