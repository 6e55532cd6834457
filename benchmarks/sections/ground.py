"""What the page is about: the machine, the goals, and what is left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks import environment, startup
from benchmarks.findings import (
    count,
    distinct,
    select,
)
from benchmarks.goals import verdicts
from benchmarks.markdown import megabytes, table, wrapped
from benchmarks.results import Row
from benchmarks.statistics import median

Section = Callable[[Sequence[Row]], str]


def head(rows: Sequence[Row]) -> str:
    dates = sorted(str(date) for date in distinct(rows, "date"))
    when = f"{dates[0]} to {dates[-1]}" if len(set(dates)) > 1 else "".join(dates[:1])
    return "# Performance\n\n" + wrapped(
        f"""
        This page compares what snapkit costs with what the alternatives cost. Both were measured side by side, as a
        client sees them ({when}, {len(rows):,} rows of results). A program writes the page from
        `benchmarks/results.jsonl`, with all its figures: `python -m benchmarks page`. To measure again, run
        `python -m benchmarks`.

        The contenders take turns. In a round, each has one turn, and each round begins with another contender. A first
        round does not count, unless the page says otherwise. Before each turn, everything is written to disk
        (CHECKPOINT, sync), so that nobody pays for the contender before.

        Times are medians of the runs that did what was asked. A ratio is a contender's time divided by snapkit's time
        in the same round; the page shows the median over the rounds.
        """
    )


def ground(rows: Sequence[Row]) -> str:
    runs: dict[tuple[str, str, str, str], list[Row]] = {}
    for row in select(rows, environment.NAME):
        runs.setdefault((_machine(row), row["version"], row["filesystem"], row["snapkit"]), []).append(row)
    if not runs:
        return ""
    machines = list(dict.fromkeys(machine for machine, *_ in runs))
    head = (
        "machine",
        "date",
        "PostgreSQL",
        "file system",
        "snapkit",
        "scenarios",
        "sequential write",
        "load at the start",
    )
    body = [
        (
            str(machines.index(machine) + 1),
            run[-1]["date"],
            version,
            filesystem,
            snapkit,
            ", ".join(dict.fromkeys(name for row in run for name in row["scenarios"])),
            f"{megabytes(median([row['written_per_second'] for row in run]))}/s",
            f"{median([row['load_average'] for row in run]):.2f}",
        )
        for (machine, version, filesystem, snapkit), run in runs.items()
    ]
    prose = wrapped(
        """
        **Compare the contenders within one table.** Do not compare one file system with the other: XFS is in a sparse
        file on the machine's own disk, by a loop device. Do not compare one machine with the other either. Each table
        is from one machine, except the table of goals.

        **The server** has its default settings, but max_connections is 150. fsync on and wal_level replica are set
        explicitly. The data is pgbench's. The sequential write is 256 MiB with one fsync.

        **Commands** connect over TCP with a password, as superuser. The Python counts, too: one that was built without
        profile-guided optimization takes a fifth longer to start snapkit than a distribution's Python. (pyenv builds
        Python that way, unless you tell it otherwise.)

        **Clients at work** also connect over TCP. Since 2026-11-30 they keep the keys of the password (SCRAM), as
        poolers do. Before that date they hashed the password again for each connection. On these cores, that took
        longer than the server takes to let a client in.
        """
    )
    sizes_found = {
        int(row["megabytes"]): int(row["size_bytes"]) for row in rows if "megabytes" in row and "size_bytes" in row
    }
    exact = ", ".join(f"{size} MB: {megabytes(found)}" for size, found in sorted(sizes_found.items()))
    return "\n\n".join(
        [
            "## What was measured on what",
            "\n".join(f"{number}. {machine}" for number, machine in enumerate(machines, 1)),
            table(head, body, 6),
            prose,
            f"Sizes as they really were: {exact}.",
        ]
    )


def _machine(row: Row) -> str:
    return (
        f"{row['processor']}, {row['cores']} cores, {row['memory_bytes'] / 2**30:.0f} GiB of memory; {row['system']},"
        f" Linux {row['kernel']}; Python {row['python']}, psycopg {row['psycopg']}, SQLAlchemy {row['sqlalchemy']},"
        f" Typer {row['typer']}; DSLR {row['dslr']}; PgBouncer {row['pgbouncer'] or 'not installed'}."
    )


def goals(rows: Sequence[Row]) -> str:
    found = verdicts(rows)
    if not found:
        return ""
    body = [(each.goal, each.where, each.found, "yes" if each.reached else "**no**") for each in found]
    reached = sum(each.reached for each in found)
    prose = wrapped(
        f"""
        {reached} of {len(found)} reached.

        **Backup, blocks not shared.** The backup is compared with its parts: `{startup.LIST}`, which stands for the
        start-up and connects, too, followed by one statement alone, run by psql. All are run in turn, many times, in
        another order each time. The factor is the backup's time divided by that of the quickest such pair in the same
        turn; the table shows its median.

        **Backup, blocks shared.** The goal is a second at any size, for the median of all backups with nobody
        connected. The table also compares the backup with its parts, but that is no goal.

        **Waits** are those of every client in every swap. In brackets is the client that waited longest in each swap.
        """
    )
    head = ("goal", "where", "found", "reached")
    return "\n\n".join(["## Against the goals", prose, table(head, body, 4)])


def limits(rows: Sequence[Row]) -> str:
    refused = sum(count(row, "turned_away") for row in rows if isinstance(row.get("turned_away"), dict))
    return "## What is not measured\n\n" + wrapped(
        f"""
        **Networks.** Everything is on one machine. Clients, server and commands share its cores, so what a client
        waits includes waiting for a core.

        **Other servers and data.** Managed PostgreSQL. Databases larger than the largest size above. Data of another
        shape than pgbench's (many small tables, large objects). Cold caches: the source has just been read. Standbys,
        and what FILE_COPY costs them.

        **The processor time of the server.**

        **Why a connection was refused.** libpq gives no SQLSTATE for that ({refused:,} refusals in all results).

        **A person's time.** psql runs the manual procedure at once, without typing, reading or thinking.
        """
    )
