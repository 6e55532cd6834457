from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import permutations

import pytest

from snapkit.core.inventory.entry import Entry
from snapkit.core.inventory.kinds import Kind, State
from snapkit.core.inventory.selection import (
    EVERYTHING,
    Order,
    Selection,
    is_leftover,
    latest_backup,
    latest_displaced,
    lenders,
    ready_backups,
    select_among,
    select_one,
)
from snapkit.errors import NotFoundError, UsageError
from tests.unit.builders import BACKUP, make_database, make_entry, make_metadata, utc

FIRST = make_entry(BACKUP, label="before 4.2")
SECOND = make_entry(f"{BACKUP}_2", label="twice")
THIRD = make_entry("app_backup_20260111_000000", label="twice", at=utc("2026-01-11"))
LIVE = make_database("app")
OLD = make_entry("app_old_20260111_000000", kind=Kind.OLD, label=BACKUP)
UNMANAGED = make_entry("app_backup_20250101_000000", state=State.UNMANAGED, managed=False, at=utc("2025-01-01"))
ALL = (THIRD, OLD, SECOND, FIRST, UNMANAGED)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (BACKUP, FIRST),
        (f"{BACKUP}_2", SECOND),
        ("20260110_103045", FIRST),
        ("20260110_103045_2", SECOND),
        ("20250101_000000", UNMANAGED),
        ("before 4.2", FIRST),
        ("app_old_20260111_000000", OLD),
    ],
)
def test_an_entry_is_found_by_name_timestamp_or_label(wanted: str, expected: Entry) -> None:
    assert select_one(ALL, wanted, "app") is expected


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [("103045", FIRST), ("3045", FIRST), ("0_103045", FIRST), ("3045_2", SECOND), ("50101_000000", UNMANAGED)],
)
def test_an_end_of_a_timestamp_is_enough_if_only_one_has_it(wanted: str, expected: Entry) -> None:
    assert select_one(ALL, wanted, "app") is expected


def test_a_label_wins_over_an_end_of_a_timestamp() -> None:
    labelled = replace(SECOND, metadata=make_metadata(label="103045"))
    assert select_one([FIRST, labelled], "103045", "app") is labelled


@pytest.mark.parametrize("wanted", ["045", "45_2", "5_2", "_2", "x3045"])
def test_an_end_has_four_digits_at_least_and_is_one(wanted: str) -> None:
    with pytest.raises(NotFoundError):
        select_one(ALL, wanted, "app")


@pytest.mark.parametrize(
    ("wanted", "message", "hint"),
    [
        ("23", "There is no backup '23' of 'app'.", "at least four digits of the end of a timestamp"),
        ("2399", "There is no backup '2399' of 'app'.", "See what there is: snapkit list"),
        ("latest", "There is no backup 'latest' of 'app'.", "For the newest backup: --latest"),
        ("app", "'app' is the name of the live database, not of a backup.", "See its backups: snapkit list"),
        ("shop_old_20260111_000000", "it belongs to 'shop', not to 'app'.", "with the URL of 'shop': --url URL"),
    ],
)
def test_a_name_that_fits_nothing_is_told_for_what_it_seems_to_be(wanted: str, message: str, hint: str) -> None:
    others = [*ALL, replace(OLD, database=make_database("shop_old_20260111_000000"), source="shop")]
    with pytest.raises(NotFoundError) as caught:
        select_one(ALL, wanted, "app", others)
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")


def test_an_end_that_several_have_is_refused_with_a_list() -> None:
    with pytest.raises(UsageError, match="fits several entries") as caught:
        select_one(ALL, "000000", "app")
    assert {each.name for each in (THIRD, OLD, UNMANAGED)} <= set(caught.value.message.split())


def test_without_a_name_the_newest_backup_is_meant() -> None:
    assert select_among(ALL, None, "app") is THIRD
    assert select_among(ALL, "before 4.2", "app") is FIRST


