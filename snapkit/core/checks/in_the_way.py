"""Who is in the way of a run: sessions, prepared transactions, holders of locks.

A run raises these errors, and ``doctor`` shows them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from snapkit.core.client_session import ClientSession
from snapkit.errors import NOTHING_CHANGED, BusyError, PrivilegeError

_MOST_LINES = 10


def prepared_transactions_open(prepared: Mapping[str, Sequence[str]]) -> BusyError | None:
    """Return the error for the first database that has prepared transactions, by their identifiers; None without any.

    They block a clone and a rename. https://www.postgresql.org/docs/current/sql-prepare-transaction.html
    """
    for name, identifiers in prepared.items():
        if identifiers:
            return BusyError(
                f"{name!r} has prepared transactions, which disconnecting does not end: "
                f"{', '.join(map(repr, identifiers))}.",
                state=NOTHING_CHANGED,
                hint="Connect to that database, and end each of them with COMMIT PREPARED or ROLLBACK PREPARED.",
            )
    return None


def sessions_busy(sessions: Sequence[ClientSession], state: str) -> BusyError:
    """Return the error for sessions that are not to be disconnected."""
    return BusyError(
        f"{_count(sessions)} connected:\n" + _lines(sessions),
        state=state,
        hint="Stop these clients, or leave out --no-disconnect to disconnect them.",
    )


def sessions_protected(sessions: Sequence[ClientSession], state: str, role: str) -> PrivilegeError | None:
    """Return the error for those of the sessions that ``role``, quoted for SQL, may not end; None if it may end all."""
    protected = [session for session in sessions if not session.may_terminate]
    if not protected:
        return None
    return PrivilegeError(
        f"{_count(protected)} connected that your role may not disconnect:\n" + _lines(protected),
        state=state,
        hint=f"A superuser can allow it: GRANT pg_signal_backend TO {role}; "
        "(only a superuser can end the sessions of superusers). Or stop these clients.",
        is_passing=True,
    )


def locked_by_others(sessions: Sequence[ClientSession], state: str) -> BusyError:
    """Return the error for a lock that another transaction holds, or held until it had changed the database."""
    who = f"{_count(sessions)} holding it:\n{_lines(sessions)}" if sessions else "it has just been released."
    return BusyError(
        f"Another transaction holds a lock on the database; {who}",
        state=state,
        hint="Wait for that transaction to end, or end it, and run the command again.",
    )


def session_lines(sessions: Sequence[ClientSession]) -> list[str]:
    """Return a line for each of the first sessions, and one that says how many more there are."""
    shown = [f"  {session.describe()}" for session in sessions[:_MOST_LINES]]
    return shown + ([f"  and {len(sessions) - _MOST_LINES} more"] if len(sessions) > _MOST_LINES else [])


def _lines(sessions: Sequence[ClientSession]) -> str:
    return "\n".join(session_lines(sessions))


def _count(sessions: Sequence[ClientSession]) -> str:
    return f"{len(sessions)} session{' is' if len(sessions) == 1 else 's are'}"
