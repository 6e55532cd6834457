"""What snapkit means to reach, and whether the figures say that it does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.contenders import RAW, SNAPKIT
from benchmarks.findings import Place, places, select, sizes, summarise
from benchmarks.markdown import duration
from benchmarks.pooler import PAUSED
from benchmarks.results import Row
from benchmarks.startup import LIST
from benchmarks.statistics import median

_LARGE = 500
"""MB, from which on the copying outweighs everything else."""
_MARGIN = 1.1
_SECOND = 1000.0
_WAIT_LIMIT = 150.0


@dataclass(frozen=True)
class Verdict:
    """One goal in one place."""

    goal: str
    where: str
    found: str
    reached: bool


def verdicts(rows: Sequence[Row]) -> list[Verdict]:
    judges: tuple[Callable[[Sequence[Row]], list[Verdict]], ...] = (_backups, _shared_blocks, _waits, _pooled)
    return [verdict for judge in judges for verdict in judge(rows)]


def _wall(rows: Sequence[Row], place: Place, size: int, contender: str) -> float | None:
    found = select(
        rows, "operations", postgres=place.postgres, filesystem=place.filesystem, megabytes=size, clients=0,
        contender=contender, operation="backup",
    )  # fmt: skip
    return summarise(found).wall_ms


def _backups(rows: Sequence[Row]) -> list[Verdict]:
    start = median([row["wall_ms"] for row in select(rows, "startup", command=LIST)])
    verdicts = []
    for place in places(rows):
        for size in sizes(select(rows, "operations", postgres=place.postgres, filesystem=place.filesystem)):
            raw = [wall for each in RAW if (wall := _wall(rows, place, size, each)) is not None]
            ours = _wall(rows, place, size, SNAPKIT)
            if size < _LARGE or not raw or ours is None or start is None:
                continue
            allowed = _MARGIN * (min(raw) + start)
            found = f"{duration(ours)}; best statement {duration(min(raw))}, start-up {duration(start)}"
            goal = "backup within 10 % of the best statement alone plus start-up"
            verdicts.append(Verdict(goal, f"{place}, {size} MB", found, ours <= allowed))
    return verdicts


def _shared_blocks(rows: Sequence[Row]) -> list[Verdict]:
    verdicts = []
    for place in places(rows):
        if int(place.postgres) < 18 or "reflink" not in place.filesystem:
            continue
        for size in sizes(rows):
            ours = _wall(rows, place, size, SNAPKIT)
            if ours is not None:
                goal = "backup in less than a second where blocks are shared"
                verdicts.append(Verdict(goal, f"{place}, {size} MB", duration(ours), ours < _SECOND))
    return verdicts


def _waits(rows: Sequence[Row]) -> list[Verdict]:
    verdicts = []
    for place in places(rows):
        for size in sizes(rows):
            found = select(
                rows, "swaps", postgres=place.postgres, filesystem=place.filesystem, megabytes=size, contender=SNAPKIT
            )
            waited = summarise(found).waited_95
            if waited is not None:
                verdicts.append(
                    Verdict(
                        "clients wait at most 150 ms for a rollback, at the 95th percentile",
                        f"{place}, {size} MB",
                        f"{duration(waited)} in {len(found)} swaps",
                        waited <= _WAIT_LIMIT,
                    )
                )
    return verdicts


def _pooled(rows: Sequence[Row]) -> list[Verdict]:
    return [
        Verdict(
            "no query fails behind PgBouncer",
            f"PostgreSQL {row['postgres']}, {row['filesystem']}, {row['megabytes']} MB",
            f"{row['failed']:,} of {row['queries']:,} queries, {row['turned_away']:,} turned away,"
            f" in {row['operations']:,} backups and rollbacks",
            row["failed"] == row["turned_away"] == row["refused"] == 0,
        )
        for row in select(rows, "pgbouncer", row="total", mode=PAUSED)
    ]
