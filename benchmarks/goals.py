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


def _shares_blocks(place: Place) -> bool:
    return int(place.postgres) >= 18 and "reflink" in place.filesystem


def _backups(rows: Sequence[Row]) -> list[Verdict]:
    verdicts = []
    for place in places(rows):
        for size in sizes(of_place(rows, "overhead", place)):
            found = of_place(rows, "overhead", place, megabytes=size)
            ours = summarise(_ours(found))
            if ours.runs and not _shares_blocks(place):
                times, told = _beside_parts(found)
                verdicts.append(
                    Verdict(
                        "backup within 10 % of the best statement alone plus start-up",
                        f"{place}, {size} MB",
                        told,
                        bool(times) and statistics.median(times) <= _MARGIN and ours.good == ours.runs,
                    )
                )
    return verdicts


def _beside_parts(rows: Sequence[Row]) -> tuple[list[float], str]:
    """Hold each backup against its parts in the same turn; return the ratios, and what there is to tell of them."""
    ours = _ours(rows)
    walls = {name: by_round(select(rows, "overhead", contender=name)) for name in map(after_startup, RAW)}
    best = min(filter(walls.get, walls), key=lambda name: statistics.median(walls[name].values()), default="")
    times = ratios(walls.get(best, {}), by_round(ours))
    if not times:
        return [], _median(summarise(ours))
    spread = f"{factor(percentile(times, 25))} to {factor(percentile(times, 75))}"
    ratio = f"×{factor(median(times))} ({spread} in the middle half of {len(times)} turns)"
    parts = duration(median(list(walls[best].values())))
    return times, f"{ratio}: {_median(summarise(ours))}; `{best}` {parts}"


def _shared_blocks(rows: Sequence[Row]) -> list[Verdict]:
    verdicts = []
    for place in filter(_shares_blocks, places(rows)):
        for size in sizes(rows):
            beside = of_place(rows, "overhead", place, megabytes=size)
            others = of_place(rows, "operations", place, megabytes=size, clients=0, operation="backup")
            ours = summarise(_ours([*beside, *others]))
            if ours.runs:
                times, told = _beside_parts(beside)
                verdicts.append(
                    Verdict(
                        "median backup in less than a second where blocks are shared",
                        f"{place}, {size} MB",
                        _median(ours) + (f"; beside its parts {told}" if times else ""),
                        ours.wall_ms is not None and ours.wall_ms < _SECOND and ours.good == ours.runs,
                    )
                )
    return verdicts


def _ours(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row["contender"] == SNAPKIT]


def _median(summary: Summary) -> str:
    failed = f", and {summary.runs - summary.good} failed" if summary.good < summary.runs else ""
    return f"{duration(summary.wall_ms)} (median of {summary.good}{failed})"


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
