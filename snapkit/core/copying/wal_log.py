"""A failed WAL_LOG clone can leave the server in danger: what to say and do then.

On a full disk PostgreSQL may report an internal error instead of 53100. The files of the clone stay, and every
checkpoint fails from then on. If the server stops or crashes before a checkpoint succeeds, it does not start again.
"""

from __future__ import annotations

from snapkit.core.inventory.kinds import Strategy
from snapkit.errors import DiskFullError, SnapkitError

_DAMAGING = ("53100", "58030", "XX000", "XX001", "XX002")
"""A full disk, an error in reading or writing, an internal error, damaged data."""

_AT_ONCE = (
    "Do this now, before anything stops or restarts the server: make room on the disk that holds the database. "
    "Then run CHECKPOINT as a superuser until it succeeds. Only then is the server safe. Then: snapkit recover. "
    "Next time leave out --strategy wal-log."
)


def with_danger(error: SnapkitError, strategy: Strategy, sqlstate: str | None) -> SnapkitError:
    """Return the error for a clone that failed: by ``WAL_LOG``, with what it may have done to the server.

    ``error`` was made of what PostgreSQL said, and is neither of who was in the way nor of a limit of ours;
    ``sqlstate`` is None for a lost connection, as a server that has crashed leaves it.
    """
    if strategy is not Strategy.WAL_LOG:
        return error
    if sqlstate in _DAMAGING:
        return DiskFullError(
            f"{error.message} When a wal-log clone fails like this, the disk is usually full. The server may be "
            "unable to start again after a crash or a restart.",
            state=error.state,
            hint=_AT_ONCE,
        )
    hint = f"{error.hint} " if error.hint else ""
    error.hint = (
        f"{hint}If a wal-log clone fails while the disk is nearly full, the server may be unable to start again: "
        "before anything restarts it, see whether CHECKPOINT succeeds, as a superuser."
    )
    return error
