"""Copy a database while its clients work: definitions and rows, as of one moment.

Nobody is disconnected, and nobody waits. The copy is made as an empty database, and filled by pg_restore and COPY.
While it is filled, only its owner can connect, and it is marked as under construction. Before it becomes a backup, it
is sealed, and the sessions in it are ended.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from time import monotonic

from snapkit.core.copying.program_messages import kind_of
from snapkit.core.plans.clone import ClonePlan
from snapkit.errors import ConnectionFailedError, DiskFullError, PrivilegeError, SnapkitError, UsageError
from snapkit.postgres.connection.server import Connection
from snapkit.postgres.connection.sqlstates import DISK_FULL_HINT, server_errors
from snapkit.postgres.copying import snapshot as snapshots
from snapkit.postgres.copying.gate import Check
from snapkit.postgres.copying.programs import ProgramError, Programs
from snapkit.postgres.sql.execution import run
from snapkit.services.copying.clone import Cloned, untouched
from snapkit.services.copying.online.build import build
from snapkit.services.copying.online.compare import compare
from snapkit.services.copying.online.context import CopyContext
from snapkit.services.copying.online.read import read
from snapkit.services.outage.emptying import empty_sealed
from snapkit.services.run.survey import RunContext

_HINTS = {
    PrivilegeError: "Your role must be able to read everything in the database, and to create everything again. Grant "
    "the right, connect as a role that has it, or leave out --strategy online.",
    DiskFullError: DISK_FULL_HINT,
}
_ANOTHER_WAY = "Fix this, or leave out --strategy online: a clone of the files needs no dump."


def check_locks(connection: Connection, state: str) -> None:
    """Raise UsageError if the server's lock table has no room for the locks of this copy.

    Else the copy would fail later, and might make another session's statement fail, which needs a lock at that moment.
    """
    locks = snapshots.lock_table(connection)
    if locks.is_too_small:
        raise UsageError(locks.room, state=state, hint=f"{locks.remedy}, or leave out --strategy online.")


def copy_online(context: RunContext, plan: ClonePlan, programs: Programs, check: Check) -> Cloned:
    """Make the database of the plan, fill it, compare it with its source, and seal it.

    ``check`` is given the source's properties at the moment that is copied, and raises if they do not fit the plan.
    What was begun when an error is raised is dropped by ``discarded_on_failure``.
    """
    began = monotonic()
    with _errors(untouched(plan)), _directory() as directory:
        copy = CopyContext(context, plan, programs, check, directory)
        with ExitStack() as readers:
            source = read(copy, readers)
        build(copy, source)
        cautions = compare(copy, source)
        _seal(copy)
    duration = timedelta(seconds=monotonic() - began)
    return Cloned(copy.oid, source.moment, copy.total, timedelta(0), (), duration, cautions=cautions)


def _seal(copy: CopyContext) -> None:
    """Let nobody connect any more, and end the sessions inside."""
    run(copy.ddl, *copy.plan.closing)
    empty_sealed(copy.ddl, copy.oid, copy.plan.name, copy.state)


@contextmanager
def _directory() -> Iterator[Path]:
    """Make a directory for definitions; rows are never written to this machine."""
    with tempfile.TemporaryDirectory(prefix="snapkit-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@contextmanager
def _errors(state: str) -> Iterator[None]:
    """Turn the errors of programs, files and the server into snapkit's own."""
    try:
        with server_errors(state):
            yield
    except ProgramError as error:
        message = str(error)
        kind = kind_of(message)
        raise kind(message, state=state, hint=_HINTS.get(kind, _ANOTHER_WAY)) from error
    except (OSError, subprocess.SubprocessError) as error:
        raise SnapkitError(f"On this machine: {error}.", state=state) from error
    except ConnectionFailedError as error:
        error.state = state
        raise
