"""What the documents of a server tell of where its databases come from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from snapkit.core.comparison.lineage import Lineage, Lineages
from snapkit.core.inventory import metadata as comments
from snapkit.core.inventory.entry import Entry
from snapkit.core.inventory.kinds import State
from snapkit.core.inventory.metadata import Metadata
from snapkit.core.plans.identity import facts_of
from snapkit.core.plans.statements import CommentOnDatabase, FreezeDatabase
from snapkit.errors import NOTHING_CHANGED, ConnectionFailedError, SnapkitError
from snapkit.postgres.catalog import databases, server_facts
from snapkit.postgres.connection.server import Connection
from snapkit.postgres.connection.sqlstates import SERVER_ERRORS, is_connection_loss, server_errors
from snapkit.postgres.sql.execution import committing_locally, run, transaction
from snapkit.postgres.sql.identity import check_overwritten
from snapkit.services.run.survey import ServerState, gather


def lineages(connection: Connection, state: ServerState) -> Lineages:
    """Return what is known of where the databases come from."""
    with server_errors(NOTHING_CHANGED):
        return Lineages(server_facts.system_identifier(connection), tuple(_noted(state)))


def _noted(state: ServerState) -> Iterator[Lineage]:
    """What the documents note. One that was carried to another database, as by a dump, says nothing of that."""
    for entry in state.inventory.entries:
        if entry.metadata is not None:
            yield from _in(entry.metadata, entry.database.oid)
    live = comments.decode(state.live.document) if state.live is not None else None
    if state.live is not None and isinstance(live, Metadata):  # an entry that was renamed by hand
        yield from _in(live, state.live.oid)


def _in(document: Metadata, oid: int) -> Iterator[Lineage]:
    if document.lineage is not None and document.lineage.oid == oid:
        yield document.lineage
    if document.heir is not None:
        yield document.heir


def keep_heir(connection: Connection, source: str, gone: Entry) -> Entry | None:
    """Before an entry is dropped, note in another what it alone tells: where the live database comes from.

    Return that other entry as it is then, if there is one. The lock of the source is held. If it cannot be noted,
    tables are compared by keys later, which takes longer. A lost connection is raised.
    """
    told = _told_of_others(gone)
    live = databases.oid_of(connection, source) if told else None
    if live is None or not any(each.of_ancestor(live) for each in told):
        return None
    with _unless_lost():
        heir = lineages(connection, gather(connection, source)).of(live)
        if heir is not None and heir.ancestors:
            return _note(connection, source, heir, gone.database.oid)
    return None


def _told_of_others(entry: Entry) -> list[Lineage]:
    """Return the lineages of other databases that the document of an entry tells, without those that come of none."""
    if entry.metadata is None:
        return []
    own, heir = entry.metadata.lineage, entry.metadata.heir
    parent = own.of_ancestor(own.ancestors[0].oid) if own is not None and own.ancestors else None
    return [each for each in (parent, heir) if each is not None and each.ancestors]


def note_heir(connection: Connection, source: str, heir: Lineage | None, used_up: int | None) -> None:
    """Note in an entry where the database comes from that becomes live while none is, and so puts none aside.

    ``used_up`` is the OID of the entry that becomes live itself; None for its clone. The rest is as for ``keep_heir``.
    """
    if heir is not None and heir.ancestors:
        with _unless_lost():
            _note(connection, source, heir, used_up)


@contextmanager
def _unless_lost() -> Iterator[None]:
    """Ignore what fails, but for a lost connection."""
    try:
        yield
    except (SnapkitError, *SERVER_ERRORS) as error:
        if isinstance(error, ConnectionFailedError) or is_connection_loss(error):
            raise


def _note(connection: Connection, source: str, heir: Lineage, without: int | None) -> Entry | None:
    """Note it in an entry other than ``without``, and return that; None if one of them tells it already."""
    documents = [
        (entry, entry.metadata)
        for entry in gather(connection, source).inventory.of_source(source)
        if entry.database.oid != without and entry.metadata is not None and entry.state is State.READY
    ]
    for entry, document in documents:
        if heir in [each.of_ancestor(heir.oid) for each in _in(document, entry.database.oid)]:
            return None
    for entry, document in documents:
        if entry.opened is None and entry.database.is_mine:
            noted = document.with_lineage(document.lineage, heir)
            text = comments.encode(noted)
            with committing_locally(connection), transaction(connection):
                run(connection, CommentOnDatabase(entry.name, text), FreezeDatabase(entry.name))
                check_overwritten(connection, {entry.database.oid: facts_of(entry.database, entry.database.document)})
            return replace(entry, metadata=noted, database=replace(entry.database, document=text))
    return None
