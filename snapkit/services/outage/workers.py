"""Background workers that a run has to end: will they come back, and have they?"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta
from time import monotonic, sleep

from snapkit.core.client_session import ClientSession
from snapkit.core.inventory.database import Database
from snapkit.core.outage.workers import PG_CRON, Cron, Worker, missing, not_back, would_stay_away
from snapkit.core.reporting import Caution, Observe, Progress
from snapkit.errors import NOTHING_CHANGED, BusyError, SnapkitError
from snapkit.postgres.catalog import roles, server_facts, sessions
from snapkit.postgres.connection.server import Connection, Server
from snapkit.postgres.connection.sqlstates import SERVER_ERRORS, server_errors
from snapkit.postgres.copying.contents import extension_versions

PATIENCE = timedelta(seconds=6)
"""How long a worker has to come back. PostgreSQL starts it again after as long as the worker itself has said."""

_LOOK_AGAIN = 0.1
_PROBE_LIMIT = timedelta(seconds=2)


def check_workers(
    server: Server, connection: Connection, database: Database | None, *, stop: bool
) -> tuple[Worker, ...]:
    """Return the background workers inside a database, as far as this role may see them.

    Raises BusyError, before anything is changed, for a worker that would not come back; with ``stop`` those are ended
    too.
    """
    if database is None:
        return ()
    with server_errors(NOTHING_CHANGED):
        workers = sessions.background_workers(connection, database.oid)
    refused = None if stop else why_refused(server, connection, database, workers)
    if refused is not None:
        raise refused
    return workers


def why_refused(
    server: Server, connection: Connection, database: Database, workers: tuple[Worker, ...]
) -> BusyError | None:
    """Return the error for workers that would not come back; None if all would."""
    with server_errors(NOTHING_CHANGED):
        cron_database = server_facts.cron_database(connection)
        if cron_database != database.name and not any(worker.kind.startswith(PG_CRON) for worker in workers):
            return None
        facts = server_facts.server_facts(connection)
        kinds_are_known = roles.sees_sessions(connection)
    version = None
    with suppress(SnapkitError, *SERVER_ERRORS), server.probe(database.name, _PROBE_LIMIT, facts.quiet) as source:
        version = extension_versions(source).get(PG_CRON)
    return would_stay_away(database.name, Cron(cron_database, version), workers, kinds_are_known=kinds_are_known)


def await_workers(
    server: Server,
    before: tuple[Worker, ...],
    disconnected: Iterable[ClientSession],
    oid: int,
    observe: Observe,
    *,
    moved: bool = False,
) -> tuple[Caution, ...]:
    """Warn of workers, among those ``before``, that were ended and have not come back to the database ``oid``.

    ``moved`` says that they were in another database before. Workers that this role may not see are not told.
    """
    gone = {session.pid for session in disconnected}
    ended = [worker for worker in before if worker.pid in gone]
    if not ended:
        return ()
    began = monotonic()
    left: tuple[Worker, ...] = ()
    with suppress(SnapkitError, KeyboardInterrupt, *SERVER_ERRORS), server.connect() as connection:
        while True:
            left = missing(ended, sessions.background_workers(connection, oid), moved=moved)
            elapsed = timedelta(seconds=monotonic() - began)
            if not left or elapsed >= PATIENCE:
                break
            observe(Progress("Waiting for background workers to come back", elapsed))
            sleep(_LOOK_AGAIN)
    return not_back(left, PATIENCE.total_seconds())
