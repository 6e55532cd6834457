"""Prove that a guarded command has written nothing: then nothing need be rolled back.

The server has to prove it. That no change can be seen is no proof.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta

from snapkit.core.values import dataclass
from snapkit.errors import SnapkitError
from snapkit.postgres.catalog import databases, server_facts
from snapkit.postgres.connection.driver import driver_connection
from snapkit.postgres.connection.server import Connection, Server
from snapkit.postgres.connection.sqlstates import SERVER_ERRORS
from snapkit.postgres.probe.any_writes import is_only_after, next_transaction_id, sequence_values, somebody_is_at_work

_PROBE_LIMIT = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment, by the transaction ID that we had then, and by the values of the sequences.

    ``pid`` is the session that was asked. It does not survive a crash of the server, which empties unlogged tables.
    """

    oid: int
    pid: int
    xid: int
    sequences: Mapping[int, int | None]


def mark_moment(server: Server, oid: int) -> Mark | None:
    """Return a mark of this moment for the source, by its OID; None if nothing could be proved with it."""
    with suppress(SnapkitError, *SERVER_ERRORS), server.connect() as connection:
        if databases.name_of(connection, oid) != server.source:
            return None
        xid = next_transaction_id(connection)
        sequences = _sequences(server, connection)
        if sequences is not None and is_only_after(connection, xid):
            return Mark(oid, driver_connection(connection).info.backend_pid, xid, sequences)
    return None


def nothing_written_since(server: Server, mark: Mark | None) -> bool:
    """Return whether it is proved that nothing was written to the source since the mark, and nobody is about to.

    The transaction ID is taken last: whatever is written after the sequences were read has one.
    """
    if mark is None:
        return False
    with suppress(SnapkitError, *SERVER_ERRORS), server.connect() as connection:
        if driver_connection(connection).info.backend_pid != mark.pid or somebody_is_at_work(connection, mark.oid):
            return False
        return _sequences(server, connection) == mark.sequences and next_transaction_id(connection) == mark.xid + 1
    return False


def _sequences(server: Server, connection: Connection) -> Mapping[int, int | None] | None:
    facts = server_facts.server_facts(connection)
    with server.probe(server.source, _PROBE_LIMIT, facts.quiet) as inside:
        return sequence_values(inside)
