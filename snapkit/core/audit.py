"""The audit log: what a line of it says of a run. ``snapkit.audit`` writes it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from functools import singledispatch

from snapkit.core.connection.endpoint import Place
from snapkit.core.durations import milliseconds
from snapkit.core.outcome import BackupReceipt, EntryReport, GuardReceipt, Recovery, Removal, ShellReceipt, SwapReceipt
from snapkit.core.secrets import ShownCommand
from snapkit.core.values import dataclass

AUDIT_VERSION = 1
"""Of the lines; a later snapkit may add keys to them."""


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
        "time": record.at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
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


def ran_by(result: object) -> tuple[ShownCommand, int | None] | None:
    """Return what a result tells of a command of the user's that was run."""
    match result:
        case GuardReceipt(command=command, command_exit_code=code) | ShellReceipt(command=command, exit_code=code):
            return command, code
    return None


@singledispatch
def entries_of(result: object) -> tuple[str, ...]:
    """Return the names of the databases that a result tells to be made, changed or dropped."""
    return ()


@entries_of.register
def _(result: BackupReceipt) -> tuple[str, ...]:
    return (result.backup.name,)


@entries_of.register
def _(result: SwapReceipt) -> tuple[str, ...]:
    return (result.restored.name, *((result.displaced.name,) if result.displaced else ()))


@entries_of.register
def _(result: GuardReceipt) -> tuple[str, ...]:
    parts = (result.backup, result.rollback, result.removal)
    return tuple(dict.fromkeys(name for part in parts for name in entries_of(part)))


@entries_of.register(Removal)
@entries_of.register(Recovery)
def _(result: Removal | Recovery) -> tuple[str, ...]:
    return tuple(entry.name for entry in result.removed)


@entries_of.register(EntryReport)
@entries_of.register(ShellReceipt)
def _(result: EntryReport | ShellReceipt) -> tuple[str, ...]:
    return (result.entry.name,)
