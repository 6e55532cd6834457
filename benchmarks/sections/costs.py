"""What it all uses: disk, WAL, processor; start-up; a server with very many backups."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks import scale, startup
from benchmarks.findings import (
    distinct,
    of_place,
    ordered,
    places,
    select,
    sizes,
)
from benchmarks.markdown import duration, megabytes, table, wrapped
from benchmarks.results import Row
from benchmarks.statistics import median

Section = Callable[[Sequence[Row]], str]


def costs(rows: Sequence[Row]) -> str:
    body = []
    for place in places(rows):
        found = of_place(rows, "operations", place, clients=0)
        if not found:
            continue
        size = max(sizes(found))
        for operation in ("backup", "rollback"):
            those = [row for row in found if row["megabytes"] == size and row["operation"] == operation and row["good"]]
            for contender in ordered(those):
                theirs = [row for row in those if row["contender"] == contender]
                body.append(
                    [
                        str(place),
                        f"{size} MB",
                        operation,
                        contender,
                        megabytes(median([row["disk_bytes"] for row in theirs])),
                        megabytes(median([row["wal_bytes"] for row in theirs])),
                        duration(median([row["cpu_ms"] for row in theirs])),
                    ]
                )
    if not body:
        return ""
    prose = wrapped(
        """
        **Disk** is how much more of the disk is in use when the command has ended, without WAL. On XFS the file system
        reports it, so that shared blocks count once. A negative figure is room that became free.

        **WAL** is how much was written. **CPU time** is that of the command, without the server's.

        The figures are medians at the largest size, with nobody connected.
        """
    )
    head = ("where", "size", "operation", "contender", "disk", "WAL", "CPU time of the command")
    return "\n\n".join(["## Disk, WAL and processor", prose, table(head, body, 4)])


def start_up(rows: Sequence[Row]) -> str:
    body = []
    for command in distinct(select(rows, startup.NAME), "command"):
        found = select(rows, startup.NAME, command=command)
        body.append(
            [
                f"`{command}`",
                duration(median([row["wall_ms"] for row in found])),
                duration(median([row["cpu_ms"] for row in found])),
                str(len(found)),
            ]
        )
    return "## Start-up\n\n" + table(("command", "time", "CPU time", "runs"), body) if body else ""


def very_many(rows: Sequence[Row]) -> str:
    found = select(rows, scale.NAME)
    body = []
    for databases in distinct(found, "databases"):
        for command in distinct(found, "command"):
            those = [row for row in found if row["databases"] == databases and row["command"] == command]
            body.append(
                [
                    f"{databases:,}",
                    f"`{command}`",
                    duration(median([row["wall_ms"] for row in those])),
                    megabytes(median([row["max_rss_bytes"] for row in those])),
                    str(len(those)),
                ]
            )
    prose = wrapped(
        """
        These are backups of a nearly empty database, on a server with fsync off. Memory is the most that the command
        used.
        """
    )
    head = ("backups", "command", "time", "memory", "runs")
    return "\n\n".join(["## Very many backups", prose, table(head, body, 2)]) if body else ""
