"""docs/performance.md, from results alone: what it says of figures is filled in from them."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import environment, scale, startup
from benchmarks.contenders import DUMP, KEEPING, MANUAL, ONLINE, SNAPKIT
from benchmarks.findings import Place, codes, count, distinct, places, ratio, select, sizes, summarise
from benchmarks.goals import verdicts
from benchmarks.interrupted import WAYS
from benchmarks.load import LIMIT, THOUGHT, TURNED_AWAY_PAUSE
from benchmarks.markdown import counted, duration, factor, megabytes, per_run, table
from benchmarks.pooler import PAUSED
from benchmarks.results import Row
from benchmarks.statistics import median, percentile

Section = Callable[[Sequence[Row]], str]


def write_page(rows: Sequence[Row], page: Path) -> None:
    """Write the page, and its plots into a directory beside it that has the page's name."""
    from benchmarks.plots import draw

    directory = page.with_suffix("")
    drawn = draw(rows, directory)
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(page_of(rows, {name: f"{directory.name}/{name}.svg" for name in drawn}), encoding="utf-8")


def page_of(rows: Sequence[Row], plots: dict[str, str]) -> str:
    """Return the page; ``plots`` are those that there are, and where they are."""
    sections = (
        _head, _ground, _goals, _quiet("backup", "Backup"), _quiet("rollback", "Rollback"), _busy("backup"),
        _busy("rollback"), _swaps, _pooled, _online, _costs, _interrupted, _startup, _scale, _limits,
    )  # fmt: skip
    text = "\n\n".join(part for section in sections if (part := section(rows).strip()))
    return _with_plots(text, plots) + "\n"


def _with_plots(text: str, plots: dict[str, str]) -> str:
    def shown(match: re.Match[str]) -> str:
        place = plots.get(match["name"])
        return f"![{match['title']}]({place})" if place else ""

    text = re.sub(r"\{plot (?P<name>\S+): (?P<title>[^}]*)\}", shown, text)
    return re.sub(r"\n{3,}", "\n\n", text)


def _prose(text: str) -> str:
    """Wrap paragraphs as the other pages are wrapped."""
    paragraphs = re.split(r"\n\s*\n", textwrap.dedent(text).strip())
    return "\n\n".join(textwrap.fill(" ".join(each.split()), 120, break_on_hyphens=False) for each in paragraphs)


def _here(rows: Sequence[Row], scenario: str, place: Place, **conditions: object) -> list[Row]:
    return select(rows, scenario, postgres=place.postgres, filesystem=place.filesystem, **conditions)


# --- what it is about ---


