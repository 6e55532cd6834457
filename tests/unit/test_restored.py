"""How a conflict is told, and what becomes of triggers."""

from __future__ import annotations

import pytest

from snapkit.core.restoring.restored import RestoreConflict, TriggerMode, TriggerWay, trigger_way


def test_a_conflict_names_table_row_and_reason() -> None:
    conflict = RestoreConflict("public", "orders", (("id", "7"), ("part", None)), "its parent is gone")
    assert conflict.describe() == "public.orders (id=7, part=NULL): its parent is gone"
    assert RestoreConflict("public", "orders", None, "it was dropped").describe() == "public.orders: it was dropped"


@pytest.mark.parametrize(
    ("asked", "may_switch", "beyond_us", "way", "mode"),
    [
        (None, True, False, TriggerWay.SESSION, "off"),
        (None, False, False, TriggerWay.FIRE, "on"),
        (None, True, True, TriggerWay.FIRE, "on"),
        (TriggerMode.ON, True, False, TriggerWay.FIRE, "on"),
        (TriggerMode.OFF, True, False, TriggerWay.SESSION, "off"),
        (TriggerMode.OFF, False, False, TriggerWay.TABLE, "off"),
        (TriggerMode.OFF, True, True, TriggerWay.TABLE, "off"),
    ],
)
def test_triggers_are_off_where_that_disturbs_nobody(
    asked: TriggerMode | None, may_switch: bool, beyond_us: bool, way: TriggerWay, mode: str
) -> None:
    found = trigger_way(asked, may_switch=may_switch, beyond_us=beyond_us)
    assert (found, found.mode) == (way, mode)
