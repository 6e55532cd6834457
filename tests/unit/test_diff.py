"""What a diff comes to: identical or not, and what that means with --exit-code."""

from __future__ import annotations

from datetime import timedelta

import pytest

from snapkit.cli.exit_codes import exit_code_of
from snapkit.core.comparison.differences import ChangedDefinition, ChangedTable, DefinitionChange
from snapkit.core.comparison.row_changes import Method
from snapkit.core.comparison.writes import Rows
from snapkit.services.diff import DiffReceipt, DiffRequest
from tests.unit.builders import NOW, make_entry

DEFINITION = ChangedDefinition("table", "public", "item", DefinitionChange.ADDED, None, "CREATE TABLE ...")
TABLE = ChangedTable("public", "item", Rows(1, 0, 0), Method.VERSIONS)
UNREAD = ChangedTable("public", "secret", None, Method.NOT_COMPARED, reason="you may not read it")


def _receipt(
    schema: tuple[ChangedDefinition, ...] = (), tables: tuple[ChangedTable, ...] = (), *, fails: bool = True
) -> DiffReceipt:
    request = DiffRequest(fails_if_different=fails)
    return DiffReceipt(request, make_entry(), None, "app", NOW, schema, tables, 3, timedelta(seconds=1))


@pytest.mark.parametrize(
    ("schema", "tables", "identical", "code"),
    [
        ((), (), True, None),
        ((DEFINITION,), (), False, 26),
        ((), (TABLE,), False, 26),
        ((), (TABLE, UNREAD), False, 26),
        ((DEFINITION,), (UNREAD,), False, 26),
        ((), (UNREAD,), None, 3),
    ],
)
def test_it_is_identical_only_if_all_was_compared(
    schema: tuple[ChangedDefinition, ...], tables: tuple[ChangedTable, ...], identical: bool | None, code: int | None
) -> None:
    receipt = _receipt(schema, tables)
    assert receipt.identical is identical
    assert (int(exit_code_of(receipt.shortfall)) if receipt.shortfall else None) == code
    assert receipt.complaints == ()
    assert _receipt(schema, tables, fails=False).shortfall is None


def test_those_that_were_not_compared_can_be_told_apart() -> None:
    assert _receipt(tables=(TABLE, UNREAD)).not_compared == (UNREAD,)
