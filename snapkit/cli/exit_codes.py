"""Exit codes, and the one function that gives an error its code. docs/reference.md lists them for users."""

from __future__ import annotations

from enum import IntEnum

from snapkit import errors


class ExitCode(IntEnum):
    """What a command ends with; the name in lower case is the code in JSON."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    PARTIAL = 3
    NOT_FOUND = 10
    BUSY = 11
    CONNECTION = 12
    PRIVILEGE = 13
    DISK_FULL = 14
    OUTAGE_LIMIT = 15
    ROLLED_BACK = 20
    ROLLBACK_FAILED = 21
    UNKNOWN_OUTCOME = 22
    CONFLICT = 24
    DIFFERS = 26
    INTERRUPTED = 130

    @property
    def code(self) -> str:
        return self.name.lower()


_CODES: dict[type[errors.SnapkitError], ExitCode] = {
    errors.UsageError: ExitCode.USAGE,
    errors.PartialError: ExitCode.PARTIAL,
    errors.NotFoundError: ExitCode.NOT_FOUND,
    errors.BusyError: ExitCode.BUSY,
    errors.ConnectionFailedError: ExitCode.CONNECTION,
    errors.PrivilegeError: ExitCode.PRIVILEGE,
    errors.DiskFullError: ExitCode.DISK_FULL,
    errors.OutageLimitError: ExitCode.OUTAGE_LIMIT,
    errors.RolledBackError: ExitCode.ROLLED_BACK,
    errors.RollbackFailedError: ExitCode.ROLLBACK_FAILED,
    errors.UnknownOutcomeError: ExitCode.UNKNOWN_OUTCOME,
    errors.ConflictError: ExitCode.CONFLICT,
    errors.DiffersError: ExitCode.DIFFERS,
    errors.InterruptedRunError: ExitCode.INTERRUPTED,
}


def exit_code_of(error: errors.SnapkitError) -> ExitCode:
    """Return the exit code that stands for this error, or for the kind of errors that it belongs to."""
    return next((_CODES[kind] for kind in type(error).__mro__ if kind in _CODES), ExitCode.FAILED)
