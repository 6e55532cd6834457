"""The one place where SQLSTATEs become snapkit's errors.

https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy.exc import DBAPIError, PendingRollbackError, ResourceClosedError

from snapkit.core.secrets import without_values
from snapkit.errors import BusyError, ConnectionFailedError, DiskFullError, NotFoundError, PrivilegeError, SnapkitError

OBJECT_IN_USE = "55006"
DUPLICATE_DATABASE = "42P04"
UNDEFINED_OBJECT = "42704"
INSUFFICIENT_PRIVILEGE = "42501"
UNDEFINED_DATABASE = "3D000"
LOCK_NOT_AVAILABLE = "55P03"
QUERY_CANCELED = "57014"

_INTERNAL = "XX000"
_OF_A_LATE_UPDATE = ("simple_heap_update", "simple_heap_delete")
"""Functions in PostgreSQL's source that raise "tuple concurrently updated": another transaction has changed the same
row of a catalog. The error has no SQLSTATE of its own."""

_PASSING = ("53", "57")
"""Classes of SQLSTATEs that may pass in a moment: insufficient resources, operator intervention."""

_ABOUT_VALUES = ("22", "23", "P0")
"""Classes of SQLSTATEs whose messages quote values: invalid data, violated constraints, what a function raises."""

_HINTS = {
    "53300": "All of the server's connection slots are taken. Close some sessions, or raise max_connections.",
    "57P03": "The server is starting up, shutting down or recovering. Wait a moment, then run the command again.",
    "28P01": "Check the password: in the URL, PGPASSWORD or ~/.pgpass.",
    "28000": "Check user, database and address against the server's pg_hba.conf.",
    "53100": "Make room: drop old backups with snapkit prune --keep 1, or enlarge the disk.",
    "25006": "This server accepts no writes: it is a standby, or read-only. Connect to the primary.",
    "42P04": "Another run was faster. Run the command again.",
    "57014": "Somebody cancelled the statement on the server. Run the command again.",
}


DISK_FULL_HINT = _HINTS["53100"]


def sqlstate_of(error: BaseException) -> str | None:
    """Return the SQLSTATE of an error of the driver or of SQLAlchemy; None if the server sent none."""
    original = error.orig if isinstance(error, DBAPIError) else error
    return original.sqlstate if isinstance(original, psycopg.Error) else None


def is_sharing_refused(error: BaseException) -> bool:
    """Whether a clone failed because the system does not let PostgreSQL share blocks (network, sandbox, other disk).

    EXDEV, EINVAL, EOPNOTSUPP and ENOSYS have no SQLSTATE of their own (XX000), EPERM shares one with missing rights;
    so the function that raised it is asked for, which comes with each error and is not translated.
    https://www.postgresql.org/docs/current/protocol-error-fields.html
    """
    original = error.orig if isinstance(error, DBAPIError) else error
    return (
        isinstance(original, psycopg.Error)
        and original.sqlstate in ("XX000", INSUFFICIENT_PRIVILEGE)
        and original.diag.source_function == "clone_file"
    )


_ENDS_THE_SESSION = frozenset({"57P01", "57P02", "57P03", "57P05", "25P03", "25P04"})
"""An administrator's command, a crash, a start, and the timeouts of idle sessions and of transactions. The last two are
no OperationalError in psycopg."""


def is_connection_loss(error: BaseException) -> bool:
    """Whether the error means that the connection is gone, so that a statement's outcome may be unknown."""
    if isinstance(error, PendingRollbackError | ResourceClosedError):
        return True
    original = error.orig if isinstance(error, DBAPIError) else error
    if not isinstance(original, psycopg.Error):
        return False
    state = original.sqlstate
    if state is None:
        return isinstance(original, psycopg.OperationalError | psycopg.InterfaceError)
    return state.startswith("08") or state in _ENDS_THE_SESSION


def translate(error: Exception, state: str) -> SnapkitError:
    """Return snapkit's error for it; ``state`` says what became of the databases."""
    code = sqlstate_of(error)
    message = _message(error)
    if is_connection_loss(error) or (code is not None and code[:2] in ("08", "28")) or code in ("53300", "57P03"):
        lasts = code is not None and code[:2] == "28"
        return ConnectionFailedError(message, state=state, hint=_HINTS.get(code or ""), is_passing=not lasts)
    if is_late_update(error):
        return BusyError(
            "Another transaction has just changed the same database (GRANT, ALTER DATABASE, COMMENT).",
            state=state,
            hint="Run the command again.",
        )
    kinds: dict[str | None, type[SnapkitError]] = {
        "55006": BusyError,
        "55P03": BusyError,
        "42P04": BusyError,
        "40001": BusyError,
        "40P01": BusyError,
        "53100": DiskFullError,
        "42501": PrivilegeError,
        "3D000": NotFoundError,
    }
    kind = kinds.get(code, SnapkitError)
    is_passing = True if kind is SnapkitError and (code or "")[:2] in _PASSING else None
    return kind(message, state=state, hint=_HINTS.get(code or "") or _server_hint(error), is_passing=is_passing)


def is_late_update(error: BaseException) -> bool:
    """Whether a statement waited for another transaction, which then changed the same row of a catalog."""
    original = error.orig if isinstance(error, DBAPIError) else error
    if not isinstance(original, psycopg.Error) or original.sqlstate != _INTERNAL:
        return False
    return original.diag.source_function in _OF_A_LATE_UPDATE


def _message(error: Exception) -> str:
    original = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(original, UnicodeError):
        return "The server holds a name or a comment that is not UTF-8 text."
    if not isinstance(original, psycopg.Error):
        return "The connection to the server was lost."
    primary = original.diag.message_primary
    if primary is None:
        return "The server cannot be reached, or closed the connection: " + " ".join(str(original).split())
    detail = f" {original.diag.message_detail}" if original.diag.message_detail else ""
    if (original.sqlstate or "")[:2] in _ABOUT_VALUES:
        primary, detail = without_values(primary), ""
    return f"PostgreSQL says: {primary}.{detail} (SQLSTATE {original.sqlstate})"


def _server_hint(error: Exception) -> str | None:
    original = error.orig if isinstance(error, DBAPIError) else error
    return original.diag.message_hint if isinstance(original, psycopg.Error) else None


SERVER_ERRORS = (DBAPIError, PendingRollbackError, ResourceClosedError, psycopg.Error, UnicodeError)
"""What the driver and SQLAlchemy raise: errors of the server, a lost connection, text that is not UTF-8."""


@contextmanager
def server_errors(state: str) -> Iterator[None]:
    """Translate what the server or the driver raises inside; ``state`` as for ``translate``."""
    try:
        yield
    except SERVER_ERRORS as error:
        raise translate(error, state) from error
