"""What differs is told in one sentence, by object, and with what to type next."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapkit.cli.diff_story import (
    bar_lengths,
    columns_of,
    compared,
    definition_counts,
    definition_texts,
    fates,
    groups,
    headline,
    moments,
    next_steps,
    next_text,
    shown_of,
    value_text,
)
from snapkit.core.comparison.differences import ChangedDefinition, DefinitionChange, ShownRow
from snapkit.core.comparison.patterns import table_pattern
from snapkit.core.comparison.row_changes import Change
from snapkit.core.comparison.writes import Rows
from snapkit.services.diff import DiffReceipt, DiffRequest
from tests.unit.builders import AT, make_changed_table, make_diff, make_entry

BEFORE = "app_backup_20260110_103045 (“before v42”, made 2 hours ago)"
COLUMN = ChangedDefinition("column", "public", "item.colour", DefinitionChange.ADDED, None, "text")
UNREAD = make_changed_table("secret", reason="permission denied")


@pytest.mark.parametrize(
    ("receipt", "said"),
    [
        (make_diff(), f"app is the same as {BEFORE}."),
        (make_diff(label=None), "app is the same as app_backup_20260110_103045 (made 2 hours ago)."),
        (make_diff(request=DiffRequest(contents=False)), f"app has the same definitions as {BEFORE}."),
        (make_diff(request=DiffRequest(definitions=False)), f"app has the same rows as {BEFORE}."),
        (make_diff(after=make_entry("app_old")), f"app_old is the same as {BEFORE}."),
        (make_diff((COLUMN,)), f"app differs from {BEFORE}: 1 definition."),
        (
            make_diff((COLUMN, COLUMN), (make_changed_table(rows=Rows(12_000, 300, 45)), UNREAD)),
            f"app differs from {BEFORE}: 2 definitions and 12,345 rows in 1 table. 1 table could not be compared.",
        ),
        (
            make_diff(tables=(UNREAD, UNREAD)),
            f"app and {BEFORE}: no difference was found, but 2 tables could not be compared.",
        ),
    ],
)
def test_the_first_sentence_answers(receipt: DiffReceipt, said: str) -> None:
    assert headline(receipt) == said


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (DiffRequest(), "Compared: definitions and the rows of 27 tables, in 1.2 s."),
        (DiffRequest(contents=False), "Compared: definitions, in 1.2 s. Rows were not compared."),
        (
            DiffRequest(definitions=False, tables=(table_pattern("a*"), table_pattern("b"))),
            "Compared: the rows of 27 tables, in 1.2 s. Only what fits a* or b. Definitions were not compared.",
        ),
    ],
)
def test_what_was_not_asked_for_is_said(request_: DiffRequest, said: str) -> None:
    assert compared(make_diff(request=request_)) == said


def test_a_live_database_is_told_with_its_moments() -> None:
    one, later = make_changed_table(as_of=AT), make_changed_table("b", as_of=AT + timedelta(seconds=5))
    assert moments(make_diff()) is None
    assert moments(make_diff(tables=(one,), after=make_entry())) is None
    assert moments(make_diff(tables=(one, UNREAD))) == "app was read as of 2026-01-10 10:30:45 UTC."
    assert moments(make_diff(tables=(later, one))) == (
        "app was read as of 2026-01-10 10:30:45 to 10:30:50 UTC, each table at its own moment."
    )


def test_definitions_are_grouped_by_table_then_by_kind() -> None:
    def definition(object_: str, name: str, change: DefinitionChange = DefinitionChange.ADDED) -> ChangedDefinition:
        return ChangedDefinition(object_, "public", name, change, None, "x")

    schema = (
        definition("view", "cheap"),
        definition("index", "a.b.price_idx"),  # of the table a.b, which is known
        definition("column", "item.colour"),
        definition("table", "item", DefinitionChange.CHANGED),
        definition("function", "total(bigint)"),
        definition("trigger", "other.name.with.dots"),
        definition("comment", "item"),
        definition("privilege", "other.name"),
        definition("comment", "elsewhere"),
    )
    found = groups(make_diff(schema, (make_changed_table("a.b"),)))
    assert [(group.object, group.name, [name for name, _ in group.parts]) for group in found] == [
        ("table", "public.a.b", ["index price_idx"]),
        ("table", "public.item", ["column colour", "comment"]),
        ("table", "public.other", ["trigger name.with.dots", "privilege name"]),
        ("comment", "public.elsewhere", []),
        ("function", "public.total(bigint)", []),
        ("view", "public.cheap", []),
    ]
    assert [group.own is not None for group in found] == [False, True, False, True, True, True]
    assert definition_counts(schema) == "8 added, 1 changed"


@pytest.mark.parametrize(
    ("name", "before", "after", "said"),
    [
        ("item.price", "price int", "price bigint\n", ("int", "bigint")),
        ("item.Price", None, '"Price" bigint', ("", "bigint")),
        ("item.price", "cost int", "price int", ("cost int", "price int")),
    ],
)
def test_a_columns_name_is_said_once(name: str, before: str | None, after: str, said: tuple[str, str]) -> None:
    column = ChangedDefinition("column", "public", name, DefinitionChange.CHANGED, before, after)
    assert definition_texts(column) == said


counts = st.integers(0, 10**9)


@given(counts, counts, counts, st.integers(0, 10**9), st.integers(3, 1000))
def test_whatever_there_is_shows_in_its_bar(inserted: int, updated: int, deleted: int, more: int, width: int) -> None:
    rows = Rows(inserted, updated, deleted)
    lengths = bar_lengths(rows, rows.total + more or 1, width)
    assert sum(lengths.values()) <= width
    for change, count in zip(Change, (inserted, updated, deleted), strict=True):
        assert (lengths[change] > 0) == (count > 0)


def test_values_cannot_be_mistaken_for_one_another() -> None:
    values = (None, "NULL", "", " ", "a", "a\x1b[2J\n")
    assert [value_text(value) for value in values] == ["NULL", "'NULL'", "''", "' '", "a", "'a\\x1b[2J\\n'"]


def test_the_key_comes_first() -> None:
    row = ShownRow(Change.DELETED, {"id": "1"}, {"name": "a", "id": "1"}, None)
    assert columns_of([row]) == ["id", "name"]
    shown = make_changed_table(shown=(row,))
    assert shown_of(shown, Rows(deleted=1)) == "1 changed row"
    assert shown_of(shown, Rows(deleted=1200)) == "1 of 1,200 changed rows"


def test_what_to_type_next() -> None:
    name = "app_backup_20260110_103045"
    gone = ChangedDefinition("table", "public", "gone", DefinitionChange.REMOVED, "x", None)
    tables = (
        make_changed_table("Item's", Rows(updated=1)),
        make_changed_table("new", Rows(inserted=7)),
        make_changed_table("gone", Rows(deleted=5)),
    )
    receipt = make_diff((gone,), tables)
    assert next_steps(receipt) == [
        ("See the changed rows", f"snapkit diff {name} --rows 20"),
        (
            "Bring back rows that are gone or changed",
            f"""snapkit restore {name} --table 'public."Item'"'"'s"' --dry-run""",
        ),
        ("Go back to it as a whole", f"snapkit rollback {name}"),
    ]
    assert fates(receipt) == {("public", "gone"): "dropped table"}
    assert "snapkit rollback NAME --url x" in next_text(receipt, lambda name: "NAME --url x")
    many = make_diff(tables=tuple(make_changed_table(each) for each in "abcde"))
    assert any("--table public.c --table ... --dry-run" in words for _, words in next_steps(many))
    shown = (make_changed_table(shown=()),)
    assert [what for what, _ in next_steps(make_diff(tables=shown, after=make_entry("b")))] == []
    between = next_steps(make_diff(tables=tables, after=make_entry("b c")))
    assert between == [("See the changed rows", f"snapkit diff {name} --with 'b c' --rows 20")]
    some = make_diff(tables=(make_changed_table("new"),), request=DiffRequest(tables=(table_pattern("n*"),)))
    assert next_steps(some)[0][1] == f"snapkit diff {name} --table 'n*' --rows 20"
    large = replace(make_changed_table("pg_largeobject", Rows(updated=1)), schema="pg_catalog")
    assert not any("restore" in words for _, words in next_steps(make_diff(tables=(large,))))
    assert next_steps(make_diff()) == []
