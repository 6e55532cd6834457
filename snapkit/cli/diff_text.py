"""What ``diff`` prints: an answer in one sentence, definitions, tables, rows, and what was not compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.padding import Padding
from rich.text import Text

from snapkit.cli.diff_rows import AFTER, ARROW, BEFORE, STYLES, row_lines
from snapkit.cli.diff_story import (
    DEFINITION_SIGNS,
    SIGNS,
    Group,
    bar_lengths,
    by_change,
    changed_tables,
    compared,
    definition_counts,
    definition_texts,
    fates,
    groups,
    headline,
    moments,
    named,
    shown_of,
)
from snapkit.cli.format import printable, printable_lines
from snapkit.cli.pager import paged
from snapkit.core.comparison.differences import ChangedDefinition, ChangedTable, DefinitionChange
from snapkit.core.comparison.row_changes import Change
from snapkit.core.comparison.text_changes import Line, Mark, line_changes, word_changes
from snapkit.core.comparison.writes import Rows

if TYPE_CHECKING:
    from rich.console import Console

    from snapkit.services.diff import DiffReceipt

_DEFINITION_STYLES = {
    DefinitionChange.ADDED: "green",
    DefinitionChange.CHANGED: "yellow",
    DefinitionChange.REMOVED: "red",
}
_LINE_STYLES = {Mark.SAME: "", Mark.REMOVED: BEFORE, Mark.ADDED: AFTER, Mark.LEFT_OUT: "dim"}
_BAR_WIDTH = 24
_LEAST_BAR = 8
_MARGIN = 2
_MOST_LINES = 20
"""Of an object that is new or gone, a terminal shows the first lines; a pipe, the page and JSON have all of them."""


def print_diff(receipt: DiffReceipt, console: Console) -> None:
    """Print what is different, through a pager if it does not fit the terminal."""
    with paged(console):
        console.print(printable(headline(receipt)), style="bold")
        for text in (compared(receipt), moments(receipt)):
            if text:
                console.print(printable(text))
        _print_definitions(receipt, console)
        _print_tables(receipt, console)
        _print_rows(receipt, console)
        _print_not_compared(receipt, console)


def _title(text: str, console: Console) -> None:
    console.print()
    console.print(Text(text, style="bold underline"))


def _print_indented(text: Text, console: Console, margin: int) -> None:
    """Print a line, in as many lines of the terminal as it takes. Mostly that is one, which Rich need not measure."""
    if margin + text.cell_len <= console.width:
        console.print(Text(" " * margin).append_text(text), soft_wrap=True)
    else:
        text.overflow = "fold"
        console.print(Padding(text, (0, 0, 0, margin), expand=False))


def _print_definitions(receipt: DiffReceipt, console: Console) -> None:
    if not receipt.schema:
        return
    _title(f"Definitions: {definition_counts(receipt.schema)}", console)
    for group in groups(receipt):
        _print_group(group, console)


def _print_group(group: Group, console: Console) -> None:
    if group.own is not None:
        _print_definition(group.own, f"{group.object} {group.name}", console, _MARGIN)
    else:
        _print_indented(Text.assemble(("~", "yellow"), f" {group.object} {printable(group.name)}"), console, _MARGIN)
    for title, part in group.parts:
        _print_definition(part, title, console, 3 * _MARGIN)


def _print_definition(each: ChangedDefinition, title: str, console: Console, margin: int) -> None:
    style = _DEFINITION_STYLES[each.change]
    head = Text.assemble((DEFINITION_SIGNS[each.change], style), " ", (printable(title), "bold"))
    body = _in_one_line(each)
    if body is not None and margin + head.cell_len + 2 + body.cell_len <= console.width:
        _print_indented(head.append(": ").append_text(body), console, margin)
        return
    _print_indented(head, console, margin)
    for line in _lines(each, None if not console.is_terminal else _MOST_LINES):
        _print_indented(line, console, margin + 2 * _MARGIN)


def _in_one_line(each: ChangedDefinition) -> Text | None:
    """The definition behind its title; None if it takes more than a line."""
    before, after = definition_texts(each)
    if "\n" in before or "\n" in after:
        return None
    if each.change is not DefinitionChange.CHANGED:
        return Text(printable(after or before))
    old, new = word_changes(before, after)
    old_text, new_text = _line_text(Line(Mark.REMOVED, old)), _line_text(Line(Mark.ADDED, new))
    return Text.assemble(old_text if before else "none", f" {ARROW} ", new_text if after else "none")


def _lines(each: ChangedDefinition, most: int | None) -> Iterator[Text]:
    before, after = definition_texts(each)
    if each.change is DefinitionChange.CHANGED:
        for line in line_changes(before, after):
            yield Text(f"{line.mark.value} ", style=_LINE_STYLES[line.mark]).append_text(_line_text(line))
        return
    lines = printable_lines(after or before).split("\n")
    for text in lines[:most]:
        yield Text(text)
    if most is not None and len(lines) > most:
        yield Text(f"… {len(lines) - most} more lines", style="dim")


def _line_text(line: Line) -> Text:
    if line.mark is Mark.LEFT_OUT:
        return Text(f"{line.left_out} lines", style="dim")
    style, text = _LINE_STYLES[line.mark], Text()
    for piece in line.pieces:
        text.append(printable(piece.text), style=f"bold {style} underline" if piece.changed else style)
    return text


def _print_tables(receipt: DiffReceipt, console: Console) -> None:
    tables = changed_tables(receipt)
    if not tables:
        return
    _title("Tables", console)
    one_sided = fates(receipt)
    names = [_table_name(table, one_sided) for table, _ in tables]
    numbers = [[_number(change, count) for change, count in by_change(rows).items()] for _, rows in tables]
    widths = [max(len(row[at]) for row in numbers) for at in range(len(Change))]
    largest = tables[0][1].total
    longest = max(map(cell_len, names))
    taken = _MARGIN + longest + sum(width + 2 for width in widths if width)
    room = min(_BAR_WIDTH, console.width - taken - 2)
    for name, row, (_, rows) in zip(names, numbers, tables, strict=True):
        figures = Text()
        for text, width, change in zip(row, widths, Change, strict=True):
            if width:
                figures.append("  " + text.rjust(width), style=STYLES[change])
        if taken <= console.width:
            line = Text(" " * _MARGIN + name + " " * (longest - cell_len(name))).append_text(figures)
            bar = _bar(rows, largest, room) if room >= _LEAST_BAR else Text()
            console.print(line.append("  ").append_text(bar), soft_wrap=True)
        else:
            _print_indented(Text(name), console, _MARGIN)
            told = Text(" ").join(_figure(change, count) for change, count in by_change(rows).items() if count)
            narrow = min(_BAR_WIDTH, console.width - 3 * _MARGIN - told.cell_len - 2)
            bar = _bar(rows, largest, narrow) if narrow >= _LEAST_BAR else Text()
            _print_indented(told.append("  ").append_text(bar), console, 3 * _MARGIN)
    legend = Text(", ").join(Text(f"{SIGNS[change]} {change.value}", style=STYLES[change]) for change in Change)
    _print_indented(legend, console, _MARGIN)


def _table_name(table: ChangedTable, one_sided: Mapping[tuple[str, str], str]) -> str:
    fate = one_sided.get((table.schema, table.table))
    return printable(named(table.schema, table.table)) + (f" ({fate})" if fate else "")


def _number(change: Change, count: int) -> str:
    return f"{SIGNS[change]}{count:,}" if count else ""


def _figure(change: Change, count: int) -> Text:
    return Text(_number(change, count), style=STYLES[change])


def _bar(rows: Rows, largest: int, width: int) -> Text:
    """A bar of signs, whose length lets tables be compared at a glance."""
    lengths = bar_lengths(rows, largest, width)
    return Text().join(Text(SIGNS[change] * lengths[change], style=STYLES[change]) for change in Change)


def _print_rows(receipt: DiffReceipt, console: Console) -> None:
    width = console.width if console.is_terminal else None
    for table, rows in changed_tables(receipt):
        if not table.shown:
            continue
        _title(printable(f"{named(table.schema, table.table)}: {shown_of(table, rows)}"), console)
        for line in row_lines(table.shown, width):
            console.print(line, soft_wrap=True)


def _print_not_compared(receipt: DiffReceipt, console: Console) -> None:
    if not receipt.not_compared:
        return
    _title("Not compared", console)
    for table in receipt.not_compared:
        name = named(table.schema, table.table)
        _print_indented(Text(printable(f"{name}: {table.reason}")), console, _MARGIN)
