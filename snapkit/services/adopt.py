"""Adopt a backup that the original script made."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from snapkit.core.inventory import metadata as comments
from snapkit.core.inventory.entry import Entry
from snapkit.core.inventory.kinds import State
from snapkit.core.inventory.metadata import Metadata
from snapkit.core.inventory.selection import select_among
from snapkit.core.plans.identity import facts_of
from snapkit.core.plans.seal import plan_adoption, plan_resealing, statements_to_seal
from snapkit.core.plans.statements import CommentOnDatabase
from snapkit.core.reporting import Caution, Observe, unobserved
from snapkit.errors import NOTHING_CHANGED, NotFoundError, SnapkitError, UsageError
from snapkit.postgres.catalog import databases
from snapkit.postgres.connection.server import Server
from snapkit.postgres.connection.sqlstates import server_errors
from snapkit.postgres.outage import eviction
from snapkit.postgres.sql.execution import run
from snapkit.postgres.sql.identity import check_overwritten
from snapkit.services.copying.restore_properties import Given, restore_properties
from snapkit.services.entries.change import EntryReport, commit_change, report_change, report_on
from snapkit.services.run.preconditions import check_empty_enough, check_rights
from snapkit.services.run.source_lock import locked
from snapkit.services.run.survey import ServerState, gather


def adopt_entry(server: Server, wanted: str | None, lock_wait: timedelta, observe: Observe = unobserved) -> EntryReport:
    """Make a backup of the original script one of ours: seal it, date it by its name, note the source's properties.

    An altered backup of ours is sealed again, as it is. Sessions inside are ended once it is sealed.
    """
    with locked(server, lock_wait, observe) as connection:
        gathered = gather(connection, server.source)
        entry = _adoptable(gathered, wanted, server.source)
        is_ours = entry.is_managed
        if is_ours and entry.state is not State.ALTERED:
            caution = Caution("already_managed", f"{entry.name} is managed by snapkit already; nothing was changed.")
            return report_on(connection, entry, gathered.facts.now, None, (caution,))
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
                given = restore_properties(
                    connection,
                    properties,
                    entry.database.oid,
                    name=entry.name,
                    final_name=entry.name,
                    present=present,
                )
                if given.not_given:
                    access = databases.access_of(connection, entry.database.oid)
                    document = _noting(document, given.not_given, access)
                run(connection, *statements_to_seal(entry.name, document))

        cautions = given.cautions + commit_change(server, connection, entry, lambda: document, work, observe=observe)
    cautions += _disconnect(server, entry)
    metadata = comments.decode(document)
    adopted = replace(
        entry,
        database=replace(entry.database, allow_connections=False, document=document, has_comment=True),
        state=State.READY,
        altered=None,
        metadata=metadata if isinstance(metadata, Metadata) else None,
    )
    return report_change(
        server, adopted, "sealed again" if is_ours else "adopted", gathered, observe=observe, cautions=cautions
    )


def _noting(document: str, not_given: tuple[str, ...], access: int) -> str:
    """Return the document with what the entry could not be given; see ``Metadata.lacking``."""
    metadata = comments.decode(document)
    assert isinstance(metadata, Metadata)  # noqa: S101 - the plan has written it
    return comments.encode(metadata.lacking(not_given, access))


def _disconnect(server: Server, entry: Entry) -> tuple[Caution, ...]:
    """End the sessions that were inside when the entry was sealed; if that fails, it is adopted all the same."""
    try:
        with server.connect() as connection, server_errors(""):
            eviction.disconnect_sealed(connection, entry.database.oid)
    except (SnapkitError, KeyboardInterrupt):
        return (
            Caution(
                "sessions_remain",
                f"{entry.name} is adopted and sealed, but sessions may still be connected to it.",
            ),
        )
    return ()


def _adoptable(gathered: ServerState, wanted: str | None, source: str) -> Entry:
    try:
        entry = select_among(gathered.inventory.of_source(source), wanted, source)
    except NotFoundError:
        if wanted not in gathered.names:
            raise
        raise UsageError(
            f"{wanted!r} is not a backup of {source!r} that the original script made: such a backup has the name "
            f"{source}_backup_YYYYMMDD_HHMMSS, and no comment.",
            state=NOTHING_CHANGED,
        ) from None
    if entry.state in (State.INCOMPLETE, State.INVALID):
        raise UsageError(f"{entry.name!r} is {entry.state}, and cannot be adopted.", state=NOTHING_CHANGED)
    return entry
