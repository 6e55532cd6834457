"""What is there to spare clients: many swaps, PgBouncer, and a copy that holds nobody."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks.contenders import MANUAL, NOTHING_BUT_LEAVING, ONLINE
from benchmarks.findings import (
    Place,
    distinct,
    of_place,
    ordered,
    places,
    ratio,
    select,
    sizes,
    summarise,
)
from benchmarks.markdown import duration, factor, per_run, table, wrapped
from benchmarks.pooler import PAUSED
from benchmarks.results import Row
from benchmarks.statistics import median, percentile
from benchmarks.swaps import CONTENDERS

Section = Callable[[Sequence[Row]], str]


def swaps(rows: Sequence[Row]) -> str:
    body = []
    for place in places(rows):
        for size in sizes(of_place(rows, "swaps", place)):
            for contender in CONTENDERS:
                found = of_place(rows, "swaps", place, megabytes=size, contender=contender)
                if found:
                    body.append(_swaps_row(place, size, contender, found))
    if not body:
        return ""
    lost = [row for row in select(rows, "swaps", contender=MANUAL) if row["lost_its_name"]]
    clients = max(int(row["clients"]) for row in select(rows, "swaps"))
    prose = wrapped(
        f"""
        An undo is the same transaction as a rollback, and can be repeated without a copy. So it was run many times
        under {clients} clients, in turn with the manual procedure. "Reported" is the `outage_ms` that snapkit itself
        shows.

        In {len(lost)} runs of the manual procedure, the first rename succeeded and the second one failed. That leaves
        no database of that name, so the benchmark renamed it back.

        `{NOTHING_BUT_LEAVING}` swaps nothing. It shows how long clients wait only because all of them reconnect at
        once, on a machine that they share with the server.
        """
    )
    head = (
        "where", "size", "contender", "did what was asked", "longest wait, median", "95th percentile", "maximum",
        "every client, 95th percentile", "reported, median", "failed queries per run",
    )  # fmt: skip
    return "\n\n".join(
        [
            "## Many swaps",
            prose,
            "{plot swaps: Swaps: what the client waited that waited longest}",
            table(head, body, 3),
        ]
    )


def _swaps_row(place: Place, size: int, contender: str, rows: Sequence[Row]) -> list[str]:
    summary = summarise(rows)
    return [
        str(place),
        f"{size} MB",
        contender,
        f"{summary.good} of {summary.runs}",
        duration(summary.waited),
        duration(summary.waited_95),
        duration(max(summary.waits, default=None)),
        duration(summary.everybody_95),
        duration(median([row["reported_outage_ms"] for row in rows if "reported_outage_ms" in row])),
        per_run(summary.failed),
    ]


def pooled(rows: Sequence[Row]) -> str:
    body = []
    for total in select(rows, "pgbouncer", row="total"):
        conditions = {key: total[key] for key in ("postgres", "filesystem", "megabytes", "mode", "minutes")}
        found = select(rows, "pgbouncer", **conditions)
        laps = list({row["row"]: row for row in found if row["row"] != "total"}.values())  # the last run's
        waits = {
            name: [max(row["waits_ms"]) for row in laps if row["operation"] == name] for name in ("backup", "rollback")
        }
        body.append(
            [
                total["mode"],
                f"{total['load_seconds'] / 60:.1f}",
                f"{total['operations']:,}",
                f"{total['refused']:,}",
                f"{total['queries']:,}",
                f"{total['failed']:,}",
                f"{total['turned_away']:,}",
                *(duration(percentile(waits[name], 95)) for name in waits),
                duration(max((max(row["waits_ms"]) for row in laps), default=None)),
            ]
        )
    skipped = [row["skipped"] for row in rows if row["scenario"] == "pgbouncer" and "skipped" in row]
    if not body:
        return f"## Behind PgBouncer\n\nNot measured: {skipped[-1]}" if skipped else ""
    head = (
        "pool", "minutes", "backups and rollbacks", "of them failed", "queries", "failed", "refused connections",
        "longest wait in a backup, 95th percentile", "in a rollback", "longest of all",
    )  # fmt: skip
    clients = max(int(row["clients"]) for row in select(rows, "pgbouncer"))
    prose = wrapped(
        f"""
        {clients} clients work behind a transaction pool. Meanwhile a backup, a rollback to it and a prune follow one
        another without a pause. `{PAUSED}` is with `--pgbouncer-url`. The other row is the same without it.
        """
    )
    return "\n\n".join(["## Behind PgBouncer", prose, table(head, body)])


def online(rows: Sequence[Row]) -> str:
    body = []
    for place in places(rows):
        found = of_place(rows, "online", place)
        for size in sizes(found):
            for clients in distinct(found, "clients"):
                those = [row for row in found if row["megabytes"] == size and row["clients"] == clients]
                ours = [row for row in those if row["contender"] == ONLINE]
                for contender in ordered(those):
                    theirs = [row for row in those if row["contender"] == contender]
                    summary = summarise(theirs)
                    times = factor(ratio(ours, theirs)) if contender != ONLINE else "1"
                    body.append(
                        [
                            str(place),
                            f"{size} MB",
                            str(clients),
                            contender,
                            f"{summary.good} of {summary.runs}",
                            duration(summary.wall_ms),
                            times or "–",
                            duration(summary.waited_95),
                            per_run(summary.failed),
                        ]
                    )
    skipped = [row["skipped"] for row in rows if row["scenario"] == "online" and "skipped" in row]
    note = (
        f"\n\nNot measured: `{ONLINE}` ({skipped[-1]})"
        if skipped and not select(rows, "online", contender=ONLINE)
        else ""
    )
    if not body:
        return ""
    head = (
        "where", "size", "clients", "contender", "did what was asked", "whole command", "ratio",
        "longest wait, 95th percentile", "failed queries per run",
    )  # fmt: skip
    return "## A copy that holds nobody\n\n" + table(head, body, 4) + note
