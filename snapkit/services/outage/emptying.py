"""End the sessions in a sealed database."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from time import sleep

from snapkit.core.checks.in_the_way import session_lines
from snapkit.errors import BusyError, SnapkitError
from snapkit.postgres.catalog import sessions
from snapkit.postgres.connection.server import Connection
from snapkit.postgres.outage import eviction
from snapkit.processes.deadline import Deadline
from snapkit.services.run.preconditions import check_may_end

PATIENCE = timedelta(seconds=10)
"""How long a session may take to leave, or to start up and be told to."""

_PAUSE = 0.05


def empty_sealed(
    connection: Connection, oid: int, name: str, state: str, sparing: Collection[int] = frozenset()
) -> None:
    """End the sessions in a sealed database; return when nobody is inside but ``sparing``, and nobody is about to be.

    Sessions that are starting up are looked for first: once started, they show among those inside. Raises
    PrivilegeError for sessions that this role may not end, and BusyError when ``PATIENCE`` is over.
    """
    deadline = Deadline(PATIENCE)
    while True:
        entering = sessions.sessions_entering(connection, oid)
        inside = [each.session for each in eviction.disconnect_sealed(connection, oid, sparing)]
        if not entering and not inside:
            return
        check_may_end(connection, inside, state)
        if deadline.is_over:
            raise _not_emptied(name, [*map(_starting, entering), *session_lines(inside)], state)
        sleep(_PAUSE)


def _starting(pid: int) -> str:
    return f"  pid {pid}, which is starting up"


def _not_emptied(name: str, lines: list[str], state: str) -> SnapkitError:
    seconds = f"{PATIENCE.total_seconds():.0f} s"
    return BusyError(
        f"{name!r} still has sessions {seconds} after they were disconnected:\n" + "\n".join(lines),
        state=state,
        hint="See what these sessions wait for (pg_stat_activity on the server), and end them.",
    )
