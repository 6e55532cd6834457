"""Background workers inside a database: which of them would not come back once they are ended.

A server process that an extension has started ends at SIGTERM like any other. PostgreSQL starts it again, unless it was
registered not to be, or ends with exit code 0. https://www.postgresql.org/docs/current/bgworker.html
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from snapkit.core.reporting import Caution
from snapkit.core.values import dataclass
from snapkit.errors import NOTHING_CHANGED, BusyError

PG_CRON = "pg_cron"
_RESTARTED_FROM = (1, 6)
"""The version of pg_cron whose scheduler comes back: that of 1.5.2 still ends with 0 when it is terminated."""

_STAYS_BEHIND = "logical replication"
"""How the workers of subscriptions begin, which belong to their database: where that is put aside, they stay away."""


@dataclass(frozen=True, slots=True)
class Worker:
    """A background worker, by its process ID and by what it says that it is (``backend_type``)."""

    pid: int
    kind: str


@dataclass(frozen=True, slots=True)
class Cron:
    """What there is to be known of pg_cron.

    ``database`` is the one that its scheduler works from (``cron.database_name``), None where pg_cron is not loaded or
    the role may not know. ``version`` is that of the extension in the source, None where it has none or cannot be read.
    """

    database: str | None = None
    version: str | None = None


def would_stay_away(source: str, cron: Cron, workers: Sequence[Worker], *, kinds_are_known: bool) -> BusyError | None:
    """Return the error for workers of the source that would not come back once ended; None if all would.

    ``kinds_are_known`` is whether this role is shown what other roles' sessions are: ``workers`` is complete then.
    """
    schedulers = [worker for worker in workers if worker.kind.startswith(PG_CRON)]
    is_there = bool(schedulers) or (cron.database == source and not kinds_are_known)
    if not is_there or _comes_back(cron.version):
        return None
    version = f"pg_cron {cron.version}" if cron.version else "a pg_cron of unknown version"
    pids = ", ".join(f"pid {worker.pid}" for worker in schedulers)
    online = "or copy the database while everybody works: --strategy online"
    if cron.version:
        online = "--strategy online cannot copy a database with pg_cron, which PostgreSQL allows in one database only"
    where = f" ({pids})" if pids else ""
    return BusyError(
        f"The scheduler of {version} is connected to {source!r}{where}. Up to version 1.5 it does not come back "
        "when it is ended: no job of any database would run until the server is restarted.",
        state=NOTHING_CHANGED,
        hint=(
            "Let it work from another database: cron.database_name = 'postgres', and jobs by "
            "cron.schedule_in_database(). Or end it anyway with --stop-workers, and restart the server afterwards; "
            f"{online}."
        ),
        is_passing=False,
    )


def _comes_back(version: str | None) -> bool:
    parts = re.match(r"(\d+)\.(\d+)", version or "")
    return parts is not None and (int(parts[1]), int(parts[2])) >= _RESTARTED_FROM


def missing(ended: Sequence[Worker], present: Sequence[Worker], *, moved: bool) -> tuple[Worker, ...]:
    """Return those of the ``ended`` workers in whose place there is none of the same kind.

    ``moved`` is whether the database they were in was put aside.
    """
    gone = {worker.pid for worker in ended}
    back = Counter(worker.kind for worker in present if worker.pid not in gone)
    left = []
    for worker in ended:
        if back[worker.kind]:
            back[worker.kind] -= 1
        elif not (moved and worker.kind.startswith(_STAYS_BEHIND)):
            left.append(worker)
    return tuple(left)


def not_back(workers: Sequence[Worker], seconds: float) -> tuple[Caution, ...]:
    """Warn of workers that have not come back."""
    if not workers:
        return ()
    listed = ", ".join(f"{worker.kind} (pid {worker.pid})" for worker in workers)
    return (
        Caution(
            "workers_gone",
            f"These background workers were ended and have not come back within {seconds:.0f} s: {listed}. Start "
            "them in the way of their extension (TimescaleDB: SELECT "
            "_timescaledb_functions.start_background_workers()), or restart the server. pg_cron up to 1.5 needs a "
            "restart, and runs no job of any database until then.",
        ),
    )
