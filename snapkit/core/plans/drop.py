"""Dropping an entry: under a passing name, and in a transaction that can be undone until then."""

from __future__ import annotations

from collections.abc import Collection

from snapkit.core.inventory.database import Database
from snapkit.core.inventory.entry import Entry
from snapkit.core.plans.statements import (
    AlterDatabase,
    CommentOnDatabase,
    DropDatabase,
    RenameDatabase,
    Statement,
    Step,
)


def statements_to_take(database: Database, name: str, document: str | None) -> tuple[Statement, ...]:
    """Give a database that is to be dropped a passing ``name`` and, if it has one, a ``document`` that says so.

    A clone under construction keeps its mark. Of an invalid database PostgreSQL alters nothing but name and comment.
    """
    rename = RenameDatabase(database.name, name)
    if document is None:
        return (rename,)
    comment = CommentOnDatabase(name, document)
    if database.is_invalid:
        return rename, comment
    return rename, AlterDatabase(name, allow_connections=False, is_template=False), comment


def statements_to_give_back(database: Database, name: str) -> tuple[Statement, ...]:
    """Undo that: make ``database`` what it was."""
    return (
        RenameDatabase(name, database.name),
        AlterDatabase(database.name, allow_connections=database.allow_connections, is_template=database.is_template),
        CommentOnDatabase(database.name, database.document),
    )


def statements_to_drop(database: Database) -> tuple[Statement, ...]:
    """Drop a database; one that was being filled is closed first, and rid of the sessions that still fill it.

    Closed, it is known for ours even if the drop is interrupted and takes its mark.
    """
    if database.is_open_partial:
        return AlterDatabase(database.name, allow_connections=False), DropDatabase(database.name, force=True)
    return (DropDatabase(database.name),)


def plan_drops(entries: Collection[Entry]) -> tuple[Step, ...]:
    """Plan to drop entries, one by one."""
    return tuple(Step(f"Drop {entry.name}", statements_to_drop(entry.database)) for entry in entries)
