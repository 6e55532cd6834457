"""Sealing a database: what its document keeps, and the statements."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from snapkit.core.inventory import metadata as comments
from snapkit.core.inventory.database import Database
from snapkit.core.inventory.entry import Entry
from snapkit.core.inventory.kinds import Kind
from snapkit.core.inventory.metadata import Metadata
from snapkit.core.inventory.sealed import Seal, seal_of
from snapkit.core.plans.properties import Properties
from snapkit.core.plans.statements import AlterDatabase, ChangeOwner, CommentOnDatabase, Statement


def sealed_metadata(
    database: Database, comment: str | None, source: str, kind: Kind, at: datetime, *, order: int | None = None
) -> Metadata:
    """Return the document of a database that is being sealed. It keeps what the seal takes away.

    If the database's comment is a document of snapkit, somebody has renamed an entry by hand. Then the comment that
    this document kept is the database's own.
    """
    left = comments.decode(comment)
    return Metadata(
        kind=kind,
        source=source,
        created_at=at,
        comment=left.comment if isinstance(left, Metadata) else comment,
        is_template=database.is_template,
        allow_connections=database.allow_connections,
        order=order,
        seal=seal_of(database),
    )


def plan_adoption(
    entry: Entry, live: Database | None, comment: str | None, properties: Properties | None
) -> tuple[Statement, ...]:
    """Plan to seal ``entry`` and make it ours; ``comment`` and ``properties`` are its source's, if that is still there.

    Its properties come after, in the same transaction, and then it is sealed once more.
    """
    metadata = Metadata(
        kind=Kind.BACKUP,
        source=entry.source,
        created_at=entry.created_at,
        comment=comment,
        is_template=live.is_template if live else False,
        allow_connections=live.allow_connections if live else True,
        seal=seal_of(live or entry.database),
    )
    wrong_owner = properties is not None and properties.owner != entry.database.owner
    return (
        *statements_to_seal(entry.name, comments.encode(metadata)),
        *((ChangeOwner(entry.name, properties.owner),) if properties and wrong_owner else ()),
    )


def plan_resealing(entry: Entry) -> tuple[Statement, ...]:
    """Plan to seal an entry of ours that was altered, as it is; its connection limit becomes what it was again."""
    assert entry.metadata is not None  # noqa: S101 - only what has a document can be altered
    database, seal = entry.database, entry.metadata.seal
    limit = seal.connection_limit if seal else database.connection_limit
    if database.access is not None:
        seal = Seal(database.owner, database.access, limit)
    document = replace(entry.metadata, altered=None, dropping=None, seal=seal)
    return (
        AlterDatabase(entry.name, allow_connections=False, connection_limit=limit, is_template=False),
        CommentOnDatabase(entry.name, comments.encode(document)),
    )


def statements_to_seal(name: str, document: str) -> tuple[Statement, ...]:
    """Seal a database and give it its document, as the last statements of a transaction, and not behind a savepoint.

    Both rows are written, whatever they were before; so they agree on who wrote them last. COMMENT comes first, since
    it takes a lock: who renames the database holds a stronger one, and waits for the row.
    """
    return CommentOnDatabase(name, document), AlterDatabase(name, allow_connections=False, is_template=False)
