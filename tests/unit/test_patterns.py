"""Patterns choose tables as in psql."""

from __future__ import annotations

import pytest

from snapkit.core.comparison.patterns import (
    TablePattern,
    check_each_fits,
    chosen_by,
    close_names,
    pattern_for,
    table_pattern,
)
from snapkit.errors import NotFoundError

TABLES = [("public", "orders"), ("public", "order_lines"), ("shop", "orders"), ("Shop", "Or.ders"), ("a b", 'q"t')]


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("orders", [("public", "orders"), ("shop", "orders")]),
        ("ORDERS", [("public", "orders"), ("shop", "orders")]),
        ("shop.orders", [("shop", "orders")]),
        ("shop.*", [("shop", "orders")]),
        ("*.order?", [("public", "orders"), ("shop", "orders")]),
        ("order*", [("public", "orders"), ("public", "order_lines"), ("shop", "orders")]),
        ("order", []),
        ("o.ders", []),
        ('"Shop".*', [("Shop", "Or.ders")]),
        ('"Or.ders"', [("Shop", "Or.ders")]),
        ('"Shop"."Or"*"ders"', [("Shop", "Or.ders")]),
        ('"order*"', []),
        ('"a b"."q""t"', [("a b", 'q"t')]),
        ("a b.*", [("a b", 'q"t')]),
        ("order[s]", []),
    ],
)
def test_a_pattern_chooses_as_in_psql(text: str, chosen: list[tuple[str, str]]) -> None:
    pattern = table_pattern(text)
    assert [table for table in TABLES if pattern.fits(*table)] == chosen


@pytest.mark.parametrize("table", TABLES)
def test_each_table_has_a_pattern_of_its_own(table: tuple[str, str]) -> None:
    pattern = table_pattern(pattern_for(*table))
    assert [other for other in TABLES if pattern.fits(*other)] == [table]


def test_a_pattern_has_no_more_quotes_than_it_needs() -> None:
    assert pattern_for("public", "Orders") == 'public."Orders"'


def test_only_ascii_letters_are_folded() -> None:
    assert table_pattern("BÄR").fits("public", "bÄr")
    assert not table_pattern("BÄR").fits("public", "bär")


@pytest.mark.parametrize("name", ["a\nb", "a\n"])
def test_a_star_stands_for_the_end_of_a_line_too(name: str) -> None:
    assert table_pattern("a*").fits("public", name)
    assert not table_pattern("a").fits("public", name)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('"orders', "not closed"),
        ('or"ders', "not closed"),
        ("app.public.orders", "at most a schema and a table"),
        ("", "names no table"),
        ("public.", "names no table"),
        (".orders", "names no table"),
        ('""', "names no table"),
    ],
)
def test_what_is_no_pattern_is_said(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        table_pattern(text)


def test_without_patterns_all_tables_are_chosen() -> None:
    assert chosen_by((), "public", "orders")
    assert chosen_by(_patterns("x", "orders"), "public", "orders")
    assert not chosen_by(_patterns("x", "y"), "public", "orders")


def test_those_that_may_have_been_meant_are_named() -> None:
    assert close_names(table_pattern("oders"), TABLES)[0] in ("public.orders", "shop.orders")
    assert close_names(table_pattern("public.oders"), TABLES)[0] == "public.orders"
    assert close_names(table_pattern("zzz"), TABLES) == ()


def test_each_pattern_has_to_fit_a_table() -> None:
    check_each_fits(_patterns("orders", "*lines"), TABLES, "here")
    with pytest.raises(NotFoundError, match="No table fits 'oders', neither here nor there") as raised:
        check_each_fits(_patterns("orders", "oders"), TABLES, "neither here nor there")
    assert raised.value.changed_nothing
    assert raised.value.hint is not None
    assert raised.value.hint.startswith("Did you mean public.orders or shop.orders or ")
    with pytest.raises(NotFoundError) as raised:
        check_each_fits(_patterns("zzz"), TABLES, "here")
    assert raised.value.hint == "A pattern is as in psql: 'public.*', 'order?'"


def _patterns(*texts: str) -> tuple[TablePattern, ...]:
    return tuple(map(table_pattern, texts))
