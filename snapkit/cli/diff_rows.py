"""Changed rows of a table for a terminal: as before and after, with the changed values marked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from rich.cells import cell_len
from rich.text import Text

from snapkit.cli.diff_story import NULL, SIGNS, changed_columns, columns_of, value_text
from snapkit.cli.format import printable
from snapkit.core.comparison.differences import ShownRow
from snapkit.core.comparison.row_changes import Change
from snapkit.core.comparison.text_changes import Piece, starting_near_change, word_changes

STYLES = {Change.INSERTED: "green", Change.UPDATED: "yellow", Change.DELETED: "red"}
BEFORE, AFTER, ARROW = "red", "green", "→"

_WIDEST = 160
"""Wider tables are not read well, on any terminal: their rows are told column by column."""
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?", re.ASCII)
_MARGIN = "  "
_GAP = "  "

Values = Mapping[str, str | None]


def row_lines(rows: Sequence[ShownRow], width: int | None) -> Iterator[Text]:
    """Yield the lines of some rows; ``width`` is that of the terminal, and None where nothing is to be cut."""
    columns = columns_of(rows)
    widths = [_column_width(column, rows) for column in columns]
    whole = len(_MARGIN) + 1 + sum(widths) + len(_GAP) * len(widths)
    if whole <= min(width or _WIDEST, _WIDEST):
        yield from _as_table(rows, columns, widths)
    else:
        for row in rows:
            yield from _by_column(row, columns, width)


def _column_width(column: str, rows: Sequence[ShownRow]) -> int:
    sides = (side for row in rows for side in (row.before, row.after) if side is not None and column in side)
    return max([cell_len(printable(column)), *(cell_len(value_text(side[column])) for side in sides)])


def _as_table(rows: Sequence[ShownRow], columns: Sequence[str], widths: Sequence[int]) -> Iterator[Text]:
    """A line for each row. An updated one has a second line, with the values that it has got."""
    titles = [Text(printable(column), style="bold") for column in columns]
    widths = [-width if _are_numbers(column, rows) else width for column, width in zip(columns, widths, strict=True)]
    yield _line(Text(" "), titles, widths)
    for row in rows:
        sign = Text(SIGNS[row.change], style=STYLES[row.change])
        if row.change is not Change.UPDATED or row.before is None or row.after is None:
            side = row.after or row.before or {}
            yield _line(sign, [_cell(side, column, STYLES[row.change]) for column in columns], widths)
            continue
        changed = changed_columns(row.before, row.after)
        olds = [_cell(row.before, column, BEFORE if column in changed else "") for column in columns]
        yield _line(sign, olds, widths)
        news = [_cell(row.after, column, f"bold {AFTER}") if column in changed else Text() for column in columns]
        yield _line(Text(ARROW, style=STYLES[row.change]), news, widths)


def _are_numbers(column: str, rows: Sequence[ShownRow]) -> bool:
    sides = [side for row in rows for side in (row.before, row.after) if side is not None]
    return all(_NUMBER.fullmatch(value) for side in sides if (value := side.get(column)) is not None)


def _line(sign: Text, cells: Sequence[Text], widths: Sequence[int]) -> Text:
    """A line of cells; a negative width stands for a column whose cells end at its right."""
    line = Text(_MARGIN).append_text(sign)
    for cell, width in zip(cells, widths, strict=True):
        space = " " * (abs(width) - cell.cell_len)
        line.append(_GAP + (space if width < 0 else "")).append_text(cell).append("" if width < 0 else space)
    line.rstrip()
    return line


def _cell(side: Values, column: str, style: str) -> Text:
    if column not in side:
        return Text()
    value = side[column]
    return Text(value_text(value), style=f"{style} italic" if value is None else style)


def _by_column(row: ShownRow, columns: Sequence[str], width: int | None) -> Iterator[Text]:
    """The row's key, and below it a line for each column: of an updated row only those that differ."""
    head = Text(_MARGIN).append(SIGNS[row.change], style=STYLES[row.change])
    for column, value in (row.key or {}).items():
        head.append(f" {printable(column)} ", style="bold").append(value_text(value))
    if not row.key:
        head.append(f" {row.change.value}")
    yield _fitting(head, width)
    if row.change is Change.UPDATED and row.before is not None and row.after is not None:
        changed = changed_columns(row.before, row.after)
        yield from _updated(row.before, row.after, [column for column in columns if column in changed], width)
        return
    side = row.after or row.before or {}
    named = [column for column in columns if column in side and column not in (row.key or {})]
    room = _name_width(named)
    for column in named:
        yield _fitting(_named(column, room).append_text(_cell(side, column, STYLES[row.change])), width)


def _updated(before: Values, after: Values, columns: Sequence[str], width: int | None) -> Iterator[Text]:
    room = _name_width(columns)
    for column in columns:
        old, new = _marked(before[column], after[column])
        in_one = _named(column, room).append_text(_pieces(old, BEFORE)).append(f" {ARROW} ")
        in_one.append_text(_pieces(new, AFTER))
        if in_one.cell_len <= (width or _WIDEST):
            yield in_one
            continue
        left = None if width is None else width - len(_MARGIN) * 2 - room - 3
        for sign, pieces, style in (("-", old, BEFORE), ("+", new, AFTER)):
            shown = pieces if left is None else starting_near_change(pieces, left)
            name = _named(column, room) if sign == "-" else Text(" " * (len(_MARGIN) * 2 + room + 1))
            yield _fitting(name.append(f"{sign} ", style=style).append_text(_pieces(shown, style)), width)


def _marked(before: str | None, after: str | None) -> tuple[Sequence[Piece], Sequence[Piece]]:
    if before is None or after is None:
        return [Piece(value_text(before), changed=True)], [Piece(value_text(after), changed=True)]
    return word_changes(value_text(before), value_text(after))


def _pieces(pieces: Sequence[Piece], style: str) -> Text:
    text = Text()
    for piece in pieces:
        text.append(piece.text, style=f"bold {style} underline" if piece.changed and len(pieces) > 1 else style)
    if len(pieces) == 1 and pieces[0].text == NULL:
        text.stylize("italic")
    return text


def _name_width(columns: Sequence[str]) -> int:
    return max((cell_len(printable(column)) for column in columns), default=0)


def _named(column: str, room: int) -> Text:
    name = Text(printable(column), style="bold")
    return Text(_MARGIN * 2).append_text(name).append(" " * (room - name.cell_len + 1))


def _fitting(line: Text, width: int | None) -> Text:
    """The line, with an ellipsis in place of what is too much."""
    if width is not None:
        line.truncate(width, overflow="ellipsis")
    return line
