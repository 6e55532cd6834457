"""The page of ``diff --html``: what the text tells, for a pull request or an incident report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING

from snapkit.cli.diff_story import (
    DEFINITION_SIGNS,
    NULL,
    SIGNS,
    Group,
    bar_lengths,
    by_change,
    changed_columns,
    changed_tables,
    columns_of,
    compared,
    definition_counts,
    definition_texts,
    fates,
    groups,
    headline,
    method_text,
    moments,
    named,
    next_steps,
    shown_of,
    value_text,
)
from snapkit.cli.html_page import Html, element, joined, page, scrolling
from snapkit.core.comparison.differences import ChangedDefinition, ChangedTable, DefinitionChange, ShownRow
from snapkit.core.comparison.row_changes import Change
from snapkit.core.comparison.text_changes import Line, Mark, Piece, line_changes, starting_near_change, word_changes
from snapkit.core.comparison.writes import Rows
from snapkit.core.utc import utc_text

if TYPE_CHECKING:
    from snapkit.core.connection.endpoint import Whereabouts
    from snapkit.services.diff import DiffReceipt

_LONG = 300
"""Characters of a value above which it is folded."""
_SEEN = 120
"""Characters of a folded value that are seen."""
_BAR_STEPS = 1000

_CLASSES = {Change.INSERTED: "added", Change.UPDATED: "changed", Change.DELETED: "removed"}
_DEFINITION_CLASSES = {
    DefinitionChange.ADDED: "added",
    DefinitionChange.CHANGED: "changed",
    DefinitionChange.REMOVED: "removed",
}


def diff_page(receipt: DiffReceipt, where: Whereabouts | None = None) -> str:
    """Return the page; it is the same for the same comparison. ``where`` says on which server it was made."""
    facts = [compared(receipt), moments(receipt), f"Server: {where}" if where is not None else None]
    return page(
        headline(receipt),
        element("h1", headline(receipt)),
        *(element("p", fact) for fact in facts if fact),
        _definitions(receipt),
        _tables(receipt),
        _not_compared(receipt),
        _next(receipt),
        element("footer", f"Made by snapkit {version('pg-snapkit')} at {utc_text(receipt.at)} UTC."),
    )


def _section(title: str, *content: str) -> Html:
    return element("section", element("h2", title), *content)


def _definitions(receipt: DiffReceipt) -> Html:
    if not receipt.schema:
        return Html()
    items = [_group(group) for group in groups(receipt)]
    return _section(f"Definitions: {definition_counts(receipt.schema)}", element("ul", *items, class_="definitions"))


def _group(group: Group) -> Html:
    whole = f"{group.object} {group.name}"
    own = _definition(group.own, whole) if group.own else joined(_sign("~", "changed"), " ", element("strong", whole))
    parts = [element("li", _definition(part, title)) for title, part in group.parts]
    return element("li", own, element("ul", *parts, class_="definitions") if parts else Html())


def _sign(sign: str, class_: str) -> Html:
    return element("strong", sign, class_=class_)


def _definition(each: ChangedDefinition, title: str) -> Html:
    class_ = _DEFINITION_CLASSES[each.change]
    head = joined(_sign(DEFINITION_SIGNS[each.change], class_), " ", element("strong", title), f" {each.change.value}")
    before, after = definition_texts(each)
    if each.change is DefinitionChange.CHANGED:
        lines = [_line(line) for line in line_changes(before, after)]
        return joined(head, element("pre", Html("\n".join(lines))))
    if not (after or before):
        return head
    return joined(head, _folded(after or before))


def _folded(text: str) -> Html:
    """A definition; a long one is to be opened first."""
    lines = text.split("\n")
    if len(lines) <= 12:
        return element("pre", text)
    return element("details", element("summary", f"{lines[0]} … ({len(lines)} lines)"), element("pre", text))


def _line(line: Line) -> Html:
    if line.mark is Mark.LEFT_OUT:
        return element("span", f"… {line.left_out} lines", class_="dim")
    class_ = {Mark.REMOVED: "removed", Mark.ADDED: "added"}.get(line.mark, "")
    marked = joined(f"{line.mark.value} ", _pieces(line.pieces, "ins" if line.mark is Mark.ADDED else "del"))
    return element("span", marked, class_=class_) if class_ else marked


def _pieces(pieces: Sequence[Piece], name: str) -> Html:
    return joined(*(element(name, piece.text) if piece.changed else piece.text for piece in pieces))


def _tables(receipt: DiffReceipt) -> Html:
    tables = changed_tables(receipt)
    if not tables:
        return Html()
    largest, one_sided = tables[0][1].total, fates(receipt)
    titles = [element("th", "Table", scope="col")]
    titles += [element("th", f"{SIGNS[change]} {change.value}", scope="col", class_="number") for change in Change]
    titles += [element("th", "", scope="col", aria_label="How much"), element("th", "Compared", scope="col")]
    lines = [_table(table, rows, largest, one_sided.get((table.schema, table.table))) for table, rows in tables]
    overview = element("table", element("thead", element("tr", *titles)), element("tbody", *lines))
    shown = [_rows(table, rows) for table, rows in tables if table.shown]
    return joined(_section("Tables", scrolling("Tables", overview)), *shown)


def _table(table: ChangedTable, rows: Rows, largest: int, fate: str | None) -> Html:
    name = named(table.schema, table.table) + (f" ({fate})" if fate else "")
    counts = [
        element("td", f"{count:,}" if count else "", class_=f"number {_CLASSES[change]}")
        for change, count in by_change(rows).items()
    ]
    lengths = bar_lengths(rows, largest, _BAR_STEPS)
    parts = [
        element("span", class_=_CLASSES[change], style=f"width:{100 * length / _BAR_STEPS:g}%")
        for change, length in lengths.items()
        if length
    ]
    bar = element("td", element("div", *parts, class_="bar", aria_hidden="true"))
    return element(
        "tr", element("th", name, scope="row"), *counts, bar, element("td", method_text(table.method), class_="dim")
    )


def _rows(table: ChangedTable, rows: Rows) -> Html:
    columns = columns_of(table.shown or ())
    titles = [element("th", "", scope="col", aria_label="Change")]
    titles += [element("th", column, scope="col") for column in columns]
    lines = [_row(row, columns) for row in table.shown or ()]
    title = f"{named(table.schema, table.table)}: {shown_of(table, rows)}"
    whole = element("table", element("thead", element("tr", *titles)), element("tbody", *lines))
    return _section(title, scrolling(title, whole))


def _row(row: ShownRow, columns: Sequence[str]) -> Html:
    """The row in one line; each value of an updated one that differs as before and after."""
    head = element("th", element("span", f"{SIGNS[row.change]} {row.change.value}"), scope="row")
    if row.change is Change.UPDATED and row.before is not None and row.after is not None:
        cells = [_updated(row.before, row.after, column) for column in columns]
    else:
        side, class_ = row.after or row.before or {}, _CLASSES[row.change]
        cells = [element("td", _value(side[column]) if column in side else "", class_=class_) for column in columns]
    return element("tr", head, *cells)


def _updated(before: Mapping[str, str | None], after: Mapping[str, str | None], column: str) -> Html:
    if column not in changed_columns(before, after):
        side = after if column in after else before
        return element("td", _value(side[column]) if column in side else "")
    one, other = before[column], after[column]
    if one is None or other is None:
        old, new = element("del", _value(one)), element("ins", _value(other))
    else:
        olds, news = word_changes(one, other)
        old, new = _marked(one, olds, "del"), _marked(other, news, "ins")
    return element("td", old, " → ", new)


def _marked(value: str, pieces: Sequence[Piece], name: str) -> Html:
    """A value with its changed words marked. A long one is folded to where the first of them is."""
    if len(value) > _LONG:
        seen = element("summary", _pieces(_cut(starting_near_change(pieces, _SEEN)), name), _length(value))
        return element("details", seen, element("div", _pieces(pieces, name), class_="value"))
    return element(name, value_text(value)) if not value.strip() else _pieces(pieces, name)


def _cut(pieces: Sequence[Piece]) -> list[Piece]:
    left, kept = _SEEN, []
    for piece in pieces:
        kept.append(piece._replace(text=piece.text[:left]))
        left -= len(kept[-1].text)
    return kept


def _value(value: str | None) -> Html:
    if value is None:
        return element("em", NULL, class_="dim")
    if len(value) > _LONG:
        seen = element("summary", value[:_SEEN], _length(value))
        return element("details", seen, element("div", value, class_="value"))
    return joined(value_text(value) if value in ("", NULL) else value)


def _length(value: str) -> str:
    return f"… ({len(value):,} characters)"


def _not_compared(receipt: DiffReceipt) -> Html:
    if not receipt.not_compared:
        return Html()
    items = [
        element("li", element("strong", named(each.schema, each.table)), f": {each.reason}")
        for each in receipt.not_compared
    ]
    return _section("Not compared", element("ul", *items))


def _next(receipt: DiffReceipt) -> Html:
    steps = [joined(element("p", f"{what}:"), element("pre", words)) for what, words in next_steps(receipt)]
    return _section("What next", *steps) if steps else Html()
