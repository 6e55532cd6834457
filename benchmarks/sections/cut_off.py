"""What is there after a rollback that was cut off."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks.findings import (
    of_place,
    ordered,
    places,
    select,
    sizes,
)
from benchmarks.interrupted import WAYS
from benchmarks.markdown import table, wrapped
from benchmarks.results import Row

Section = Callable[[Sequence[Row]], str]


def interrupted(rows: Sequence[Row]) -> str:
    found = select(rows, "interrupted")
    if not found:
        return ""
    body = []
    for place in places(rows):
        here = of_place(rows, "interrupted", place)
        for contender in ordered(here):
            for way in WAYS:
                those = [row for row in here if row["contender"] == contender and row["way"] == way]
                if those:
                    body.append([str(place), contender, way, *_outcome_cells(those)])
    where = ", ".join(f"{size} MB" for size in sizes(found))
    head = (
        "where", "contender", "way", "the source just then", "the source when the server is idle again",
        "what was live before still exists", "the backup still exists",
    )  # fmt: skip
    prose = wrapped(
        f"""
        A rollback ({where}, nobody connected) is interrupted at moments spread evenly over the time that it takes.
        There are two ways: the command and its children are killed (SIGKILL), or the server is stopped at once
        (`pg_ctl stop -m immediate`) and started again.

        Then the benchmark looks at the source under its own name, twice: directly, and again when no session is active
        any more. (PostgreSQL finishes a `CREATE DATABASE` whose client has died.)

        *As before the rollback* and *as backed up* are whole states. *Incomplete* lacks rows or tables. *Missing* means
        that there is no database of that name, or none that accepts connections within seconds.

        A contender that drops the live database discards on purpose what was written since the backup. The column "what
        was live before still exists" shows whether those writes could still be had.
        """
    )
    broken = "; ".join(
        f"{contender}: {sum(row['finally'] in _NOT_WHOLE for row in those)} of {len(those)}"
        for contender in ordered(found)
        for those in [[row for row in found if row["contender"] == contender]]
    )
    total = wrapped(
        f"""
        How often the source was not whole when the server was idle again: {broken}. The
        [crash table](crash-table.md) shows what happens when snapkit is interrupted at each of its statements.
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
