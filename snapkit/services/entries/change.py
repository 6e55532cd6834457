"""Change the document of an entry (its comment) in one transaction, and report the entry as it is then."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

from snapkit.core.inventory import metadata as comments
from snapkit.core.inventory.entry import Entry, how_to_trust
from snapkit.core.inventory.kinds import State
from snapkit.core.inventory.metadata import Metadata
from snapkit.core.outcome import Outcome
from snapkit.core.plans.identity import facts_of
from snapkit.core.plans.properties import Properties
from snapkit.core.plans.statements import CommentOnDatabase, FreezeDatabase
from snapkit.core.reporting import Caution, Observe
from snapkit.core.values import dataclass
from snapkit.errors import NOTHING_CHANGED, SnapkitError, UsageError
from snapkit.postgres.catalog import databases
from snapkit.postgres.connection.server import Connection, Server
from snapkit.postgres.connection.sqlstates import server_errors
from snapkit.postgres.sql.execution import commit, run
from snapkit.postgres.sql.identity import check_overwritten
from snapkit.services.entries.leftovers import sweep_afterwards
from snapkit.services.entries.seal import need_sealed
from snapkit.services.run.commit_outcome import went_through
from snapkit.services.run.interruption import interruptions
from snapkit.services.run.preconditions import blockers_named, check_rights
from snapkit.services.run.source_lock import locked
from snapkit.services.run.standby_confirmation import telling, unconfirmed
from snapkit.services.run.survey import ServerState, chosen, gather, with_sizes


def report_on(
    connection: Connection, entry: Entry, now: datetime, change: str | None, cautions: tuple[Caution, ...] = ()
) -> EntryReport:
    with server_errors(NOTHING_CHANGED):
        (sized,) = with_sizes(connection, (entry,))
        properties = databases.read_properties(connection, entry.database.oid)
    return EntryReport(sized, properties, now, change, cautions)


def rewrite_document(
    server: Server,
    wanted: str | None,
    lock_wait: timedelta,
    change: Callable[[Metadata], Metadata],
    *,
    done: str,
    observe: Observe,
) -> EntryReport:
    """Change the document of an entry; ``done`` is the word for it in messages."""
    with locked(server, lock_wait, observe) as connection:
        gathered = gather(connection, server.source)
        entry = chosen(gathered, server.source, wanted)
        if entry.metadata is None or entry.state is not State.READY:
            raise UsageError(
                f"{entry.name!r} is {entry.state}; only an entry that is ready can be {done}.",
                state=NOTHING_CHANGED,
                hint=f"First run: snapkit adopt {entry.name}"
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

        cautions = commit_change(server, connection, entry, lambda: text, work, observe=observe)
    changed = replace(entry, metadata=document, database=replace(entry.database, document=text))
    return report_change(server, changed, done, gathered, observe=observe, cautions=cautions)


def commit_change(
    server: Server,
    connection: Connection,
    entry: Entry,
    document: Callable[[], str],
    work: Callable[[], None],
    *,
    observe: Observe,
) -> tuple[Caution, ...]:
    """Run ``work`` in one transaction, after which the entry's comment is what ``document`` returns."""
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


def report_change(
    server: Server,
    entry: Entry,
    change: str,
    gathered: ServerState,
    *,
    observe: Observe,
    cautions: tuple[Caution, ...] = (),
) -> EntryReport:
    """Report a change that was made. Whatever fails from here on does not undo it, and is no error."""
    cautions += sweep_afterwards(server, gathered.inventory, observe)
    with suppress(SnapkitError, KeyboardInterrupt), server.connect() as connection:
        return report_on(connection, entry, gathered.facts.now, change, cautions)
    return EntryReport(entry, None, gathered.facts.now, change, cautions)


@dataclass(frozen=True, slots=True)
class EntryReport(Outcome):
    """One entry and its properties; ``change`` is what was done to it, if anything."""

    entry: Entry
    properties: Properties | None
    now: datetime
    change: str | None = None
    cautions: tuple[Caution, ...] = ()

    @property
    def changed(self) -> tuple[str, ...]:
        return (self.entry.name,)
