"""What diff prints on a terminal, on a narrow one, and into a pipe."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from snapkit.cli.diff_text import print_diff
from snapkit.core.comparison.differences import ChangedDefinition, DefinitionChange, ShownRow
from snapkit.core.comparison.row_changes import Change
from snapkit.core.comparison.writes import Rows
from snapkit.services.diff import DiffReceipt
from tests.unit.builders import make_changed_table, make_diff

ADDED, REMOVED, CHANGED = DefinitionChange.ADDED, DefinitionChange.REMOVED, DefinitionChange.CHANGED
FUNCTION = "CREATE FUNCTION total()\n  AS $$\n    one\n    two\n  $$;"
SCHEMA = (
    ChangedDefinition("column", "public", "item.colour", ADDED, None, "text NOT NULL"),
    ChangedDefinition("column", "public", "item.price", CHANGED, "numeric(8,2)", "numeric(10,2)"),
    ChangedDefinition("table", "public", "log\x1b[2J", ADDED, None, "\n".join(f"line {n}" for n in range(30))),
    ChangedDefinition("function", "public", "total()", CHANGED, FUNCTION, FUNCTION.replace("two", "2")),
    ChangedDefinition("comment", None, "x", CHANGED, None, "a"),
)
TABLES = (
    make_changed_table(
        "item", Rows(12_000, 300, 45), shown=(ShownRow(Change.DELETED, {"id": "1"}, {"id": "1"}, None),)
    ),
    make_changed_table("log\x1b[2J", Rows(inserted=5)),
    make_changed_table("secret", reason="permission denied"),
)


def told(receipt: DiffReceipt, width: int, *, terminal: bool = True) -> str:
    stream = io.StringIO()
    console = Console(
        file=stream, width=width, force_terminal=terminal, no_color=True, markup=False, emoji=False, highlight=False
    )
    print_diff(receipt, console)
    return re.sub(r"\x1b\[[\d;]*m", "", stream.getvalue())


def test_a_story_in_its_order() -> None:
    text = told(make_diff(SCHEMA, TABLES), 100, terminal=False)
    parts = (
        "app differs from",
        "Compared:",
        "app was read",
        "Definitions: 2 added",
        "Tables",
        "public.item:",
        "Not comp",
    )
    places = [text.index(part) for part in parts]
    assert places == sorted(places)
    assert "~ table public.item\n      + column colour: text NOT NULL\n" in text
    assert "~ column price: numeric(8,2) → numeric(10,2)\n" in text
    assert "~ comment x: none → a\n" in text
    assert "      -     two\n      +     2\n" in text
    assert "public.item                    +12,000  ~300  -45  ++++++++++++++++++++++~-\n" in text
    assert "public.log\\x1b[2J (new table)" in text
    assert "  public.secret: permission denied\n" in text
    assert "line 29" in text
    assert "\x1b" not in text


@pytest.mark.parametrize("width", [30, 60])
def test_a_narrow_terminal(width: int) -> None:
    text = told(make_diff(SCHEMA, TABLES), width)
    assert all(len(line.rstrip()) <= width for line in text.splitlines())
    assert "… 10 more lines" in text
    assert "+12,000" in text
    if width == 30:
        assert "  public.item\n      +12,000 ~300 -45" in text


def test_no_difference_takes_two_lines() -> None:
    assert len(told(make_diff(), 200).splitlines()) == 2
