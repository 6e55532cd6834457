from __future__ import annotations

from snapkit.core.carrying.carried import Carried, CarriedTable
from snapkit.core.comparison.writes import Rows


def test_all_rows_count() -> None:
    tables = (CarriedTable("public", "a", Rows(1, 2, 3)), CarriedTable("public", "b", Rows(4)))
    assert Carried("app_old", tables).rows == 10
