"""The page of diff tells what the text tells, whatever the values are."""

from __future__ import annotations

import re
from collections import Counter
from html import unescape
from html.parser import HTMLParser

import pytest

from snapkit.cli.diff_page import diff_page
from snapkit.core.comparison.differences import ChangedDefinition, DefinitionChange, ShownRow
from snapkit.core.comparison.row_changes import Change
from snapkit.core.comparison.writes import Rows
from snapkit.core.connection.endpoint import Whereabouts
from snapkit.services.diff import DiffReceipt, DiffRequest
from tests.unit.builders import make_changed_table, make_diff

HOSTILE = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "</td></table></body></html><h1>",
    "&lt;script&gt;",
    "</style><script>",
    "<!-- ",
    "\x1b]0;title\x07\u202e",
    "javascript:alert(1)",
]


class Tags(HTMLParser):
    """The elements of a page, with their attributes, and whether all of them are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.count: Counter[str] = Counter()
        self.attributes: set[str] = set()
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.count[tag] += 1
        self.attributes |= {name for name, _ in attrs}
        if tag != "meta":
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag


def receipt_about(text: str) -> DiffReceipt:
    """Return a comparison in which the text stands wherever one can stand."""
    row = {"id": "1", text: text, "long": text * 100, "none": None}
    changed = row | {text: "b", "long": text * 100 + "b", "none": text}
    shown = (
        ShownRow(Change.UPDATED, {"id": "1"}, row, changed),
        ShownRow(Change.INSERTED, {"id": text}, None, row),
        ShownRow(Change.DELETED, None, {"a": text}, None),
    )
    schema = (
        ChangedDefinition(text, text, text, DefinitionChange.CHANGED, f"{text}\na", f"{text}\nb"),
        ChangedDefinition("table", text, text, DefinitionChange.ADDED, None, f"{text}\n" * 20),
        ChangedDefinition("column", text, f"{text}.{text}", DefinitionChange.REMOVED, text, None),
        ChangedDefinition("extension", None, text, DefinitionChange.REMOVED, None, None),
    )
    tables = (
        make_changed_table(text, Rows(3, 2, 1), schema=text, shown=shown),
        make_changed_table(text, schema=text, reason=text),
    )
    return make_diff(schema, tables, label=text)


def where(text: str) -> Whereabouts:
    return Whereabouts(text, 5432, text, text, text)


@pytest.mark.parametrize("text", HOSTILE)
def test_no_value_becomes_markup(text: str) -> None:
    ordinary, hostile = (diff_page(receipt_about(each), where(each)) for each in ("a" * len(text), text))
    expected, found = Tags(ordinary), Tags(hostile)
    kinds = {"ins", "del"}  # of which there are as many as words
    assert {tag: n for tag, n in found.count.items() if tag not in kinds} == {
        tag: n for tag, n in expected.count.items() if tag not in kinds
    }
    assert found.attributes == expected.attributes
    assert "script" not in found.count
    assert not re.search(r"[\x00-\x09\x0b-\x1f\u202e]", hostile)


def test_the_page_tells_what_the_text_tells() -> None:
    shown = (
        ShownRow(Change.UPDATED, {"id": "7"}, {"id": "7", "name": "item 7"}, {"id": "7", "name": "new"}),
        ShownRow(Change.UPDATED, {"id": "8"}, {"id": "8", "name": ""}, {"id": "8", "name": "NULL"}),
    )
    text = diff_page(
        make_diff(
            (
                ChangedDefinition(
                    "column", "public", "item.price", DefinitionChange.CHANGED, "numeric(8)", "numeric(9)"
                ),
            ),
            (make_changed_table("item", Rows(updated=1200), shown=shown), make_changed_table("x", reason="denied")),
        ),
        where("db.example"),
    )
    for part in (
        "<h1>app differs from app_backup_20260110_103045 (“before v42”, made 2 hours ago):",
        "Server: db.example:5432",
        "numeric(<del>8</del>)",
        "numeric(<ins>9</ins>)",
        ">1,200<",
        "by row versions",
        "public.item: 2 of 1,200 changed rows",
        "<del>item 7</del> → <ins>new</ins>",
        "<strong>public.x</strong>: denied",
        "snapkit rollback app_backup_20260110_103045",
        "at 2026-01-10 12:30:45 UTC.",
    ):
        assert part in unescape(text), part
    assert not re.search(r"(src=|href=|url\()", text)


def test_no_difference_is_a_short_page() -> None:
    text = diff_page(make_diff(request=DiffRequest(contents=False)))
    assert "<h1>app has the same definitions as" in text
    assert "<section>" not in text
    assert text == diff_page(make_diff(request=DiffRequest(contents=False)))
