"""Changed rows are told as a table where it fits, else column by column."""

from __future__ import annotations

from snapkit.cli.diff_rows import row_lines
from snapkit.core.comparison.differences import ShownRow
from snapkit.core.comparison.row_changes import Change


def row(number: int, **values: str | None) -> dict[str, str | None]:
    return {"id": str(number), **values}


def told(rows: list[ShownRow], width: int | None) -> list[str]:
    return [line.plain for line in row_lines(rows, width)]


ROWS = [
    ShownRow(Change.UPDATED, {"id": "7"}, row(7, name="item 7", note=None), row(7, name="new", note="")),
    ShownRow(Change.UPDATED, {"id": "8"}, row(8, name="item 8", note="x"), row(8, name="item 8", note=None)),
    ShownRow(Change.DELETED, {"id": "20"}, row(20, name="item 20", note="NULL"), None),
    ShownRow(Change.INSERTED, {"id": "101"}, None, row(101, name="a\x1b[2J\nb", note=None)),
]


def test_a_table_says_of_an_updated_row_what_it_has_got() -> None:
    assert told(ROWS, 60) == [
        "      id  name         note",
        "  ~    7  item 7       NULL",
        "  →       new          ''",
        "  ~    8  item 8       x",
        "  →                    NULL",
        "  -   20  item 20      'NULL'",
        "  +  101  a\\x1b[2J\\nb  NULL",
    ]


def test_without_room_for_a_table_rows_are_told_column_by_column() -> None:
    assert told(ROWS, 19) == [
        "  ~ id 7",
        "    name - item 7",
        "         + new",
        "    note NULL → ''",
        "  ~ id 8",
        "    note x → NULL",
        "  - id 20",
        "    name item 20",
        "    note 'NULL'",
        "  + id 101",
        "    name a\\x1b[2J\\…",
        "    note NULL",
    ]


def test_long_values_are_cut_to_where_they_differ() -> None:
    same = "the quick brown fox " * 20
    before, after = row(1, text=f"{same}old {same}"), row(1, text=f"{same}new {same}")
    rows = [ShownRow(Change.UPDATED, {"id": "1"}, before, after)]
    lines = told(rows, 60)
    assert all(len(line) <= 60 for line in lines)
    assert "fox old the quick" in lines[1]
    assert "fox new the quick" in lines[2]
    whole = told(rows, None)
    assert f"- '{before['text']}'" in whole[1]
    assert f"+ '{after['text']}'" in whole[2]


def test_rows_without_a_key_and_columns_of_one_side_only() -> None:
    wide = "x" * 200
    rows = [
        ShownRow(Change.DELETED, None, {"a": wide, "b": None}, None),
        ShownRow(Change.INSERTED, None, None, {"a": wide}),
        ShownRow(Change.UPDATED, {"a": wide}, {"a": wide, "b": "1"}, {"a": wide}),
    ]
    assert told(rows, 30) == [
        "  - deleted",
        f"    a {'x' * 23}…",
        "    b NULL",
        "  + inserted",
        f"    a {'x' * 23}…",
        f"  ~ a {'x' * 23}…",
    ]
    assert told(
        [ShownRow(Change.DELETED, None, {"b": "2"}, None), ShownRow(Change.INSERTED, None, None, {"a": "1"})], 30
    )
