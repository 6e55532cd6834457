"""Tables of one line for each row. Rich's own measure and wrap each cell apart: seconds, for some thousands of rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from rich.cells import cell_len
from rich.console import Console
from rich.segment import Segment, Segments
from rich.style import Style

_GAP = 2


@dataclass(frozen=True)
class Column:
    """A title and a cell for each row; ``styles`` are theirs, in Rich's words, where there are any.

    The cells are printed as they are: control characters have been escaped before.
    """

    title: str
    cells: Sequence[str]
    styles: Sequence[str] = field(default=())

    @cached_property
    def width(self) -> int:
        """In cells of the terminal, of which some characters take two."""
        return max(map(_width, (self.title, *self.cells)))


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


def _width(text: str) -> int:
    return len(text) if text.isascii() else cell_len(text)
