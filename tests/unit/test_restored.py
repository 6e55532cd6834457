"""How a conflict is told."""

from __future__ import annotations

from snapkit.core.restoring.restored import RestoreConflict


def test_a_conflict_names_table_row_and_reason() -> None:
    conflict = RestoreConflict("public", "orders", (("id", "7"), ("part", None)), "its parent is gone")
    assert conflict.describe() == "public.orders (id=7, part=NULL): its parent is gone"
    assert RestoreConflict("public", "orders", None, "it was dropped").describe() == "public.orders: it was dropped"
