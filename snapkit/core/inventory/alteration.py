"""What an entry was like when it was sealed, and what tells that somebody has opened it by hand since then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snapkit.core.plans.statements import AlterDatabase, CommentOnDatabase, Statement
from snapkit.core.values import dataclass

if TYPE_CHECKING:
    from snapkit.core.inventory.entry import Database
    from snapkit.core.inventory.metadata import Metadata


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


def statements_to_seal(name: str, document: str) -> tuple[Statement, ...]:
    """Seal a database and give it its document, as the last statements of a transaction, and not behind a savepoint.

    Both rows are written, whatever they were before; so they agree on who wrote them last. COMMENT comes first, since
    it takes a lock: who renames the database holds a stronger one, and waits for the row.
    """
    return CommentOnDatabase(name, document), AlterDatabase(name, allow_connections=False, is_template=False)


def alteration(database: Database, document: Metadata) -> str | None:
    """Say, in words that go on from the entry's name, what about it is not as snapkit sealed it; None: all is.

    A seal writes the row in pg_database and the comment in one transaction. So they have the same ``xmin``, which
    neither VACUUM nor freezing changes, until somebody writes the one or the other; and nobody opens a database without
    writing its row. Documents of versions that did not note the seal are not judged by that, and neither are changes
    that show and let nobody in.
    https://www.postgresql.org/docs/current/ddl-system-columns.html
    """
    if document.altered is not None:
        return document.altered
    if document.dropping is not None:
        return "was renamed or opened after a run had begun to drop it"
    if document.opened is not None:  # what it was is noted, and comes back
        return None
    if database.allow_connections:
        return "lets sessions in: somebody has set ALLOW_CONNECTIONS true"
    seal = document.seal
    if seal is None or not database.row_is_newer:
        return None
    if database.connection_limit != seal.connection_limit:
        return f"has another connection limit ({database.connection_limit}) than snapkit gave it"
    if database.is_template or (database.owner, database.access) != (seal.owner, seal.access):
        return None
    return "was changed after snapkit had sealed it, as when somebody opens it, and closes it again"


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
