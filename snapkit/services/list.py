"""Look at the inventory, and change what an entry says of itself: pin, label, adopt."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

from snapkit.core.checks.disk_room import displaced_cautions
from snapkit.core.inventory import metadata as comments
from snapkit.core.inventory.entry import Entry, how_to_trust
from snapkit.core.inventory.freshness import StatusReport, judge
from snapkit.core.inventory.kinds import State
from snapkit.core.inventory.metadata import Metadata
from snapkit.core.inventory.selection import select_one
from snapkit.core.outcome import EntryReport, Listing
from snapkit.core.plans.identity import facts_of
from snapkit.core.plans.seal import plan_adoption, plan_resealing, statements_to_seal
from snapkit.core.plans.statements import CommentOnDatabase, FreezeDatabase
from snapkit.core.reporting import Caution, Observe, unobserved
from snapkit.core.server.replication import stranded
from snapkit.errors import NOTHING_CHANGED, NotFoundError, SnapkitError, UsageError
from snapkit.postgres.catalog import databases
from snapkit.postgres.catalog.replication import replication_of
from snapkit.postgres.connection.server import Connection, Server
from snapkit.postgres.connection.sqlstates import server_errors
from snapkit.postgres.outage import eviction
from snapkit.postgres.sql.execution import commit, run
from snapkit.postgres.sql.identity import check_overwritten
from snapkit.services.copying.restore_properties import Given, give_properties
from snapkit.services.entries.opening import need_sealed
from snapkit.services.outage.pool_checks import Pooler, tell_paused
from snapkit.services.recover import sweep_afterwards
from snapkit.services.run.commit_outcome import went_through
from snapkit.services.run.disk_room import free_bytes, room_cautions
from snapkit.services.run.standby_confirmation import telling, unconfirmed
from snapkit.services.run.survey import (
    Gathered,
    blockers_named,
    check_empty_enough,
    check_rights,
    entry_cautions,
    gather,
    interruptions,
    locked,
    need_known,
    need_live,
    recognition_cautions,
    with_sizes,
)


def list_entries(server: Server, *, sizes: bool, all_sources: bool) -> Listing:
    """Return the inventory of the source, or of the whole server, newest first."""
    with server.connect() as connection:
        return _listing(connection, server.source, sizes=sizes, all_sources=all_sources)


def _listing(connection: Connection, source: str, *, sizes: bool, all_sources: bool) -> Listing:
    gathered = gather(connection, source)
    entries = gathered.inventory.entries if all_sources else gathered.inventory.of_source(source)
    if not entries and not all_sources:
        need_live(gathered, source)  # a misspelt name must not look like a database without backups
    cautions = recognition_cautions(gathered.inventory) + entry_cautions(entries, gathered.facts.now)
    free = None
    if sizes:
        entries = with_sizes(connection, entries)
        cautions += displaced_cautions(entries) + room_cautions(connection, gathered.live)
        free = free_bytes(connection, gathered.live) if gathered.live else None
    return Listing(
        source=None if all_sources else source,
        entries=entries,
        now=gathered.facts.now,
        sized=sizes,
        cautions=cautions,
        free_bytes=free,
    )


def report_status(
    server: Server,
    *,
    max_age: timedelta | None,
    sizes: bool,
    all_sources: bool,
    poolers: tuple[Pooler, ...] = (),
) -> StatusReport:
    """Return how old the newest backup is, of the source or of every source on the server; see ``judge``.

    It warns of what stays paused on one of the ``poolers``.
    """
    with server.connect() as connection:
        listing = _listing(connection, server.source, sizes=sizes, all_sources=all_sources)
        told = listing.cautions if sizes else listing.cautions + displaced_cautions(listing.entries)
        with server_errors(NOTHING_CHANGED):
            told += stranded(replication_of(connection, [entry.database.oid for entry in listing.entries]))
        told += tell_paused(connection, poolers, server.source)
    return judge(listing.entries, listing.source, max_age=max_age, now=listing.now, sized=sizes, cautions=told)


def show_entry(server: Server, name: str) -> EntryReport:
    """Return everything known about one entry."""
    with server.connect() as connection:
        gathered = gather(connection, server.source)
        need_known(gathered, server.source)
        entry = select_one(gathered.inventory.of_source(server.source), name, server.source)
        return _report(connection, entry, gathered.facts.now, change=None)


def _report(
    connection: Connection, entry: Entry, now: datetime, change: str | None, cautions: tuple[Caution, ...] = ()
) -> EntryReport:
    with server_errors(NOTHING_CHANGED):
        (sized,) = with_sizes(connection, (entry,))
        properties = databases.read_properties(connection, entry.database.oid)
    return EntryReport(sized, properties, now, change, cautions)


def pin_entry(
    server: Server, name: str, reason: str | None, lock_wait: timedelta, observe: Observe = unobserved
) -> EntryReport:
    """Protect an entry: prune and delete leave it alone, and a swap takes a clone of it."""
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
        need_known(gathered, server.source)
        entry = select_one(gathered.inventory.of_source(server.source), name, server.source)
        if entry.metadata is None or entry.state is not State.READY:
            raise UsageError(
                f"{entry.name!r} is {entry.state}; only an entry that is ready can be {done}.",
                state=NOTHING_CHANGED,
                hint=f"Make it one of ours first: snapkit adopt {entry.name}"
                if entry.state is State.UNMANAGED
                else how_to_trust(entry)
                if entry.state is State.ALTERED
                else None,
            )
        check_rights(connection, entry.database, createdb=False)
        entry = need_sealed(connection, entry)
        assert entry.metadata is not None  # noqa: S101 - the same as before
        document = change(entry.metadata)
        text = comments.encode(document)
        before = facts_of(entry.database, entry.database.document)

        def work() -> None:
            # Both of its rows are written by one transaction, as by the one that has sealed it.
            run(connection, CommentOnDatabase(entry.name, text), FreezeDatabase(entry.name))
            check_overwritten(connection, {entry.database.oid: before})

        cautions = _commit(server, connection, entry, lambda: text, work, observe)
    changed = replace(entry, metadata=document, database=replace(entry.database, document=text))
    return _changed(server, changed, done, gathered, observe, cautions)


def _commit(
    server: Server,
    connection: Connection,
    entry: Entry,
    document: Callable[[], str],
    work: Callable[[], None],
    observe: Observe,
) -> tuple[Caution, ...]:
    """Do ``work``, after which the entry's comment is what ``document`` returns, in one transaction."""
    what = f"the change of {entry.name!r}"

    def is_done(asked: Connection) -> bool:
        return databases.comment_of(asked, entry.database.oid) == document()

    def ask(lost_pid: int) -> bool:
        expected = f"its comment is now: {document()}"
        return went_through(server, lost_pid, is_done, what, expected)

    with interruptions(NOTHING_CHANGED) as standing, blockers_named(connection, NOTHING_CHANGED):

        def work_and_note() -> None:
            work()
            standing.perhaps_done()

        committed = commit(connection, work_and_note, ask, standing.undone, waits=telling(observe, what))
    return unconfirmed(what, committed.unconfirmed)


