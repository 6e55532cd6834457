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
        What snapkit costs and what the alternatives cost, measured side by side from where a client stands ({when},
        {len(rows):,} rows of results). This page is written by `python -m benchmarks page` from
        `benchmarks/results.jsonl`; the figures in it are all filled in from there. `python -m benchmarks` measures
        anew.

        Contenders take turns: in a round each has one turn, and each round begins with another. A first round is not
        counted, unless said otherwise. Before a turn everything is written out (CHECKPOINT, sync), so that nobody pays
        for another. Times are medians of the runs that did what was asked; a ratio is the median, over the rounds, of
        a contender's time divided by snapkit's in the same round.
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
        The server has its default settings, but fsync on and wal_level replica are set expressly, and max_connections
        is 150. Commands connect over TCP with a password, as superuser. Clients at work do so with the keys of the
        password (SCRAM), as poolers do, from 2026-11-30 on. Before that they hashed it anew for each connection, which
        is the client's own affair in life, but took these cores longer than it takes the server to let a client in.
        XFS lies in a sparse file on the machine's own disk, by a loop device: compare the contenders on one file
        system, not one file system with the other. Nor compare what was measured on one machine with what was on the
        other: each table but that of the goals is from one. The Python counts, too: one that was built without
        profile-guided optimization, as pyenv builds it unless told otherwise, takes a fifth longer to start snapkit
        than a distribution's. The sequential write is 256 MiB with one fsync. The data is pgbench's.
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
        {reached} of {len(found)} reached. Start-up is what `{startup.LIST}` takes, which connects, too. The backup, and
        that followed by each statement alone (by psql), are run in turn, many times, in another order each time; given
        is the median of the backup's time divided by that of the quickest of those pairs in the same turn. Where blocks
        are shared the goal is a second instead, at any size, for the median of all backups with nobody connected; how
        they are beside their parts is told there, and not judged. Waits are those of every client in every swap, and
        beside them those of the one that waited longest in each.
        """
    )
    head = ("goal", "where", "found", "reached")
    return "\n\n".join(["## Against the goals", prose, table(head, body, 4)])


def limits(rows: Sequence[Row]) -> str:
    refused = sum(count(row, "turned_away") for row in rows if isinstance(row.get("turned_away"), dict))
    return "## What is not measured\n\n" + wrapped(
        f"""
        Networks: everything is on one machine, and clients, server and commands share its cores; what a client waits
        includes waiting for a core. Managed PostgreSQL. Databases larger than the largest size above, and data of
        another shape than pgbench's (many small tables, large objects). Cold caches: the source has just been read.
        Standbys, and what FILE_COPY costs them. The processor time of the server. Why a connection was refused:
        libpq gives no SQLSTATE for that ({refused:,} refusals in all results). A person's time: the manual procedure is
        run by psql at once, without typing, reading or thinking.
        """
    )
