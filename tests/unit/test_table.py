"""Tables of one line for each row."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from snapkit.cli.table import Column, fits, print_table

COLUMNS = [
    Column("NAME", ["app", "söме", "数据库"]),
    Column("", ["━━", "", "━"], ["cyan", "cyan", "cyan"]),
    Column("STATE", ["ready", "invalid", ""]),
]


def _printed(width: int, **options: object) -> str:
    file = io.StringIO()
    print_table(COLUMNS, Console(file=file, width=width, **options))  # type: ignore[arg-type]
    return file.getvalue()


def test_columns_stand_below_one_another_and_nothing_trails() -> None:
    assert _printed(80) == "NAME        STATE\napp     ━━  ready\nsöме        invalid\n数据库  ━\n"


@pytest.mark.parametrize("width", [19, 5])
def test_no_cell_is_cut_or_wrapped(width: int) -> None:
    assert _printed(width) == _printed(80)


def test_it_fits_if_a_row_goes_into_a_line() -> None:
    assert fits(COLUMNS, Console(width=19))
    assert not fits(COLUMNS, Console(width=18))


def test_colours_are_for_terminals() -> None:
    options = {"force_terminal": True, "color_system": "standard", "legacy_windows": False}
    coloured = _printed(80, **options)
    assert "\x1b[1mNAME\x1b[0m" in coloured
    assert "\x1b[36m━━\x1b[0m" in coloured
    assert "\x1b[3" not in _printed(80, **options, no_color=True)


def test_what_looks_like_markup_is_text() -> None:
    file = io.StringIO()
    print_table([Column("NAME", ["[red]x[/red] :smile:"])], Console(file=file, width=80))
    assert file.getvalue() == "NAME\n[red]x[/red] :smile:\n"
