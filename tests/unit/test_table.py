"""Tables of one line for each row."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from snapkit.cli.table import Column, fits, fitted, print_table

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


RANKED = [
    Column("NAME", ["app_backup"]),
    Column("CREATED", ["2026-01-10"], rank=3),
    Column("AGE", ["a day ago"]),
    Column("SOURCE", ["数据库数据库"], rank=1, least=7),
    Column("LABEL", ["before the great migration"], rank=2, least=8),
]


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (200, "app_backup  2026-01-10  a day ago  数据库数据库  before the great migration"),
        (70, "app_backup  2026-01-10  a day ago  数据库数据库  before the great mig…"),
        (52, "app_backup  2026-01-10  a day ago  数据库…  before…"),
        (51, "app_backup  a day ago  数据库数据库  before the gr…"),
        (40, "app_backup  a day ago  数据库…  before…"),
        (39, "app_backup  a day ago  数据库数据库"),
        (30, "app_backup  a day ago  数据库…"),
        (28, "app_backup  a day ago"),
        (21, "app_backup  a day ago"),
    ],
)
def test_columns_are_cut_and_left_out_by_their_ranks(width: int, shown: str) -> None:
    columns = fitted(RANKED, width)
    assert columns is not None
    file = io.StringIO()
    print_table(columns, Console(file=file, width=width))
    assert file.getvalue().splitlines()[1] == shown
    assert fits(columns, Console(width=width))


def test_what_is_to_be_kept_must_fit() -> None:
    assert fitted(RANKED, 20) is None
    assert fitted(RANKED, 39, keep=2) is None
    assert fitted(RANKED, 40, keep=2) is not None
    assert fitted(RANKED, 200, keep=3) is not None
