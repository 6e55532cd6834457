"""The session that writes to the live database, and its one transaction, whose outcome is learnt whatever happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from time import sleep

from snapkit.core.inventory.database import Database
from snapkit.core.reporting import Caution, Observe
from snapkit.errors import NOTHING_CHANGED, BusyError, PrivilegeError, SnapkitError, UnknownOutcomeError
from snapkit.postgres.catalog import databases
from snapkit.postgres.connection.driver import ANSWER_LIMIT, answers_within, driver_connection
from snapkit.postgres.connection.safe_settings import set_settings
from snapkit.postgres.connection.server import Connection, Server
from snapkit.postgres.connection.sqlstates import SERVER_ERRORS, server_errors
from snapkit.postgres.restoring.kept import KeptRestore, end_transaction, has_committed
from snapkit.postgres.restoring.live_tables import privileges_lacking
from snapkit.postgres.restoring.stage import Stage
from snapkit.postgres.sql.ddl import quote_name
from snapkit.postgres.sql.entry_locks import say_who
from snapkit.postgres.sql.execution import commit
from snapkit.processes.deadline import Deadline
from snapkit.services.run.interruption import interruptions
from snapkit.services.run.standby_confirmation import telling, unconfirmed
from snapkit.services.run.survey import ServerState

_SETTINGS = {
    "row_security": "off",  # a policy is code of a table's owner, and hides rows: an error says so instead
    "idle_session_timeout": "0",  # somebody may think about the answer to our question
    "work_mem": "64MB",
    "jit": "off",
}

PATIENCE = timedelta(seconds=30)
"""How long the server is asked what became of a COMMIT."""

COMMIT_LIMIT = ANSWER_LIMIT
"""How long COMMIT may take: by then all is written, but a synchronous standby may have to confirm it."""
_LOOK_AGAIN = 0.2


@contextmanager
def writing_to(server: Server, state: ServerState, live: Database) -> Iterator[Connection]:
    """Open a session in the live database that may write. Raises BusyError if that is another database by now."""
    with server.enter(live.name, state.facts.quiet) as connection:
        with server_errors(NOTHING_CHANGED):
            set_settings(connection, _SETTINGS)
            say_who(connection, "restore")
            found = databases.own_database(connection)
        if found != live.oid:
            raise BusyError(
                f"{live.name!r} is no longer the same database: it was replaced meanwhile.",
                state=NOTHING_CHANGED,
                hint="See what there is: snapkit list",
            )
        with answers_within(connection, None):
            yield connection


def check_privileges(connection: Connection, stages: tuple[Stage, ...], role: str) -> None:
    """Raise PrivilegeError if this role may not write to one of the tables."""
    for stage in stages:
        lacking = privileges_lacking(connection, stage.relation.oid)
        if lacking:
            table = f"{quote_name(stage.relation.schema)}.{quote_name(stage.relation.name)}"
            rights = ", ".join(lacking)
            raise PrivilegeError(
                f"The role {role!r} may not write to {stage.relation.schema}.{stage.relation.name}: it lacks {rights}.",
                state=NOTHING_CHANGED,
                hint=f"GRANT {rights} ON {table} TO {quote_name(role)};",
            )


def write_through(
    server: Server,
    connection: Connection,
    what: str,
    work: Callable[[Callable[[KeptRestore], None]], None],
    observe: Observe,
) -> tuple[Caution, ...]:
    """Run ``work`` in one transaction. Returns only if it was committed, with what there is to warn of.

    ``work`` calls what it is given before it writes. If the answer to COMMIT is lost, the server is asked by the number
    of the transaction. Raises what ``work`` raises, and UnknownOutcomeError if the server cannot be asked.
    """
    begun: list[KeptRestore] = []
    with interruptions(NOTHING_CHANGED) as standing, server_errors(NOTHING_CHANGED):

        def all_of_it() -> None:
            work(begun.append)
            standing.perhaps_done()

        committed = commit(
            connection,
            all_of_it,
            lambda pid: not begun or _went_through(server, pid, begun[0], what),
            standing.undone,
            lambda: COMMIT_LIMIT,
            waits=telling(observe, what),
        )
    return unconfirmed(what, committed.unconfirmed)


def _went_through(server: Server, pid: int, restore: KeptRestore, what: str) -> bool:
    """Ask the server whether a transaction was committed. The session that was lost is told to end before."""
    deadline = Deadline(PATIENCE)
    while True:
        with suppress(SnapkitError, *SERVER_ERRORS), server.connect() as connection:
            session = driver_connection(connection)
            end_transaction(session, pid, restore.xid)
            outcome = has_committed(session, restore.xid)
            if outcome is not None:
                return outcome
        if deadline.is_over:
            raise UnknownOutcomeError(
                f"The connection was lost during the COMMIT of {what}, and the server cannot be asked about it.",
                state="Either all of it is done, or nothing. It is done if the server says so:\n"
                f"  SELECT pg_xact_status('{restore.xid}');",
                hint="When the server is back, this shows the last restore: snapkit restore --undo --dry-run "
                "(and what there is: snapkit list)",
            )
        sleep(_LOOK_AGAIN)
