"""From rows of results to the figures of the page; pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from benchmarks.contenders import SNAPKIT
from benchmarks.results import Row
from benchmarks.statistics import median, paired_ratio, percentile


@dataclass(frozen=True)
class Place:
    """A server's version and its file system."""

    postgres: str
    filesystem: str

    def __str__(self) -> str:
        return f"PostgreSQL {self.postgres}, {self.filesystem}"


@dataclass(frozen=True)
class Summary:
    """Several runs of the same. Times are of the runs that did what was asked, but waits are of all of them."""

    runs: int
    good: int
    wall_ms: float | None
    waits: tuple[float, ...]
    """In milliseconds: in each run, the longest wait of the client that waited longest."""
    everybody: tuple[float, ...]
    """Likewise, of every client in every run."""
    failed: float
    """Queries per run that failed on a connection."""
    turned_away: float
    """Attempts to connect, per run, that were refused."""
    unserved: int
    """Runs after which some client was not served again within the limit."""

    @property
    def waited(self) -> float | None:
        return median(self.waits)

    @property
    def waited_95(self) -> float | None:
        return percentile(self.waits, 95)

    @property
    def everybody_95(self) -> float | None:
        return percentile(self.everybody, 95)


def select(rows: Sequence[Row], scenario: str, **conditions: object) -> list[Row]:
    """Return the measurements that answer to the conditions; what was skipped is none."""
    wanted = {"scenario": scenario, **conditions}
    return [row for row in rows if "skipped" not in row and wanted.items() <= row.items()]


def places(rows: Sequence[Row]) -> list[Place]:
    """Return the servers that something was measured on: the newest version first."""
    found = {Place(row["postgres"], row["filesystem"]) for row in rows if "filesystem" in row and "contender" in row}
    return sorted(found, key=lambda place: (-int(place.postgres), place.filesystem))


def distinct(rows: Sequence[Row], column: str) -> list[object]:
    """Return the values of a column, in the order of their first appearance."""
    return list(dict.fromkeys(row[column] for row in rows if column in row))


def sizes(rows: Sequence[Row]) -> list[int]:
    return sorted({int(row["megabytes"]) for row in rows if "megabytes" in row})


def summarise(rows: Sequence[Row]) -> Summary:
    good = [row for row in rows if row["good"]]
    runs = max(1, len(rows))
    return Summary(
        runs=len(rows),
        good=len(good),
        wall_ms=median([row["wall_ms"] for row in good]),
        waits=tuple(max(row["waits_ms"]) for row in rows if row.get("waits_ms")),
        everybody=tuple(wait for row in rows for wait in row.get("waits_ms", ())),
        failed=sum(count(row, "failed") for row in rows) / runs,
        turned_away=sum(count(row, "turned_away") for row in rows) / runs,
        unserved=sum(bool(row.get("unserved")) for row in rows),
    )


def count(row: Row, column: str) -> int:
    """Return how many failures a row has, of all SQLSTATEs."""
    return sum(row.get(column, {}).values())


def codes(rows: Sequence[Row], column: str) -> dict[str, int]:
    """Return the failures by SQLSTATE, the most frequent first."""
    total: Counter[str] = Counter()
    for row in rows:
        total.update(row.get(column, {}))
    return dict(total.most_common())


def ratio(ours: Sequence[Row], theirs: Sequence[Row]) -> float | None:
    """Return how many times longer theirs took, round by round."""
    return paired_ratio(by_round(ours), by_round(theirs))


def by_round(rows: Sequence[Row]) -> dict[Hashable, float]:
    """Return the times of the runs that did what was asked, in milliseconds, by their round."""
    return {row["round"]: row["wall_ms"] for row in rows if row["good"]}


def of_place(rows: Sequence[Row], scenario: str, place: Place, **conditions: object) -> list[Row]:
    return select(rows, scenario, postgres=place.postgres, filesystem=place.filesystem, **conditions)


def ordered(rows: Sequence[Row]) -> list[str]:
    """Return the contenders, ours first."""
    names = [str(each) for each in distinct(rows, "contender")]
    return sorted(names, key=lambda name: (not name.startswith(SNAPKIT), name))
