"""Facts and tables. Rich's own tables measure and wrap each cell apart: seconds, for some thousands of rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.padding import Padding
from rich.segment import Segment, Segments
from rich.style import Style
from rich.table import Table
from rich.text import Text

from snapkit.cli.format import printable

_GAP = 2


def print_facts(rows: Iterable[tuple[str, str | Text]], console: Console) -> None:
    """Print two columns: what, and how it is."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, value if isinstance(value, Text) else printable(value))
    console.print(Padding(table, (0, 0, 0, 2), expand=False))


@dataclass(frozen=True)
class Column:
    """A title and a cell for each row; ``styles`` are theirs, in Rich's words, where there are any.

    The cells are printed as they are: control characters have been escaped before.
    """

    title: str
    cells: Sequence[str]
    styles: Sequence[str] = field(default=())
    rank: int = 0
    """Where there is no room for all columns, those of the highest rank are left out first, and those of 0 never."""
    least: int | None = None
    """To how many cells of the terminal a text may be cut at its end; None if it stays whole."""

    @cached_property
    def width(self) -> int:
        """In cells of the terminal, of which some characters take two."""
        return max(map(_width, (self.title, *self.cells)))

    @property
    def least_width(self) -> int:
        return self.width if self.least is None else min(self.width, max(self.least, _width(self.title)))

    def cut_to(self, width: int) -> Column:
        """Return it with an ellipsis in place of what is too much."""
        return replace(self, cells=[_cut(cell, width) for cell in self.cells]) if width < self.width else self


def fitted(columns: Sequence[Column], width: int, *, keep: int = 0) -> Sequence[Column] | None:
    """Return as many of the columns as there is room for; None if there is none for all of the ranks up to ``keep``.

    What room is left goes to the columns that may be cut, in their order.
    """
    for rank in sorted({column.rank for column in columns if column.rank >= keep} | {keep}, reverse=True):
        chosen = [column for column in columns if column.rank <= rank]
        left = width - sum(column.least_width for column in chosen) - _GAP * (len(chosen) - 1)
        if left >= 0:
            return list(_widened(chosen, left))
    return None


def _widened(columns: Iterable[Column], left: int) -> Iterator[Column]:
    for column in columns:
        more = min(left, column.width - column.least_width)
        left -= more
        yield column.cut_to(column.least_width + more)


def fits(columns: Sequence[Column], console: Console) -> bool:
    """Whether a row goes into a line."""
    return sum(column.width for column in columns) + _GAP * (len(columns) - 1) <= console.width


def print_table(columns: Sequence[Column], console: Console) -> None:
    """Print the table, whether or not it fits, with titles above the columns."""
    console.print(Segments(_segments(columns)), end="", soft_wrap=True)


def _segments(columns: Sequence[Column]) -> Iterator[Segment]:
    bold = Style(bold=True)
    styles = {name: Style.parse(name) for column in columns for name in column.styles}
    yield from _line((column.title, bold, column.width) for column in columns)
    for row in range(len(columns[0].cells)):
        yield from _line(
            (column.cells[row], styles[column.styles[row]] if column.styles else None, column.width)
            for column in columns
        )


def _line(cells: Iterator[tuple[str, Style | None, int]]) -> Iterator[Segment]:
    behind = 0
    for text, style, width in cells:
        if text:
            yield Segment(" " * behind)
            yield Segment(text, style)
            behind = 0
        behind += width - _width(text) + _GAP
    yield Segment.line()


def _cut(text: str, width: int) -> str:
    return text if _width(text) <= width else set_cell_size(text, width - 1).rstrip() + "…"


def _width(text: str) -> int:
    return len(text) if text.isascii() else cell_len(text)


def print_stacked(name: str, verdict: tuple[str, str] | None, facts: Iterable[str], console: Console) -> None:
    """Print what would be a row of a table, where that is too wide; the verdict is a word and its style."""
    console.print(Text(printable(name), style="bold", overflow="fold"))
    known = ", ".join(filter(None, facts))
    line = Text.assemble(*([verdict] if verdict else []), ": " if verdict and known else "", known, overflow="fold")
    console.print(Padding(line, (0, 0, 0, 2), expand=False))
