"""Look at the inventory, and change what an entry says of itself: pin, label, adopt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from snapkit.core import metadata as comments
from snapkit.core.inventory import select_one
from snapkit.core.metadata import Metadata
from snapkit.core.model import Caution, Entry, Observe, State, unobserved
from snapkit.core.planning import NOTHING_CHANGED, plan_adoption
from snapkit.core.results import EntryReport, Listing
from snapkit.core.statements import CommentOnDatabase
from snapkit.errors import NotFoundError, UsageError
from snapkit.postgres import catalog
from snapkit.postgres.errors import server_errors
from snapkit.postgres.execution import run, transaction
from snapkit.postgres.server import Connection, Server
from snapkit.services.cloning import give_properties
from snapkit.services.common import (
    Gathered,
    check_empty_enough,
    check_rights,
    gather,
    locked,
    need_live,
    recognition_cautions,
    with_sizes,
)
from snapkit.services.remains import sweep_afterwards


def list_entries(server: Server, *, sizes: bool, all_sources: bool) -> Listing:
    """Return the inventory of the source, or of the whole server, newest first."""
    with server.connect() as connection:
        gathered = gather(connection, server.source)
        entries = gathered.inventory.entries if all_sources else gathered.inventory.of_source(server.source)
        if not entries and not all_sources:
            need_live(gathered, server.source)  # a misspelt name must not look like a database without backups
        if sizes:
            entries = with_sizes(connection, entries)
        return Listing(
            source=None if all_sources else server.source,
            entries=entries,
            now=gathered.facts.now,
            sized=sizes,
            cautions=recognition_cautions(gathered.inventory),
        )


def show_entry(server: Server, name: str) -> EntryReport:
    """Return everything known about one entry."""
    with server.connect() as connection:
        gathered = gather(connection, server.source)
        entry = select_one(gathered.inventory.of_source(server.source), name, server.source)
        return _report(connection, entry, change=None)


def _report(
    connection: Connection, entry: Entry, change: str | None, cautions: tuple[Caution, ...] = ()
) -> EntryReport:
    with server_errors(NOTHING_CHANGED if change is None else "The change was made."):
        facts = catalog.server_facts(connection)
        (sized,) = with_sizes(connection, (entry,))
        properties = catalog.read_properties(connection, entry.database.oid)
    return EntryReport(sized, properties, facts.now, change, cautions)


def pin_entry(
    server: Server, name: str, reason: str | None, lock_wait: timedelta, observe: Observe = unobserved
) -> EntryReport:
    """Protect an entry from prune and delete."""
    return _rewrite(
        server,
        name,
        lock_wait,
        observe,
        lambda document: document.with_pin(True, reason or document.pin_reason),
        "pinned",
    )


def unpin_entry(server: Server, name: str, lock_wait: timedelta, observe: Observe = unobserved) -> EntryReport:
    """Take the protection away again."""
    return _rewrite(server, name, lock_wait, observe, lambda document: document.with_pin(False), "unpinned")


def label_entry(
    server: Server, name: str, label: str, lock_wait: timedelta, observe: Observe = unobserved
) -> EntryReport:
    """Give an entry a label; an empty one takes it away."""
    return _rewrite(
        server,
        name,
        lock_wait,
        observe,
        lambda document: document.with_label(label or None),
        "labelled" if label else "without a label",
    )


def _rewrite(
    server: Server,
    name: str,
    lock_wait: timedelta,
    observe: Observe,
    change: Callable[[Metadata], Metadata],
    done: str,
) -> EntryReport:
    with locked(server, lock_wait, observe) as connection:
        gathered = gather(connection, server.source)
        entry = select_one(gathered.inventory.of_source(server.source), name, server.source)
        if entry.metadata is None or entry.state is not State.READY:
            raise UsageError(
                f"{entry.name!r} is {entry.state}; only an entry that is ready can be {done}.",
                state=NOTHING_CHANGED,
                hint=f"Make it one of ours first: snapkit adopt {entry.name}"
                if entry.state is State.UNMANAGED
                else None,
            )
        check_rights(connection, entry.database, createdb=False)
        document = change(entry.metadata)
        text = comments.encode(document)
        with server_errors(NOTHING_CHANGED):
            run(connection, CommentOnDatabase(entry.name, text))
        entry = replace(entry, metadata=document, database=replace(entry.database, document=text))
        return _report(connection, entry, done, sweep_afterwards(connection, gathered.inventory, server.source))


def adopt_entry(server: Server, name: str, lock_wait: timedelta, observe: Observe = unobserved) -> EntryReport:
    """Make a backup that the original script made one of ours: seal it, date it, give it the source's properties.

    Who is connected to it is disconnected once it is sealed.
    """
    with locked(server, lock_wait, observe) as connection:
        gathered = gather(connection, server.source)
        entry = _adoptable(gathered, name, server.source)
        if entry.is_managed:
            caution = Caution("already_managed", f"{entry.name} is managed by snapkit already; nothing was changed.")
            return _report(connection, entry, None, (caution,))
        check_rights(connection, entry.database)
        check_empty_enough(connection, [entry.database], disconnect=True)
        live = gathered.live
        with server_errors(NOTHING_CHANGED):
            comment = catalog.comment_of(connection, live.oid) if live else None
            properties = catalog.read_properties(connection, live.oid) if live else None
        statements = plan_adoption(entry, live, comment, properties)
        cautions: tuple[Caution, ...] = ()
        with server_errors(NOTHING_CHANGED), transaction(connection):
            run(connection, *statements)
            if properties is not None:
                present = catalog.read_properties(connection, entry.database.oid)
                cautions = give_properties(connection, properties, entry.database.oid, entry.name, entry.name, present)
        with server_errors(f"{entry.name!r} was adopted, and is sealed."):
            catalog.disconnect_sealed(connection, entry.database.oid)
        (document,) = [each.comment for each in statements if isinstance(each, CommentOnDatabase)]
        metadata = comments.decode(document)
        adopted = replace(
            entry,
            database=replace(entry.database, allow_connections=False, document=document, has_comment=True),
            state=State.READY,
            metadata=metadata if isinstance(metadata, Metadata) else None,
        )
        cautions += sweep_afterwards(connection, gathered.inventory, server.source)
        return _report(connection, adopted, "adopted", cautions)


def _adoptable(gathered: Gathered, name: str, source: str) -> Entry:
    try:
        entry = select_one(gathered.inventory.of_source(source), name, source)
    except NotFoundError:
        if name not in gathered.names:
            raise
        raise UsageError(
            f"{name!r} is not a backup of {source!r} that the original script made: that has the name "
            f"{source}_backup_YYYYMMDD_HHMMSS, and no comment.",
            state=NOTHING_CHANGED,
        ) from None
    if entry.state in (State.INCOMPLETE, State.INVALID):
        raise UsageError(f"{entry.name!r} is {entry.state}, and cannot be adopted.", state=NOTHING_CHANGED)
    return entry
