"""A database whose collation version is not the system's any more: its indexes on text may be out of order.

https://www.postgresql.org/docs/current/sql-altercollation.html#SQL-ALTERCOLLATION-NOTES
"""

from __future__ import annotations

from snapkit.core.reporting import Caution


def stale_collation(name: str, version: str) -> str:
    """Say so of the database ``name``, which was made with this version; the system has another."""
    return (
        f"{name!r} was created with version {version} of the system's collations, and the system has another "
        "version now: its indexes on text may be in the wrong order."
    )


def rebuild_indexes(quoted: str) -> str:
    """Say how they are put in order; ``quoted`` is the database's name, quoted for SQL."""
    statements = f"REINDEX DATABASE {quoted}; ALTER DATABASE {quoted} REFRESH COLLATION VERSION;"
    return f"Rebuild them, connected to it: {statements}"


def collation_caution(name: str, version: str, *, quoted: str, is_live: bool) -> Caution:
    """Warn of such a database, which ``is_live``, or is about to be; else it is sealed."""
    later = "The same is true after a rollback to it. The rollback shows how to rebuild them."
    remedy = rebuild_indexes(quoted) if is_live else later
    return Caution("collation_version", f"{stale_collation(name, version)} {remedy}")
