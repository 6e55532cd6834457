"""``snapkit status``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from snapkit.cli.arguments import AllSources
from snapkit.cli.invocation import Invocation
from snapkit.cli.registry import registry
from snapkit.core.inventory.kinds import Kind
from snapkit.core.outcome import Outcome
from snapkit.core.values import dataclass
from snapkit.errors import NOTHING_CHANGED, SnapkitError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from snapkit.cli.envelope import Document
    from snapkit.core.inventory.freshness import SourceStatus, StatusReport
    from snapkit.core.reporting import Caution

_Sample = tuple[Mapping[str, str], float]


@dataclass(frozen=True, slots=True)
class Exposition(Outcome):
    """A report that is told to Prometheus."""

    report: StatusReport
    tells_where: ClassVar[bool] = False

    @property
    def cautions(self) -> tuple[Caution, ...]:
        return self.report.cautions

    @property
    def shortfall(self) -> SnapkitError | None:
        return self.report.shortfall


def _text(result: StatusReport | Exposition, console: Console) -> None:
    if isinstance(result, Exposition):
        console.file.write(exposition(result.report))
    else:
        _print_report(result, console)


def _print_report(result: StatusReport, console: Console) -> None:
    from snapkit.cli.format import age_text, count_text, printable, size_text
    from snapkit.cli.table import Column, fits, print_stacked, print_table

    if not result.sources:
        console.print("snapkit has made no backup on this server yet.")
        return
    newest, ages, verdicts, styles = [], [], [], []
    for each in result.sources:
        newest.append(printable(each.newest.name) if each.newest else "none")
        ages.append(age_text(each.newest.created_at, result.now) if each.newest else "")
        is_bad = each.newest is None or each in result.too_old
        verdicts.append("no backup" if each.newest is None else "too old" if is_bad else "ok")
        styles.append("red" if is_bad else "green")
    columns = [
        Column("SOURCE", [printable(each.source) for each in result.sources]),
        Column("BACKUPS", [str(len(each.backups)) for each in result.sources]),
        Column("NEWEST", newest),
        Column("AGE", ages),
    ]
    if result.sized:
        columns.append(Column("BACKUP SIZE", [size_text(each.size(Kind.BACKUP)) for each in result.sources]))
        columns.append(Column("OLD SIZE", [size_text(each.size(Kind.OLD)) for each in result.sources]))
    if result.max_age is not None:
        columns.append(Column("STATUS", verdicts, styles))
    if fits(columns, console):
        print_table(columns, console)
        return
    for row, each in enumerate(result.sources):
        facts = [f"newest {newest[row]} ({ages[row]})", count_text(len(each.backups), "backup")] if each.newest else []
        if result.sized:
            sizes = (("backups", each.size(Kind.BACKUP)), ("old", each.size(Kind.OLD)))
            facts += [f"{name} {size_text(size)}" for name, size in sizes if size]
        verdict = (verdicts[row], styles[row]) if result.max_age is not None or not each.newest else None
        print_stacked(each.source, verdict, facts, console)


def _data(result: StatusReport | Exposition) -> Document:
    from snapkit.core.durations import milliseconds

    report = result.report if isinstance(result, Exposition) else result
    return {
        "max_age_ms": milliseconds(report.max_age) if report.max_age else None,
        "sources": [_status(each, report) for each in report.sources],
    }


def _status(status: SourceStatus, report: StatusReport) -> Document:
    from snapkit.cli.entry_facts import entry_document
    from snapkit.core.durations import milliseconds

    age = status.age(report.now)
    is_judged = report.max_age is not None
    return {
        "source": status.source,
        "ok": status not in (*report.without, *report.too_old) if is_judged else None,
        "backups": len(status.backups),
        "newest": entry_document(status.newest) if status.newest else None,
        "age_ms": None if age is None else milliseconds(age),
        "backups_size_bytes": status.size(Kind.BACKUP) if report.sized else None,
        "old_size_bytes": status.size(Kind.OLD) if report.sized else None,
    }


def exposition(report: StatusReport) -> str:
    """Return a report in Prometheus' text format; a family without a sample is left out.

    https://prometheus.io/docs/instrumenting/exposition_formats/
    """
    families: list[tuple[str, str, list[_Sample]]] = [
        (
            "snapkit_backups",
            "Number of backups that are ready.",
            [({"source": each.source}, len(each.backups)) for each in report.sources],
        ),
        (
            "snapkit_backup_last_success_timestamp_seconds",
            "When the newest backup that is ready was made, in seconds since 1970.",
            [
                ({"source": each.source}, each.newest.created_at.timestamp())
                for each in report.sources
                if each.newest is not None
            ],
        ),
        (
            "snapkit_backup_age_seconds",
            "Age of the newest backup that is ready, when this was asked.",
            [
                ({"source": each.source}, age.total_seconds())
                for each in report.sources
                if (age := each.age(report.now)) is not None
            ],
        ),
    ]
    if report.sized:
        families.append(("snapkit_size_bytes", "Size of the databases that snapkit keeps.", list(_sizes(report))))
    return "".join(_family(*family) for family in families)


def _sizes(report: StatusReport) -> Iterator[_Sample]:
    for each in report.sources:
        for kind in (Kind.BACKUP, Kind.OLD):
            size = each.size(kind)
            if size is not None:
                yield {"source": each.source, "kind": kind.value}, size


def _family(name: str, meaning: str, samples: list[_Sample]) -> str:
    if not samples:
        return ""
    lines = [f"# HELP {name} {meaning}", f"# TYPE {name} gauge"]
    for labels, value in samples:
        written = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
        lines.append(f"{name}{{{written}}} {_number(value)}")
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


@registry.command("status", changes=False, text=_text, data=_data, examples=["snapkit status --max-age 24h"])
def status(
    run: Invocation,
    *,
    max_age: Annotated[
        str | None,
        typer.Option(
            "--max-age", metavar="DURATION", help="Fail if there is no backup younger than this, such as 24h."
        ),
    ] = None,
    sizes: Annotated[bool, typer.Option("--sizes", help="Show the size of the databases.")] = False,
    all_sources: AllSources = False,
    prometheus: Annotated[bool, typer.Option("--prometheus", help="Print metrics in Prometheus' text format.")] = False,
) -> StatusReport | Exposition:
    """Tell a monitor how old the newest backup is."""
    if prometheus and run.is_json:
        raise UsageError("Give either --json or --prometheus.", state=NOTHING_CHANGED)
    limit = run.settings({"max_age": max_age}).max_age
    server = run.server()
    from snapkit.services.status import report_status

    poolers = run.poolers(None)
    report = report_status(server, max_age=limit, sizes=sizes, all_sources=all_sources, poolers=poolers)
    return Exposition(report) if prometheus else report