NOW = utc("2026-01-12")


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (EVERYTHING, ALL),
        (Selection(kind=Kind.OLD), (OLD,)),
        (Selection(since=timedelta(days=1)), (THIRD,)),
        (Selection(label="4.2"), (FIRST,)),
        (Selection(label="twice", kind=Kind.BACKUP), (THIRD, SECOND)),
        (Selection(kind=Kind.PARTIAL), ()),
    ],
)
def test_a_list_has_what_fits_in_the_order_in_which_it_came(selection: Selection, expected: tuple[Entry, ...]) -> None:
    assert selection.of(ALL, NOW) == expected


def test_a_list_is_sorted_and_cut_as_it_is_to_be() -> None:
    small, large = replace(FIRST, size_bytes=0), replace(SECOND, size_bytes=7)
    entries = (small, THIRD, large, OLD)
    assert EVERYTHING.first(entries) == entries
    assert Selection(limit=2).first(entries) == (small, THIRD)
    assert Selection(order=Order.SIZE).first(entries) == (large, small, THIRD, OLD)
    assert Selection(order=Order.NAME, limit=1).first([OLD, THIRD, FIRST]) == (FIRST,)


def test_a_whole_name_wins_over_a_label() -> None:
    for order in permutations([FIRST, OLD]):
        assert select_one(order, BACKUP, "app") is FIRST


@pytest.mark.parametrize(("wanted", "fitting"), [("twice", (SECOND, THIRD)), ("20260111_000000", (THIRD, OLD))])
def test_what_fits_several_entries_is_refused_with_a_list(wanted: str, fitting: tuple[Entry, ...]) -> None:
    with pytest.raises(UsageError, match="fits several entries") as caught:
        select_one(ALL, wanted, "app")
    listed = caught.value.message.splitlines()[1:]
    assert sorted(line.strip() for line in listed) == sorted(entry.name for entry in fitting)
    assert caught.value.state == "Nothing was changed."
    assert caught.value.hint


