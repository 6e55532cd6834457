"""What can go wrong, as values: a message, the state that the database is in, and what to type next.

The command line gives each class its exit code; nothing here knows of exit codes, PostgreSQL or terminals.
"""

from __future__ import annotations


class Unchanged(str):
    """The state of databases that are as they were before the run, in words. What is added to it is said besides."""

    __slots__ = ()

    def __add__(self, more: str) -> Unchanged:
        return Unchanged(f"{self}{more}")


NOTHING_CHANGED = Unchanged("Nothing was changed.")


class SnapkitError(Exception):
    """The server or snapkit failed.

    ``message`` says what happened, ``state`` what became of the databases, ``hint`` what to do next. ``is_passing``: it
    may be otherwise in a moment, with nobody doing anything about it (slots that are taken, a server that is starting,
    a session in the way), so that it is worthwhile to try again; None is what holds for the class.
    """

    is_passing = False

    def __init__(
        self, message: str, *, state: str | None = None, hint: str | None = None, is_passing: bool | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.state = state
        self.hint = hint
        if is_passing is not None:
            self.is_passing = is_passing

    @property
    def changed_nothing(self) -> bool:
        """Whether it is certain that the run has left the databases as they were.

        It is where the state is an ``Unchanged``. An error without a state comes before anything is done.
        """
        return self.state is None or isinstance(self.state, Unchanged)


class UsageError(SnapkitError):
    """Wrong options or configuration; nothing was touched."""


class PartialError(SnapkitError):
    """Some of several things could not be done."""


class NotFoundError(SnapkitError):
    """No such backup, none at all, or no such database."""


class BusyError(SnapkitError):
    """Sessions, prepared transactions or another run are in the way."""

    is_passing = True


class ConnectionFailedError(SnapkitError):
    """The server cannot be reached, refuses the login, or hung up before anything was decided."""


class NoSuchDatabaseError(NotFoundError, ConnectionFailedError):
    """The server has no database of the name that was to be connected to."""


class PrivilegeError(SnapkitError):
    """The role lacks a right; the hint names the statement that grants it."""


class DiskFullError(SnapkitError):
    """No room on the server's disk."""


class OutageLimitError(SnapkitError):
    """Clients would have been held, or were held, longer than was allowed; nothing was changed."""


class RolledBackError(SnapkitError):
    """A guarded command failed, and the database was rolled back."""


class RollbackFailedError(SnapkitError):
    """A guarded command failed, and so did the rollback."""


class ConflictError(SnapkitError):
    """Rows could not be brought back as asked; nothing was changed."""


class DiffersError(SnapkitError):
    """There are differences, where the user wants that to be an error."""


class UnknownOutcomeError(SnapkitError):
    """COMMIT may have been sent, and the server was not asked what became of it, or did not answer."""


class InterruptedRunError(SnapkitError):
    """The user said no, or pressed Ctrl-C; the state says how far things had got."""


class OutputError(SnapkitError):
    """What the run has to say could not be written where it was to go, such as a file on a full disk."""


def unexpected(raised: BaseException) -> SnapkitError:
    """Return the error for what should not have happened."""
    wrapped = SnapkitError(
        f"Something unexpected happened: {type(raised).__name__}: {raised}",
        state="To see what was done so far: snapkit list",
        hint="Please report this; with --verbose the traceback is shown.",
    )
    wrapped.__cause__ = raised
    return wrapped
