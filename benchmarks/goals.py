"""What snapkit means to reach, and whether the figures say that it does."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.contenders import NOTHING_BUT_LEAVING, RAW, SNAPKIT
from benchmarks.findings import Place, Summary, by_round, of_place, places, select, sizes, summarise
from benchmarks.markdown import duration, factor
from benchmarks.overhead import after_startup
from benchmarks.pooler import PAUSED
from benchmarks.results import Row
from benchmarks.statistics import median, percentile, ratios

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


def _wall(rows: Sequence[Row], place: Place, size: int) -> float | None:
    found = of_place(rows, "operations", place, megabytes=size, clients=0, contender=SNAPKIT, operation="backup")
    return summarise(found).wall_ms


def _backups(rows: Sequence[Row]) -> list[Verdict]:
    """Hold each backup against its parts in the same turn; the spread tells what the verdict is worth."""
    verdicts = []
    for place in places(rows):
        for size in sizes(of_place(rows, "overhead", place)):
            found = of_place(rows, "overhead", place, megabytes=size)
            names = (SNAPKIT, *map(after_startup, RAW))
            walls = {name: by_round(select(found, "overhead", contender=name)) for name in names}
            parts = {name: wall for name, wall in walls.items() if wall and name != SNAPKIT}
            if not parts:
                continue
            best = min(parts, key=lambda name: statistics.median(parts[name].values()))
            times = ratios(parts[best], walls[SNAPKIT])
            if not times:
                continue
            told = [duration(median(list(walls[name].values()))) for name in (SNAPKIT, best)]
            spread = f"{factor(percentile(times, 25))} to {factor(percentile(times, 75))}"
            made = [row for row in found if row["contender"] == SNAPKIT]
            verdicts.append(
                Verdict(
                    "backup within 10 % of the best statement alone plus start-up",
                    f"{place}, {size} MB",
                    f"×{factor(median(times))} ({spread} in the middle half of {len(times)} turns): {told[0]};"
                    f" `{best}` {told[1]}",
                    statistics.median(times) <= _MARGIN and all(row["good"] for row in made),
                )
            )
    return verdicts


def _shared_blocks(rows: Sequence[Row]) -> list[Verdict]:
    verdicts = []
    for place in places(rows):
        if int(place.postgres) < 18 or "reflink" not in place.filesystem:
            continue
        for size in sizes(rows):
            ours = _wall(rows, place, size)
            if ours is not None:
                goal = "backup in less than a second where blocks are shared"
                verdicts.append(Verdict(goal, f"{place}, {size} MB", duration(ours), ours < _SECOND))
    return verdicts


def _waits(rows: Sequence[Row]) -> list[Verdict]:
    verdicts = []
    for place in places(rows):
        for size in sizes(rows):
            found = of_place(rows, "swaps", place, megabytes=size, contender=SNAPKIT)
            alone = summarise(of_place(rows, "swaps", place, megabytes=size, contender=NOTHING_BUT_LEAVING))
            ours = summarise(found)
            held = percentile([row["reported_outage_ms"] for row in found if "reported_outage_ms" in row], 95)
            if ours.everybody_95 is not None:
                verdicts.append(
                    Verdict(
                        "clients wait at most 150 ms for a rollback, at the 95th percentile",
                        f"{place}, {size} MB",
                        f"{_waited(ours)} in {len(found)} swaps; where they are only disconnected"
                        f" {_waited(alone)}; held by snapkit {duration(held)}",
                        ours.everybody_95 <= _WAIT_LIMIT,
                    )
                )
    return verdicts


def _waited(summary: Summary) -> str:
    return f"{duration(summary.everybody_95)} (the one that waited longest {duration(summary.waited_95)})"


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