def _changed(
    server: Server,
    entry: Entry,
    change: str,
    gathered: Gathered,
    observe: Observe,
    cautions: tuple[Caution, ...] = (),
) -> EntryReport:
    """Report a change that was made: whatever goes wrong from here on does not unmake it."""
    cautions += sweep_afterwards(server, gathered.inventory, observe)
    with suppress(SnapkitError, KeyboardInterrupt), server.connect() as connection:
        return _report(connection, entry, gathered.facts.now, change, cautions)
    return EntryReport(entry, None, gathered.facts.now, change, cautions)


def adopt_entry(server: Server, name: str, lock_wait: timedelta, observe: Observe = unobserved) -> EntryReport:
    """Make a backup that the original script made one of ours: seal it, date it, give it the source's properties.

    One of ours that was altered is sealed again, as it is. Who is connected to it is disconnected once it is sealed.
    """
    with locked(server, lock_wait, observe) as connection:
        gathered = gather(connection, server.source)
        entry = _adoptable(gathered, name, server.source)
        is_ours = entry.is_managed
        if is_ours and entry.state is not State.ALTERED:
            caution = Caution("already_managed", f"{entry.name} is managed by snapkit already; nothing was changed.")
            return _report(connection, entry, gathered.facts.now, None, (caution,))
        check_rights(connection, entry.database)
        check_empty_enough(connection, [entry.database], disconnect=True)
        live = gathered.live
        with server_errors(NOTHING_CHANGED):
            comment = databases.comment_of(connection, live.oid) if live else None
            properties = databases.read_properties(connection, live.oid) if live and not is_ours else None
        statements = plan_resealing(entry) if is_ours else plan_adoption(entry, live, comment, properties)
        (document,) = [each.comment for each in statements if isinstance(each, CommentOnDatabase) if each.comment]
        given = Given()

        def work() -> None:
            nonlocal given, document
            run(connection, *statements)
            check_overwritten(connection, {entry.database.oid: facts_of(entry.database, entry.database.document)})
            if properties is not None:
                present = databases.read_properties(connection, entry.database.oid)
                given = give_properties(connection, properties, entry.database.oid, entry.name, entry.name, present)
                if given.not_given:
                    access = databases.access_of(connection, entry.database.oid)
                    document = _noting(document, given.not_given, access)
                run(connection, *statements_to_seal(entry.name, document))

        cautions = given.cautions + _commit(server, connection, entry, lambda: document, work, observe)
    cautions += _disconnect(server, entry)
    metadata = comments.decode(document)
    adopted = replace(
        entry,
        database=replace(entry.database, allow_connections=False, document=document, has_comment=True),
        state=State.READY,
        altered=None,
        metadata=metadata if isinstance(metadata, Metadata) else None,
    )
    return _changed(server, adopted, "sealed again" if is_ours else "adopted", gathered, observe, cautions)


def _noting(document: str, not_given: tuple[str, ...], access: int) -> str:
    """Return the document with what the entry could not be given; see ``Metadata.lacking``."""
    metadata = comments.decode(document)
    assert isinstance(metadata, Metadata)  # noqa: S101 - the plan has written it
    return comments.encode(metadata.lacking(not_given, access))


def _disconnect(server: Server, entry: Entry) -> tuple[Caution, ...]:
    """End the sessions that were inside when the entry was sealed; it is adopted with or without."""
    try:
        with server.connect() as connection, server_errors(""):
            eviction.disconnect_sealed(connection, entry.database.oid)
    except (SnapkitError, KeyboardInterrupt):
        return (
            Caution(
                "sessions_remain",
                f"{entry.name} is adopted and sealed, but who was connected to it may still be there.",
            ),
        )
    return ()


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
