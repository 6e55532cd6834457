"""In which order entries were made, whatever the server's clock said."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from snapkit.core.inventory.entry import Entry
from snapkit.core.inventory.ordering import SKEW, ahead_cautions, in_order, is_ahead
from snapkit.core.inventory.selection import latest_backup
from tests.unit.builders import NOW, make_entry, make_metadata

HOUR = timedelta(hours=1)


def made(at: datetime, order: int | None = None, source: str = "app") -> Entry:
    metadata = replace(make_metadata(source, at=at), order=order)
    return make_entry(f"{source}_backup_{at:%Y%m%d_%H%M%S}", source=source, at=at, metadata=metadata)


def test_the_order_of_the_server_goes_before_the_clock() -> None:
    ahead, after = made(NOW + HOUR, 1), made(NOW - HOUR, 2)
    for entries in permutations((ahead, after)):
        found = in_order(entries, NOW)
        assert [entry.order for entry in found] == [2, 1]
        assert [entry.dated for entry in found] == [NOW - HOUR, NOW - HOUR]
        assert latest_backup(found, "app").order == 2


def test_without_a_number_the_date_counts_unless_it_is_still_to_come() -> None:
    first, second, third = made(NOW - 3 * HOUR), made(NOW - 2 * HOUR, 5), made(NOW - HOUR)
    ahead = made(NOW + HOUR)
    for entries in permutations((first, second, third, ahead)):
        assert [e.created_at for e in in_order(entries, NOW)] == [
            third.created_at, second.created_at, ahead.created_at, first.created_at,
        ]  # fmt: skip
    assert in_order([ahead], NOW)[0].dated == NOW


def test_any_date_can_be_read_the_first_and_the_last_too() -> None:
    first, last = made(datetime.min.replace(tzinfo=UTC)), made(datetime.max.replace(tzinfo=UTC))
    assert [entry.dated for entry in in_order([first, last], NOW)] == [NOW, first.created_at]
    assert len(ahead_cautions([first, last], NOW)) == 1


def test_each_source_has_an_order_of_its_own() -> None:
    ahead, other = made(NOW + HOUR, 1), made(NOW - HOUR, 2, "shop")
    assert [entry.source for entry in in_order([ahead, other], NOW)] == ["app", "shop"]


@given(st.lists(st.tuples(st.integers(-100, 100), st.booleans()), max_size=8))
def test_no_entry_is_sorted_behind_what_the_server_made_later(given_: list[tuple[int, bool]]) -> None:
    entries = [made(NOW + hours * HOUR, n if has else None) for n, (hours, has) in enumerate(given_, 1)]
    found = in_order(entries, NOW)
    numbers = [entry.order for entry in found if entry.order is not None]
    assert numbers == sorted(numbers, reverse=True)
    assert all(entry.dated <= NOW for entry in found)
    assert sorted(entry.name for entry in found) == sorted(entry.name for entry in entries)


def test_a_date_ahead_is_warned_of_and_some_skew_is_not() -> None:
    assert not is_ahead(made(NOW + SKEW), NOW)
    assert ahead_cautions([made(NOW + SKEW), made(NOW - HOUR)], NOW) == ()
    unmanaged = make_entry(at=NOW + HOUR, managed=False)
    assert ahead_cautions([unmanaged], NOW) == ()
    (caution,) = ahead_cautions([made(NOW + HOUR)], NOW)
    assert caution.code == "dated_ahead"
    assert "app_backup_20260715_130000 (2026-07-15 13:00:00 UTC)" in caution.message
    (many,) = ahead_cautions([made(NOW + (n + 1) * HOUR) for n in range(6)], NOW)
    assert "6 entries, app_backup_20260715_130000 among them" in many.message
