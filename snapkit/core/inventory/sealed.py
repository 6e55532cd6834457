"""What an entry was like when it was sealed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snapkit.core.values import dataclass

if TYPE_CHECKING:
    from snapkit.core.inventory.database import Database


@dataclass(frozen=True, slots=True)
class Seal:
    """What anybody can see of an entry's row in pg_database, as it was when the entry was sealed.

    ``access`` is the hash of its access list, written out. An entry that was changed in one of these by hand, as DROP
    OWNED or REASSIGN OWNED do, need not have been opened for that.
    """

    owner: str
    access: int
    connection_limit: int


def seal_of(database: Database) -> Seal | None:
    """Return what is to be noted of a database that is being sealed; None where its access list is not known."""
    if database.access is None:
        return None
    return Seal(database.owner, database.access, database.connection_limit)


def encode_seal(seal: Seal) -> dict[str, Any]:
    """Return what stands in the document."""
    return {"owner": seal.owner, "access": seal.access, "connection_limit": seal.connection_limit}


def decode_seal(found: dict[str, Any] | None) -> Seal | None:
    """Read it back; raise KeyError or TypeError where it is malformed."""
    if found is None:
        return None
    owner, access, limit = found["owner"], found["access"], found["connection_limit"]
    if not (isinstance(owner, str) and type(access) is int and type(limit) is int) or "\0" in owner:
        raise TypeError(found)
    return Seal(owner, access, limit)
