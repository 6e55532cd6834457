"""A backup and a rollback by each contender, with nobody connected and with clients."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks.contenders import DUMP, KEEPING, SNAPKIT
from benchmarks.findings import (
    codes,
    of_place,
    ordered,
    places,
    ratio,
    select,
    sizes,
    summarise,
)
from benchmarks.load import LIMIT, THOUGHT, TURNED_AWAY_PAUSE
from benchmarks.markdown import counted, duration, factor, per_run, table, wrapped
from benchmarks.results import Row

Section = Callable[[Sequence[Row]], str]


def quiet(operation: str, title: str) -> Section:
    def section(rows: Sequence[Row]) -> str:
        parts = []
        for place in places(rows):
            found = of_place(rows, "operations", place, clients=0, operation=operation)
            columns = sizes(found)
            body = [
                [str(contender), *(_time_cell(found, str(contender), size) for size in columns)]
                for contender in ordered(found)
            ]
            if body:
                head = ["whole command", *(f"{size} MB" for size in columns)]
                parts.append(f"### {place}\n\n{table(head, body)}\n\nRounds: {_rounds(found)}.")
        if not parts:
            return ""
        plot = f"{{plot {operation}: {title}: whole command by size, without clients}}"
        return "\n\n".join([f"## {title}, nobody connected", _quiet_prose(operation), plot, *parts])

    return section


def _rounds(rows: Sequence[Row]) -> str:
    """How many there were, and of which size where they are not of one number."""
    counts = {size: len({row["round"] for row in rows if row["megabytes"] == size}) for size in sizes(rows)}
    if len(set(counts.values())) == 1:
        return str(*set(counts.values()))
    return ", ".join(f"{number} at {size} MB" for size, number in counts.items())


def _quiet_prose(operation: str) -> str:
    if operation == "backup":
        return wrapped(
            f"""
            The time is that of the whole command, from its start to its end. The ratio to snapkit is in brackets.

            psql runs the statements alone. They give the copy neither privileges nor settings, and they do not seal it.
            The manual procedure is that of the guide that snapkit grew out of, in psql. `{DUMP}` makes a second
            database through a pipe.
            """
        )
    return wrapped(
        f"""
        The time is that of the whole command, until the backup is live again. `{SNAPKIT}` and the manual procedure swap
        names, and use the backup up. `{KEEPING}` copies the backup first. DSLR copies it after dropping the live
        database. `{DUMP}` stands for dropdb, createdb and pg_restore of a file.
        """
    )


def _time_cell(rows: Sequence[Row], contender: str, size: int) -> str:
    theirs = [row for row in rows if row["contender"] == contender and row["megabytes"] == size]
    ours = [row for row in rows if row["contender"] == SNAPKIT and row["megabytes"] == size]
    summary = summarise(theirs)
    if not theirs:
        return "–"
    if summary.wall_ms is None:
        return "failed"
    times = factor(ratio(ours, theirs)) if contender != SNAPKIT else ""
    missed = "" if summary.good == summary.runs else f", {summary.good} of {summary.runs}"
    return duration(summary.wall_ms) + (f" (×{times}{missed})" if times else missed)


def busy(operation: str) -> Section:
    def section(rows: Sequence[Row]) -> str:
        parts = []
        for place in places(rows):
            found = [row for row in of_place(rows, "operations", place, operation=operation) if row["clients"]]
            body = [
                _busy_row(size, contender, [row for row in those if row["contender"] == contender])
                for size in sizes(found)
                for those in [[row for row in found if row["megabytes"] == size]]
                for contender in ordered(those)
            ]
            if body:
                parts.append(f"### {place}, {operation}\n\n{table(_BUSY_HEAD, body, 2)}")
        if not parts:
            return ""
        clients = max(int(row["clients"]) for row in select(rows, "operations"))
        plot = f"{{plot {operation}_waits: {operation.capitalize()}: what the client waited that waited longest}}"
        return "\n\n".join(
            [f"## {operation.capitalize()} under {clients} clients", _busy_prose(rows, operation), plot, *parts]
        )

    return section


_BUSY_HEAD = (
    "size", "contender", "did what was asked", "whole command", "longest wait, median", "95th percentile",
    "failed queries per run", "refused connections per run",
)  # fmt: skip


def _busy_row(size: int, contender: str, rows: Sequence[Row]) -> list[str]:
    summary = summarise(rows)
    return [
        f"{size} MB",
        contender,
        f"{summary.good} of {summary.runs}",
        duration(summary.wall_ms),
        duration(summary.waited),
        duration(summary.waited_95) + (f"; in {summary.unserved} not served again" if summary.unserved else ""),
        per_run(summary.failed),
        per_run(summary.turned_away),
    ]


def _busy_prose(rows: Sequence[Row], operation: str) -> str:
    found = [row for row in select(rows, "operations", operation=operation) if row["clients"]]
    away = {name: codes([row for row in found if row["contender"] == name], "failed") for name in ordered(found)}
    listed = "; ".join(f"{name}: {counted(each)}" for name, each in away.items())
    explained = (
        f"""
        **Clients** are the threads of one process. Each of them reads a row (one query in ten writes one), and then
        pauses for {THOUGHT * 1000:.0f} ms on average. When it is disconnected, it reconnects at once, as a pool does.
        When it is refused, it reconnects {TURNED_AWAY_PAUSE * 1000:.0f} ms later.

        **A wait** is the time from wanting an answer to having it, retries included. The figure of a run is that of the
        client that waited longest. A client that has no answer {LIMIT:.0f} s after the command has ended counts as not
        served again.

        **Failed queries** are those that were cut off. Refused connections are counted separately.
        """
        if operation == "backup"
        else ""
    )
    return wrapped(explained + f"\n\nFailed queries by SQLSTATE, over all runs: {listed}.")
