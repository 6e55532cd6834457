"""What a run leaves in the audit log."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from snapkit.audit import append_to_audit_log, check_audit_log
from snapkit.cli.exit_codes import ExitCode
from snapkit.core.audit import AuditRecord, entries_of, line_of, ran_by
from snapkit.core.reporting import Caution
from snapkit.core.values import dataclass

if TYPE_CHECKING:
    from snapkit.postgres.connection.server import Server


@dataclass(frozen=True, slots=True)
class Trail:
    """One run on its way into the audit log."""

    path: Path
    command: str
    server: Server
    began: float

    @classmethod
    def begin(cls, path: Path, command: str, server: Server, began: float) -> Trail:
        """Return it; raise SnapkitError if the file cannot be appended to. ``began`` is of the monotonic clock."""
        check_audit_log(path)
        return cls(path, command, server, began)

    def end(self, exit_code: int, error: ExitCode | None, result: object) -> tuple[Caution, ...]:
        """Write the run's line; return a warning if that fails. ``result`` is None for an error."""
        record = AuditRecord(
            at=datetime.now(UTC),
            command=self.command,
            source=self.server.source,
            place=self.server.place,
            os_user=_os_user(),
            pid=os.getpid(),
            exit_code=exit_code,
            error=error.code if error else None,
            entries=entries_of(result),
            ran=ran_by(result),
            outage=getattr(result, "outage", None),
            duration=timedelta(seconds=monotonic() - self.began),
        )
        try:
            append_to_audit_log(self.path, line_of(record))
        except OSError as failure:
            message = f"This run could not be written to the audit log {str(self.path)!r}: {failure.strerror}."
            return (Caution("audit_failed", message),)
        return ()


def _os_user() -> str:
    """Who runs this, by the process and not by what the environment says; the number where it has no name."""
    try:
        import pwd

        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
    except ImportError:  # Windows
        import getpass

        return getpass.getuser()
