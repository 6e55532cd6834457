"""docs/performance.md, from results alone: what it says of figures is filled in from them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from benchmarks.results import Row
from benchmarks.sections.clients import online, pooled, swaps
from benchmarks.sections.commands import busy, quiet
from benchmarks.sections.costs import costs, start_up, very_many
from benchmarks.sections.cut_off import interrupted
from benchmarks.sections.ground import goals, ground, head, limits


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
        head, ground, goals, quiet("backup", "Backup"), quiet("rollback", "Rollback"), busy("backup"),
        busy("rollback"), swaps, pooled, online, costs, interrupted, start_up, very_many, limits,
    )  # fmt: skip
    text = "\n\n".join(part for section in sections if (part := section(rows).strip()))
    return _with_plots(text, plots) + "\n"


def _with_plots(text: str, plots: dict[str, str]) -> str:
    def shown(match: re.Match[str]) -> str:
        place = plots.get(match["name"])
        return f"![{match['title']}]({place})" if place else ""

    text = re.sub(r"\{plot (?P<name>\S+): (?P<title>[^}]*)\}", shown, text)
    return re.sub(r"\n{3,}", "\n\n", text)
