"""The page's plots, as SVG: few colours, thin lines, words where they belong."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.contenders import OPERATIONS, SNAPKIT
from benchmarks.findings import Place, distinct, places, select, sizes, summarise
from benchmarks.results import Row
from benchmarks.swaps import CONTENDERS

_OURS = "#0b6e4f"
_COLOURS = ("#c1502e", "#4062bb", "#8d6a9f", "#b08900", "#5b8e9e", "#777777", "#a23b72", "#3c3c3c")
_GRID = "#e4e4e4"
_INK = "#333333"


def draw(rows: Sequence[Row], directory: Path) -> list[str]:
    """Draw what there are results for, and return the names; none where matplotlib is not installed."""
    try:
        import matplotlib as mpl
    except ImportError:
        print("No plots: pip install -e '.[benchmarks]'")
        return []
    mpl.use("Agg")
    mpl.rcParams |= {
        "svg.hashsalt": "snapkit", "font.size": 9, "font.family": "sans-serif", "text.color": _INK,
        "axes.edgecolor": "#999999", "axes.labelcolor": _INK, "xtick.color": _INK, "ytick.color": _INK,
        "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": _GRID,
        "axes.axisbelow": True, "figure.facecolor": "white",
    }  # fmt: skip
    directory.mkdir(parents=True, exist_ok=True)
    drawn = []
    for operation in ("backup", "rollback"):
        drawn += _times(rows, operation, directory)
        drawn += _waits(rows, operation, directory)
    return drawn + _swaps(rows, directory)


def _panels(number: int, width: float, height: float) -> tuple[Any, list[Any]]:
    """Return a figure with that many panels, two in a row, on the same scales."""
    from matplotlib import pyplot

    columns = min(2, number)
    lines = -(-number // columns)
    size = (width * columns, height * lines)
    figure, grid = pyplot.subplots(lines, columns, figsize=size, squeeze=False, sharex=True, sharey=True)
    panels = [panel for line in grid for panel in line]
    for unused in panels[number:]:
        unused.set_visible(False)
    for panel in panels[:number]:
        panel.tick_params(labelbottom=True)
    return figure, panels[:number]


def _save(figure: Any, directory: Path, name: str) -> list[str]:
    from matplotlib import pyplot

    figure.savefig(directory / f"{name}.svg", metadata={"Date": None}, bbox_inches="tight")
    pyplot.close(figure)
    return [name]


def _names(rows: Sequence[Row]) -> list[str]:
    return sorted(
        (str(each) for each in distinct(rows, "contender")), key=lambda name: (not name.startswith(SNAPKIT), name)
    )


def _colour(name: str) -> str:
    """A contender has the same colour in every plot."""
    others = [contender.name for contender in OPERATIONS if contender.name != SNAPKIT]
    return _COLOURS[others.index(name) % len(_COLOURS)] if name in others else _OURS


def _times(rows: Sequence[Row], operation: str, directory: Path) -> list[str]:
    """Whole command by size, a line for each contender, a panel for each server."""
    found = select(rows, "operations", clients=0, operation=operation)
    shown = [place for place in places(rows) if _of(found, place)]
    if not shown:
        return []
    names = _names(found)
    figure, panels = _panels(len(shown), 4.4, 3.3)
    for place, panel in zip(shown, panels, strict=True):
        here = _of(found, place)
        for name in names:
            points = [
                (size, wall)
                for size in sizes(here)
                if (wall := summarise([r for r in here if r["contender"] == name and r["megabytes"] == size]).wall_ms)
            ]
            if points:
                ours = name == SNAPKIT
                panel.plot(
                    [x for x, _ in points], [y / 1000 for _, y in points], marker="o", markersize=5 if ours else 3.5,
                    linewidth=2.2 if ours else 1.2, color=_colour(name), label=name, zorder=3 if ours else 2,
                )  # fmt: skip
        panel.set_title(str(place), fontsize=9.5, loc="left")
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.set_xticks(sizes(here), [f"{size}" for size in sizes(here)])
        panel.minorticks_off()
        panel.yaxis.set_major_formatter(lambda value, position: f"{value:g} s")
        panel.set_xlabel("MB")
    _legend(figure, panels)
    return _save(figure, directory, operation)


def _legend(figure: Any, panels: Sequence[Any]) -> None:
    """One legend for all panels, under them; a contender that only some panels have is in it too."""
    entries = {label: line for panel in panels for line, label in zip(*panel.get_legend_handles_labels(), strict=True)}
    columns = min(3, len(entries))
    figure.tight_layout()
    figure.legend(
        entries.values(), entries.keys(), loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=columns, frameon=False
    )


def _waits(rows: Sequence[Row], operation: str, directory: Path) -> list[str]:
    """What clients waited, a dot for each run, at the largest size; a panel for each server."""
    found = [row for row in select(rows, "operations", operation=operation) if row.get("waits_ms")]
    shown = [place for place in places(rows) if _of(found, place)]
    if not shown:
        return []
    names = _names(found)
    figure, panels = _panels(len(shown), 5.2, 0.9 + 0.3 * len(names))
    for place, panel in zip(shown, panels, strict=True):
        here = _of(found, place)
        size = max(sizes(here))
        _dots(panel, names, [row for row in here if row["megabytes"] == size])
        panel.set_title(f"{place}, {size} MB", fontsize=9.5, loc="left")
        panel.set_xlim(*_decades(found))
    figure.tight_layout()
    return _save(figure, directory, f"{operation}_waits")


def _swaps(rows: Sequence[Row], directory: Path) -> list[str]:
    """What clients waited, a dot for each swap; a panel for each server, a line for each size and contender."""
    found = select(rows, "swaps")
    shown = [place for place in places(rows) if _of(found, place)]
    if not shown:
        return []
    figure, panels = _panels(len(shown), 5.2, 0.9 + 0.7 * len(sizes(found)))
    for place, panel in zip(shown, panels, strict=True):
        here = [dict(row, line=f"{row['contender']}, {row['megabytes']} MB") for row in _of(found, place)]
        names = [f"{name}, {size} MB" for size in sizes(found) for name in CONTENDERS]
        _dots(panel, names, here, column="line")
        panel.set_title(str(place), fontsize=9.5, loc="left")
        panel.set_xlim(*_decades(found))
    figure.tight_layout()
    return _save(figure, directory, "swaps")


def _dots(panel: Any, names: Sequence[str], rows: Sequence[Row], column: str = "contender") -> None:
    """Draw a line of dots for each name: filled for a run that did what was asked, hollow for one that did not."""
    for height, name in enumerate(names):
        colour = _OURS if name.partition(",")[0] == SNAPKIT else _COLOURS[0]
        those = [row for row in rows if row[column] == name]
        for good in (True, False):
            waits = [max(row["waits_ms"]) for row in those if row["good"] is good]
            panel.scatter(
                waits, [height] * len(waits), s=26, zorder=3, facecolors=colour if good else "white", edgecolors=colour,
                linewidths=1.1, alpha=0.75,
            )  # fmt: skip
    panel.set_yticks(range(len(names)), names)
    panel.set_ylim(len(names) - 0.5, -0.5)
    panel.set_xscale("log")
    panel.xaxis.set_major_formatter(lambda value, position: _short(value))
    panel.minorticks_off()
    panel.grid(axis="y", visible=False)
    panel.set_xlabel("longest wait of a client (hollow: the command failed)", fontsize=8)


def _decades(rows: Sequence[Row]) -> tuple[float, float]:
    """Return whole decades that hold all the waits."""
    waits = [max(row["waits_ms"], default=1.0) for row in rows]
    return 10 ** math.floor(math.log10(max(min(waits), 0.1))), 10 ** math.ceil(math.log10(max(*waits, 10.0)))


def _short(milliseconds: float) -> str:
    return f"{milliseconds:g} ms" if milliseconds < 1000 else f"{milliseconds / 1000:g} s"


def _of(rows: Sequence[Row], place: Place) -> list[Row]:
    return [row for row in rows if row["postgres"] == place.postgres and row["filesystem"] == place.filesystem]
