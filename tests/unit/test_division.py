"""Which tables go by themselves."""

from __future__ import annotations

import pytest

from snapkit.core.copying.division import MOST_RELAYED, WORTH_RELAYING, Counted, Table, divide


def make_table(
    oid: int,
    name: str = "t",
    size: int = WORTH_RELAYING,
    columns: tuple[str, ...] = ("a",),
    *,
    is_extensions: bool = False,
    hashed_root: tuple[str, str] | None = None,
) -> Table:
    return Table(oid, "public", name, size, columns, is_extensions, hashed_root)


def test_large_tables_are_relayed_largest_first_and_the_rest_is_counted() -> None:
    small, large, larger = make_table(1, "small", 8192), make_table(2, "large"), make_table(3, "larger", 2**30)
    division = divide([small, large, larger], "UTF8")
    assert division.relayed == (larger, large)
    assert division.rest == (Counted("public", "small", columns=("a",)),)


@pytest.mark.parametrize(
    ("table", "counted"),
    [
        (make_table(1, columns=()), (Counted("public", "t"),)),
        (make_table(1, is_extensions=True), ()),
        (
            make_table(1, hashed_root=("public", "root")),
            (Counted("public", "root", only=False, columns=("a",)),),
        ),
        (make_table(1, "ü"), (Counted("public", "ü", columns=("a",)),)),
        (make_table(1, columns=("ü",)), (Counted("public", "t", columns=("ü",)),)),
    ],
)
def test_what_pg_dump_knows_better_is_left_to_it(table: Table, counted: tuple[Counted, ...]) -> None:
    division = divide([table], "LATIN1")
    assert (division.relayed, division.rest) == ((), counted)


def test_names_that_are_not_ascii_are_relayed_where_all_speak_utf_8() -> None:
    table = make_table(1, "ü")
    assert divide([table], "UTF8").relayed == (table,)


def test_the_command_line_has_an_end() -> None:
    division = divide([make_table(n, f"t{n:04}") for n in range(MOST_RELAYED + 5)], "UTF8")
    assert len(division.relayed) == MOST_RELAYED
    assert [each.name for each in division.rest] == [f"t{n:04}" for n in range(MOST_RELAYED, MOST_RELAYED + 5)]


def test_rows_are_compared_by_all_columns_that_are_stored_in_an_order_of_ours() -> None:
    table = Table(1, "public", "t", 0, ("b", "a"), generated=("aa",))
    assert table.as_compared == Counted("public", "t", columns=("a", "aa", "b"))


def test_titles_are_quoted() -> None:
    assert Table(1, 'a"b', "c.d", 0, ()).title == '"a""b"."c.d"'
    assert Counted('a"b', "c.d").title == '"a""b"."c.d"'
