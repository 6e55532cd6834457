from __future__ import annotations

from snapkit.core.carrying.carried import Carried, LeftAside, counted
from snapkit.core.comparison.row_changes import Change
from snapkit.core.comparison.writes import Rows
from snapkit.core.restoring.restored import RestoredTable


def test_all_rows_count() -> None:
    tables = (RestoredTable("public", "a", Rows(1, 2, 3)), RestoredTable("public", "b", Rows(4)))
    assert Carried("app_old", tables).rows == 10


def test_changes_are_counted_by_their_kind() -> None:
    assert counted({Change.UPDATED: 2, Change.DELETED: 1}) == Rows(0, 2, 1)


def test_what_stays_aside_is_told_by_table() -> None:
    assert LeftAside("public", "a", Rows(1200, 0, 3), "why").describe() == "public.a: 1,200 inserted, 3 deleted; why"
    assert LeftAside("public", "a", None, "why").describe() == "public.a: why"