def _head(rows: Sequence[Row]) -> str:
    dates = sorted(str(date) for date in distinct(rows, "date"))
    when = f"{dates[0]} to {dates[-1]}" if len(set(dates)) > 1 else "".join(dates[:1])
    return "# Performance\n\n" + _prose(
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


def _ground(rows: Sequence[Row]) -> str:
    found = list(
        {(row["date"], row["postgres"], row["filesystem"]): row for row in select(rows, environment.NAME)}.values()
    )
    if not found:
        return ""
    head = ("date", "PostgreSQL", "file system", "sequential write", "load average at the start", "snapkit")
    body = [
        (
            row["date"],
            row["version"],
            row["filesystem"],
            f"{megabytes(row['written_per_second'])}/s",
            str(row["load_average"]),
            row["snapkit"],
        )
        for row in found
    ]
    machines = {
        f"{row['processor']}, {row['cores']} cores, {row['memory_bytes'] / 2**30:.0f} GiB of memory; {row['system']},"
        f" Linux {row['kernel']}; Python {row['python']}, psycopg {row['psycopg']}, SQLAlchemy {row['sqlalchemy']},"
        f" Typer {row['typer']}; DSLR {row['dslr']}; PgBouncer {row['pgbouncer'] or 'not installed'}."
        for row in found
    }
    prose = _prose(
        """
        The server has its default settings, but fsync on and wal_level replica are set expressly, and max_connections
        is 150. Commands connect over TCP with a password, as superuser. XFS lies in a sparse file on the machine's own
        disk, by a loop device: compare the contenders on one file system, not one file system with the other. The
        sequential write is 256 MiB with one fsync. The data is pgbench's.
        """
    )
    sizes_found = {
        int(row["megabytes"]): int(row["size_bytes"]) for row in rows if "megabytes" in row and "size_bytes" in row
    }
    exact = ", ".join(f"{size} MB: {megabytes(found)}" for size, found in sorted(sizes_found.items()))
    return "\n\n".join(
        [
            "## What was measured on what",
            *sorted(machines),
            table(head, body, 3),
            prose,
            f"Sizes as they really were: {exact}.",
        ]
    )


def _goals(rows: Sequence[Row]) -> str:
    found = verdicts(rows)
    if not found:
        return ""
    body = [(each.goal, each.where, each.found, "yes" if each.reached else "**no**") for each in found]
    reached = sum(each.reached for each in found)
    prose = _prose(
        f"""
        {reached} of {len(found)} reached. Start-up is the time that `{startup.LIST}` takes; a wait is that of the
        client that waited longest.
        """
    )
    head = ("goal", "where", "found", "reached")
    return "\n\n".join(["## Against the goals", prose, table(head, body, 4)])


# --- one command at a time ---


def _quiet(operation: str, title: str) -> Section:
    def section(rows: Sequence[Row]) -> str:
        parts = []
        for place in places(rows):
            found = _here(rows, "operations", place, clients=0, operation=operation)
            columns = sizes(found)
            body = [
                [str(contender), *(_time_cell(found, str(contender), size) for size in columns)]
                for contender in _ordered(found)
            ]
            rounds = len({row["round"] for row in found})
            if body:
                head = ["whole command", *(f"{size} MB" for size in columns)]
                parts.append(f"### {place}\n\n{table(head, body)}\n\nRounds: {rounds}.")
        if not parts:
            return ""
        plot = f"{{plot {operation}: {title}: whole command by size, without clients}}"
        return "\n\n".join([f"## {title}, nobody connected", _quiet_prose(operation), plot, *parts])

    return section


def _quiet_prose(operation: str) -> str:
    if operation == "backup":
        return _prose(
            f"""
            The whole command from its start to its end, with the ratio to snapkit in brackets. The statements alone are
            run by psql; they give neither privileges nor settings to the copy, and seal nothing. The manual procedure
            is that of the guide that snapkit grew out of, in psql. `{DUMP}` makes a second database by way of a pipe.
            """
        )
    return _prose(
        f"""
        The whole command that has the backup live again. `{SNAPKIT}` and the manual procedure swap names and use the
        backup up; `{KEEPING}` copies it first, and DSLR copies it after it has dropped the live database; `{DUMP}`
        stands for dropdb, createdb and pg_restore of a file.
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


def _ordered(rows: Sequence[Row]) -> list[str]:
    """Return the contenders, ours first."""
    names = [str(each) for each in distinct(rows, "contender")]
    return sorted(names, key=lambda name: (not name.startswith(SNAPKIT), name))


def _busy(operation: str) -> Section:
    def section(rows: Sequence[Row]) -> str:
        parts = []
        for place in places(rows):
            found = [row for row in _here(rows, "operations", place, operation=operation) if row["clients"]]
            body = [
                _busy_row(size, contender, [row for row in those if row["contender"] == contender])
                for size in sizes(found)
                for those in [[row for row in found if row["megabytes"] == size]]
                for contender in _ordered(those)
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
    away = {name: codes([row for row in found if row["contender"] == name], "failed") for name in _ordered(found)}
    listed = "; ".join(f"{name}: {counted(each)}" for name, each in away.items())
    explained = (
        f"""
        The clients are threads of a process of their own; each reads a row (one query in ten writes one), thinks for
        {THOUGHT * 1000:.0f} ms on average, and reconnects at once when it is disconnected, as a pool does, and
        {TURNED_AWAY_PAUSE * 1000:.0f} ms later when it is refused. A wait is the time from wanting an answer to having
        it, retries included; the figure of a run is that of the client that waited longest. A client that has no answer
        {LIMIT:.0f} s after the command has ended counts as not served again. A query that was cut off has failed; a
        connection that was refused is counted apart.
        """
        if operation == "backup"
        else ""
    )
    return _prose(explained + f"\n\nFailed queries by SQLSTATE, over all runs: {listed}.")


# --- swaps, the pooler ---


def _swaps(rows: Sequence[Row]) -> str:
    body = []
    for place in places(rows):
        for size in sizes(_here(rows, "swaps", place)):
            for contender in (SNAPKIT, MANUAL):
                found = _here(rows, "swaps", place, megabytes=size, contender=contender)
                if found:
                    body.append(_swaps_row(place, size, contender, found))
    if not body:
        return ""
    lost = [row for row in select(rows, "swaps", contender=MANUAL) if row["lost_its_name"]]
    clients = max(int(row["clients"]) for row in select(rows, "swaps"))
    prose = _prose(
        f"""
        An undo is the same transaction as a rollback, and can be repeated without a copy: hence many runs, in turn with
        the manual procedure, under {clients} clients. Reported is the `outage_ms` that snapkit itself says. In
        {len(lost)} runs of the manual procedure the first rename went through and the second did not, so that there was
        no database of the name; the benchmark renamed it back.
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
    every = [wait for row in rows for wait in row["waits_ms"]]
    return [
        str(place),
        f"{size} MB",
        contender,
        f"{summary.good} of {summary.runs}",
        duration(summary.waited),
        duration(summary.waited_95),
        duration(max(summary.waits, default=None)),
        duration(percentile(every, 95)),
        duration(median([row["reported_outage_ms"] for row in rows if "reported_outage_ms" in row])),
        per_run(summary.failed),
    ]


def _pooled(rows: Sequence[Row]) -> str:
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
    prose = _prose(
        f"""
        {clients} clients go on behind a transaction pool while a backup, a rollback to it and a prune follow one
        another without a pause. `{PAUSED}` is with `--pgbouncer-url`; the other is the same without it.
        """
    )
    return "\n\n".join(["## Behind PgBouncer", prose, table(head, body)])


# --- without holding, and what it all uses ---


def _online(rows: Sequence[Row]) -> str:
    body = []
    for place in places(rows):
        found = _here(rows, "online", place)
        for size in sizes(found):
            for clients in distinct(found, "clients"):
                those = [row for row in found if row["megabytes"] == size and row["clients"] == clients]
                ours = [row for row in those if row["contender"] == ONLINE]
                for contender in _ordered(those):
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


def _costs(rows: Sequence[Row]) -> str:
    body = []
    for place in places(rows):
        found = _here(rows, "operations", place, clients=0)
        if not found:
            continue
        size = max(sizes(found))
        for operation in ("backup", "rollback"):
            those = [row for row in found if row["megabytes"] == size and row["operation"] == operation and row["good"]]
            for contender in _ordered(those):
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
    prose = _prose(
        """
        By how much the disk in use has grown when the command has ended (WAL aside; on XFS as the file system says it,
        so that shared blocks count once; a negative figure is room that became free), how much WAL was written, and the
        command's own CPU time, the server's not included. Medians, at the largest size, nobody connected.
        """
    )
    head = ("where", "size", "operation", "contender", "disk", "WAL", "CPU time of the command")
    return "\n\n".join(["## Disk, WAL and processor", prose, table(head, body, 4)])


# --- cut off ---


def _interrupted(rows: Sequence[Row]) -> str:
    found = select(rows, "interrupted")
    if not found:
        return ""
    body = []
    for place in places(rows):
        here = _here(rows, "interrupted", place)
        for contender in _ordered(here):
            for way in WAYS:
                those = [row for row in here if row["contender"] == contender and row["way"] == way]
                if those:
                    body.append([str(place), contender, way, *_outcome_cells(those)])
    where = ", ".join(f"{size} MB" for size in sizes(found))
    head = (
        "where", "contender", "way", "the source just then", "the source when the server is idle again",
        "what was live before still exists", "the backup still exists",
    )  # fmt: skip
    prose = _prose(
        f"""
        A rollback ({where}, nobody connected) is cut off at moments spread evenly over the time that it takes, in two
        ways: the command and its children are killed (SIGKILL), or the server is stopped at once (`pg_ctl stop -m
        immediate`) and started again. Then the source is looked at under its own name: directly, and when no session is
        left at work, since PostgreSQL finishes a `CREATE DATABASE` whose client has died. *As before the rollback* and
        *as backed up* are whole states; *incomplete* lacks rows or tables; *missing* is no database of that name, or
        none that lets anybody in within seconds. A contender that drops the live database discards what was written
        since the backup by intention; the column tells whether it could still be had.
        """
    )
    broken = "; ".join(
        f"{contender}: {sum(row['finally'] in _NOT_WHOLE for row in those)} of {len(those)}"
        for contender in _ordered(found)
        for those in [[row for row in found if row["contender"] == contender]]
    )
    total = _prose(
        f"""
        Times that the source was not whole when the server was idle again: {broken}. What becomes of snapkit at each of
        its statements is in the [crash table](crash-table.md).
        """
    )
    return "\n\n".join(["## A rollback that is cut off", prose, table(head, body, 7), total])


_NOT_WHOLE = ("missing", "incomplete")


def _outcome_cells(rows: Sequence[Row]) -> list[str]:
    def told(column: str) -> str:
        values = [row[column] for row in rows]
        return ", ".join(f"{value}: {values.count(value)}" for value in dict.fromkeys(values))

    def kept(column: str) -> str:
        return f"{sum(row[column] for row in rows)} of {len(rows)}"

    return [told("at_once"), told("finally"), kept("live_kept"), kept("backup_kept")]


# --- start-up, scale, limits ---


def _startup(rows: Sequence[Row]) -> str:
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


def _scale(rows: Sequence[Row]) -> str:
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
    prose = _prose("Backups of a nearly empty database, on a server with fsync off. Memory is the command's largest.")
    head = ("backups", "command", "time", "memory", "runs")
    return "\n\n".join(["## Very many backups", prose, table(head, body, 2)]) if body else ""


def _limits(rows: Sequence[Row]) -> str:
    refused = sum(count(row, "turned_away") for row in rows if isinstance(row.get("turned_away"), dict))
    return "## What is not measured\n\n" + _prose(
        f"""
        Networks: everything is on one machine, and clients, server and commands share its cores; what a client waits
        includes waiting for a core. Managed PostgreSQL. Databases larger than the largest size above, and data of
        another shape than pgbench's (many small tables, large objects). Cold caches: the source has just been read.
        Standbys, and what FILE_COPY costs them. The processor time of the server. Why a connection was refused:
        libpq gives no SQLSTATE for that ({refused:,} refusals in all results). A person's time: the manual procedure is
        run by psql at once, without typing, reading or thinking.
        """
    )
