"""How entries sort."""

from __future__ import annotations

from datetime import timedelta

from tests.unit.builders import AT, make_entry


def test_entries_sort_by_time_then_number_then_name() -> None:
    first = make_entry("app_backup_20260110_103045")
    second = make_entry("app_backup_20260110_103045_2")
    tenth = make_entry("app_backup_20260110_103045_10")
    later = make_entry("app_backup_20260110_103046", at=AT + timedelta(seconds=1))
    other = make_entry("shop_backup_20260110_103045", source="shop")
    expected = [first, other, second, tenth, later]
    assert sorted([tenth, later, other, second, first], key=lambda entry: entry.age_key) == expected
