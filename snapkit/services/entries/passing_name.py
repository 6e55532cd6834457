"""Rename a database before it is dropped: DROP DATABASE goes by name, and cannot run in a transaction.

The transaction that renames it checks that this is the database that was chosen, unchanged. Nobody else has a reason to
use the new name, and the document says what the database is: if the run dies there, the next one drops it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from snapkit.core.inventory import metadata as comments
from snapkit.core.inventory.entry import Entry
from snapkit.core.inventory.naming import passing_name
from snapkit.core.plans.drop import statements_to_give_back, statements_to_take
from snapkit.core.plans.identity import LOOK_AGAIN, ROLLED_BACK, Facts, check_facts_found, facts_of
from snapkit.core.plans.statements import AlterDatabase
from snapkit.errors import BusyError
from snapkit.postgres.catalog import databases
from snapkit.postgres.connection.server import Connection
from snapkit.postgres.sql.execution import committing_locally, run, transaction
from snapkit.postgres.sql.identity import read_facts


def take(connection: Connection, entry: Entry) -> Entry:
    """Rename an entry that is to be dropped, let nobody connect any more, and return it as it is then.

    Raises BusyError if it is another database by now, or was altered or pinned; and what the server raises.
    """
    database, at = entry.database, entry.created_at
    name = passing_name(entry.source, at, database.oid)
    if database.name == name:  # it has had that since a run died here
        name = passing_name(entry.source, at + timedelta(seconds=1), database.oid)
    document = None
    if entry.metadata is not None:
        document = comments.encode(entry.metadata.with_dropping(entry.metadata.dropping or entry.name))
    rename, *rest = statements_to_take(database, name, document)
    with committing_locally(connection), transaction(connection):
        run(connection, rename)  # which locks it, and waits for whoever is about to change it
        _check_same(connection, entry, replace(facts_of(database, database.document), name=name))
        run(connection, *rest)
    allow = database.allow_connections if database.is_invalid else False
    return replace(entry, database=replace(database, name=name, document=document, allow_connections=allow))


def _check_same(connection: Connection, entry: Entry, assumed: Facts) -> None:
    """Raise if the entry, as this transaction sees it, is not as ``assumed``."""
    oid = entry.database.oid
    try:
        check_facts_found({oid: assumed}, read_facts(connection, [oid]), ROLLED_BACK)
    except BusyError:
        raise BusyError(
            f"Somebody has altered, renamed or replaced {entry.name!r} since it was chosen to be dropped.",
            hint=LOOK_AGAIN,
        ) from None


def close(connection: Connection, entry: Entry) -> Entry:
    """Let nobody connect any more to a copy that was being filled, and return it as it is then; its mark stays."""
    database = entry.database
    if not database.allow_connections:
        return entry
    with transaction(connection):
        run(connection, AlterDatabase(database.name, allow_connections=False))
        _check_same(connection, entry, replace(facts_of(database, database.document), allow_connections=False))
    return replace(entry, database=replace(database, allow_connections=False))


def give_back(connection: Connection, entry: Entry, taken: Entry) -> None:
    """Give an entry that was not dropped its name back, and all else that ``take`` changed.

    If it was an altered one, its document notes that: its rows in the catalog no longer show it.
    """
    document = entry.database.document
    if entry.metadata is not None and entry.altered is not None:
        document = comments.encode(entry.metadata.with_altered(entry.altered))
    with committing_locally(connection), transaction(connection):
        run(connection, *statements_to_give_back(replace(entry.database, document=document), taken.name))
        if databases.name_of(connection, entry.database.oid) != entry.name:
            raise BusyError(f"Somebody has renamed {taken.name!r}.")
