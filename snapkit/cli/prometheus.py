"""A status in Prometheus' text format. https://prometheus.io/docs/instrumenting/exposition_formats/"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from snapkit.core.inventory.freshness import StatusReport
from snapkit.core.inventory.kinds import Kind

_Sample = tuple[Mapping[str, str], float]


def exposition(report: StatusReport) -> str:
    """Return the metrics of a report; a family without a sample is left out."""
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