@pytest.mark.parametrize("wanted", ["", "20260110", "before", "%", "app_backup_20260110_10304_"])
def test_what_fits_nothing_is_not_found(wanted: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        select_one(ALL, wanted, "app")
    assert caught.value.message == f"There is no backup {wanted!r} of 'app'."
    assert caught.value.state == "Nothing was changed."
    assert caught.value.hint == "See what there is: snapkit list"


def test_what_lends_itself_for_a_gate_is_sealed_and_ready_and_ours_the_oldest_first() -> None:
    others = [
        make_entry(state=State.INVALID),
        make_entry(kind=Kind.PARTIAL, managed=False, state=State.INCOMPLETE),
        make_entry(managed=False, state=State.UNMANAGED),
        make_entry(database=make_database("app_backup_20260101_000000", allow_connections=True)),
        make_entry(database=make_database("app_backup_20260101_000000", allow_connections=False, is_mine=False)),
    ]
    lent = lenders([*others, SECOND, OLD, FIRST])
    assert lent == tuple(each.database for each in sorted([FIRST, SECOND, OLD], key=lambda each: each.age_key))


def test_the_latest_backup_is_the_newest_ready_one_that_is_managed() -> None:
    for order in permutations([FIRST, SECOND, OLD, UNMANAGED]):
        assert latest_backup(order, "app") is SECOND


def test_an_invalid_or_unfinished_entry_is_never_the_latest() -> None:
    later = utc("2026-05-05")
    unusable = [
        make_entry("app_backup_20260505_000000", state=State.INVALID, at=later),
        make_entry("app_backup_20260505_000001", state=State.UNMANAGED, managed=False, at=later),
        make_entry("app_partial_20260505_000000", kind=Kind.PARTIAL, state=State.INCOMPLETE, managed=False, at=later),
        make_entry("app_old_20260505_000000", kind=Kind.OLD, state=State.INVALID, at=later),
    ]
    assert latest_backup([*unusable, FIRST, OLD], "app") is FIRST
    assert latest_displaced([*unusable, FIRST, OLD], "app", LIVE) is OLD
    with pytest.raises(NotFoundError, match="There is no backup of 'app' to roll back to"):
        latest_backup([*unusable, OLD], "app")
    with pytest.raises(NotFoundError, match="There is nothing to undo: 'app' has not been rolled back"):
        latest_displaced([*unusable, FIRST], "app", LIVE)


def test_backups_that_could_be_rolled_back_to_are_counted() -> None:
    invalid = make_entry("app_backup_20260505_000000", state=State.INVALID)
    assert ready_backups([]) == 0
    assert ready_backups([*ALL, invalid]) == 3
    assert ready_backups([*ALL, invalid], without=SECOND) == 2
    assert ready_backups(ALL, without=OLD) == 3


DISTRUSTED = (
    make_entry(f"{BACKUP}_3", database=make_database(f"{BACKUP}_3", owner="mallory")),
    make_entry(f"{BACKUP}_4", database=make_database(f"{BACKUP}_4", owner="eve")),
)


def test_where_only_distrusted_backups_are_they_are_named_with_what_to_do() -> None:
    with pytest.raises(NotFoundError, match="There is no backup of 'app' to roll back to") as caught:
        latest_backup([OLD], "app", DISTRUSTED)
    assert caught.value.state == "Nothing was changed."
    hint = caught.value.hint
    assert hint is not None
    assert f"{BACKUP}_3 (owner mallory), {BACKUP}_4 (owner eve)" in hint
    assert "ALTER DATABASE ... OWNER TO" in hint
    assert "the whole name" in hint


def test_without_any_backup_the_hint_says_how_one_is_made() -> None:
    with pytest.raises(NotFoundError) as caught:
        latest_backup([], "app")
    assert caught.value.hint == "To make a backup: snapkit backup"


def test_a_distrusted_backup_is_never_the_latest_however_new() -> None:
    assert latest_backup([FIRST], "app", DISTRUSTED) is FIRST


def test_the_latest_displaced_of_one_second_is_the_one_with_the_higher_number() -> None:
    second = make_entry("app_old_20260111_000000_2", kind=Kind.OLD, at=OLD.created_at)
    for order in permutations([OLD, second, FIRST]):
        assert latest_displaced(order, "app", LIVE) is second


def make_displaced(day: int, gave_way_to: int | None) -> Entry:
    at = utc(f"2026-02-{day:02}")
    metadata = replace(make_metadata(kind=Kind.OLD, at=at), gave_way_to_oid=gave_way_to)
    return make_entry(f"app_old_202602{day:02}_000000", kind=Kind.OLD, at=at, metadata=metadata)


BY_HAND = make_entry("app_old_20260301_000000", kind=Kind.OLD, at=utc("2026-03-01"))
NOW_LIVE, BEFORE, NEITHER = make_displaced(3, 16384), make_displaced(2, 16385), make_displaced(4, 16386)


@pytest.mark.parametrize(
    ("entries", "live", "expected"),
    [
        ((NOW_LIVE, BEFORE), 16384, NOW_LIVE),
        ((NOW_LIVE, BEFORE), 16385, BEFORE),  # the clock was set back
        ((NEITHER, make_displaced(1, 16384), NOW_LIVE), 16384, NOW_LIVE),
        ((NEITHER, BEFORE), 16384, None),
        ((NEITHER, BEFORE), None, NEITHER),
        ((BY_HAND, NOW_LIVE), 16384, BY_HAND),
        ((BY_HAND, NEITHER), 16384, BY_HAND),
    ],
)
def test_an_undo_takes_what_gave_way_to_the_live_database(
    entries: tuple[Entry, ...], live: int | None, expected: Entry | None
) -> None:
    database = None if live is None else make_database("app", oid=live)
    for order in permutations(entries):
        if expected is not None:
            assert latest_displaced(order, "app", database) is expected
            continue
        with pytest.raises(NotFoundError, match="'app' has been replaced again") as caught:
            latest_displaced(order, "app", database)
        assert caught.value.state == "Nothing was changed."
        assert caught.value.hint is not None
        assert caught.value.hint.endswith(f"snapkit rollback {NEITHER.name}")


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (make_entry(kind=Kind.PARTIAL, state=State.INCOMPLETE, managed=False), True),
        (make_entry(state=State.INVALID), True),
        (make_entry(state=State.INVALID, managed=False), False),
        (make_entry(), False),
    ],
)
def test_remains_can_only_be_dropped_and_are_ours(entry: Entry, expected: bool) -> None:
    assert is_leftover(entry) is expected
