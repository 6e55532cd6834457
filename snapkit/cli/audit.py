"""What a run leaves in the audit log: a line of JSON, in a file that is only ever appended to."""

from __future__ import annotations

import errno
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from snapkit.cli.exit_codes import ExitCode
from snapkit.core.connection.endpoint import Place
from snapkit.core.durations import milliseconds
from snapkit.core.reporting import Caution
from snapkit.core.secrets import ShownCommand
from snapkit.core.utc import iso_utc
from snapkit.core.values import dataclass
from snapkit.errors import NOTHING_CHANGED, SnapkitError
from snapkit.processes.caller import process_user

if TYPE_CHECKING:
    from snapkit.core.outcome import Outcome
    from snapkit.postgres.connection.server import Server

AUDIT_VERSION = 1
"""Of the lines; a later snapkit may add keys to them."""

_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NONBLOCK", 0)
"""O_NONBLOCK, since the opening of a pipe that nobody reads would wait for ever."""

_NOT_SYNCED = (errno.EINVAL, errno.ENOTSUP)
"""What fsync says of a terminal or a pipe."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One run on its way into the audit log."""

    path: Path
    command: str
    server: Server
    began: float

    @classmethod
    def begin(cls, path: Path, command: str, server: Server, began: float) -> AuditEntry:
        """Return it; raise SnapkitError if the file cannot be appended to. ``began`` is of the monotonic clock."""
        check_audit_log(path)
        return cls(path, command, server, began)

    def end(self, exit_code: int, error: ExitCode | None, result: Outcome | None) -> tuple[Caution, ...]:
        """Write the run's line; return a warning if that fails. ``result`` is None for an error."""
        record = AuditRecord(
            at=datetime.now(UTC),
            command=self.command,
            source=self.server.source,
            place=self.server.place,
            os_user=process_user(),
            pid=os.getpid(),
            exit_code=exit_code,
            error=error.code if error else None,
            entries=result.changed if result else (),
            ran=result.ran if result else None,
            outage=result.outage if result else None,
            duration=timedelta(seconds=monotonic() - self.began),
        )
        try:
            append_to_audit_log(self.path, line_of(record))
        except OSError as failure:
            message = f"This run could not be written to the audit log {str(self.path)!r}: {failure.strerror}."
            return (Caution("audit_failed", message),)
        return ()


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """A run that has ended, at ``at``. ``error`` is the error's code; ``entries`` names what was made or changed."""

    at: datetime
    command: str
    source: str
    place: Place
    os_user: str
    pid: int
    exit_code: int
    error: str | None
    entries: tuple[str, ...]
    ran: tuple[ShownCommand, int | None] | None
    """The command that a guard or a shell ran, as far as it is shown, and its exit code, if that is known."""
    outage: timedelta | None
    duration: timedelta


def line_of(record: AuditRecord) -> bytes:
    """Return the record as one line of JSON, in ASCII."""
    document = {
        "audit_version": AUDIT_VERSION,
        "time": iso_utc(record.at, "milliseconds"),
        "command": record.command,
        "source": record.source,
        "host": record.place.host,
        "port": record.place.port,
        "os_user": record.os_user,
        "role": record.place.role,
        "pid": record.pid,
        "exit_code": record.exit_code,
        "error": record.error,
        "entries": list(record.entries),
        "ran": list(record.ran[0].shown) if record.ran else None,
        "ran_words": record.ran[0].words if record.ran else None,
        "ran_exit_code": record.ran[1] if record.ran else None,
        "outage_ms": None if record.outage is None else milliseconds(record.outage),
        "duration_ms": milliseconds(record.duration),
    }
    return json.dumps(document).encode("ascii") + b"\n"


def check_audit_log(path: Path) -> None:
    """Raise SnapkitError unless the file can be opened for appending; one that is missing is made (mode 0600)."""
    try:
        os.close(_open(path))
    except OSError as error:
        raise SnapkitError(
            f"The audit log {str(path)!r} cannot be opened for appending: {error.strerror}.",
            state=NOTHING_CHANGED,
            hint="snapkit does not start a run that the log would miss. Make the file writable, or change the "
            "setting audit-log.",
        ) from None


def append_to_audit_log(path: Path, line: bytes) -> None:
    """Append a line, and have it on the disk; raise OSError.

    It goes by one write to a file opened with O_APPEND, so that the lines of several runs do not mix. The file is
    opened anew, since it may have been rotated while the run was at work.
    """
    file = _open(path)
    try:
        if os.write(file, line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        try:
            os.fsync(file)
        except OSError as error:
            if error.errno not in _NOT_SYNCED:
                raise
    finally:
        os.close(file)


def _open(path: Path) -> int:
    return os.open(path, _FLAGS, 0o600)
