"""A database as pg_database shows it, and the connection limits that mark one."""

from __future__ import annotations

from snapkit.core.values import dataclass
from snapkit.errors import NOTHING_CHANGED, SnapkitError

INVALID_CONNECTION_LIMIT = -2
"""``datconnlimit`` of a database whose DROP was interrupted: it can only be dropped.
https://www.postgresql.org/docs/current/catalog-pg-database.html"""

PARTIAL_CONNECTION_LIMIT = 1_397_637_456
"""The connection limit that marks a clone under construction beyond its name (the ASCII codes of ``SNAP``).

A clone has no comment before its last transaction, and CREATE DATABASE can set this. Nobody sets it by chance.
"""

OPEN_PARTIAL_CONNECTION_LIMIT = 1_397_637_455
"""The same for a copy that is being filled over a connection, which its owner can connect to (``SNAO``)."""


@dataclass(frozen=True, slots=True)
class Database:
    """One row of pg_database, with its owner's name.

    ``document`` is its comment where that may be one of ours (see ``metadata``), ``has_comment`` whether it has any.
    """

    oid: int
    name: str
    owner: str
    owner_is_superuser: bool
    allow_connections: bool
    connection_limit: int
    is_template: bool
    tablespace: str
    document: str | None
    has_comment: bool
    is_mine: bool
    """Whether the present role owns it, itself or through another role."""
    access: int | None = None
    """The hash of its access list, the default one written out; None where that was not asked for."""
    row_is_newer: bool | None = None
    """Whether its row in pg_database was written by a later transaction than its comment; None: it has no comment."""

    @property
    def is_invalid(self) -> bool:
        return self.connection_limit == INVALID_CONNECTION_LIMIT

    @property
    def is_open_partial(self) -> bool:
        """Whether it has the mark of a copy that was being filled: sessions of snapkit may be connected."""
        return self.connection_limit == OPEN_PARTIAL_CONNECTION_LIMIT


@dataclass(frozen=True, slots=True)
class Unsealed:
    """What a database had before it was sealed, and gets back from ``prepare``."""

    name: str
    allow_connections: bool
    is_template: bool
    comment: str | None


def unusable(live: Database) -> SnapkitError | None:
    """Return the error for a live database that cannot be cloned or renamed for a reason of its own; None if it can."""
    if not live.is_invalid:
        return None
    return SnapkitError(
        f"The database {live.name!r} is invalid: its DROP DATABASE was interrupted. It can only be dropped.",
        state=NOTHING_CHANGED,
        hint="Drop it with DROP DATABASE. Then bring back the newest backup: snapkit rollback --latest",
    )


def check_live(live: Database) -> None:
    """Raise what ``unusable`` returns."""
    if (error := unusable(live)) is not None:
        raise error
