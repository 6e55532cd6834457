"""Rows of some tables are brought back from an entry, in one transaction, and nothing else is touched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from snapkit.core.comparison.patterns import table_pattern
from snapkit.core.comparison.writes import Rows
from snapkit.core.restoring.restored import TriggerMode
from snapkit.services.restore import RestoreReceipt, RestoreRequest, prepared_restore
from snapkit.services.restoring.staging import RestoreChoice
from tests.sandbox import LOCK_WAIT, Sandbox


def _restore(
    box: Sandbox, *tables: str, url: str | None = None, triggers: TriggerMode | None = None, **choice: Any
) -> RestoreReceipt:
    request = RestoreRequest(None, RestoreChoice(tuple(map(table_pattern, tables)), **choice), triggers)
    server = box.server(url) if url else box.server()
    with prepared_restore(server, request, LOCK_WAIT) as prepared:
        preview = prepared.preview(10)
        receipt = prepared.apply()
    assert preview.conflicts == receipt.conflicts
    assert preview.tables == receipt.tables
    return receipt


def _do(box: Sandbox, *statements: str) -> None:
    with box.connect() as connection:
        for statement in statements:
            connection.execute(statement)


def _rows(box: Sandbox, query: str) -> list[tuple[Any, ...]]:
    with box.connect() as connection:
        return connection.execute(query).fetchall()


def _counts(receipt: RestoreReceipt) -> dict[str, tuple[int, int, int]]:
    return {f"{each.schema}.{each.table}": _tuple(each.rows) for each in receipt.tables}


def _tuple(rows: Rows) -> tuple[int, int, int]:
    return rows.inserted, rows.updated, rows.deleted


def _reasons(receipt: RestoreReceipt) -> Sequence[str]:
    return [each.describe() for each in receipt.conflicts]


def test_missing_and_changed_rows_come_back_and_others_stay(sandbox: Sandbox) -> None:
    before = _rows(sandbox, "TABLE item ORDER BY id")
    sandbox.back_up()
    _do(
        sandbox,
        "DELETE FROM item WHERE id <= 10",
        "UPDATE item SET name = 'damaged' WHERE id BETWEEN 11 AND 15",
        "INSERT INTO item VALUES (1000, 'new')",
    )
    receipt = _restore(sandbox, "item")
    assert _counts(receipt) == {"public.item": (10, 5, 0)}
    assert receipt.conflicts == ()
    assert _rows(sandbox, "TABLE item ORDER BY id") == [*before, (1000, "new")]


def test_exact_deletes_what_the_entry_has_not(sandbox: Sandbox) -> None:
    before = _rows(sandbox, "TABLE item ORDER BY id")
    sandbox.back_up()
    _do(sandbox, "DELETE FROM item WHERE id <= 10", "INSERT INTO item VALUES (1000, 'new')")
    assert _counts(_restore(sandbox, "public.*", exact=True)) == {"public.item": (10, 0, 1)}
    assert _rows(sandbox, "TABLE item ORDER BY id") == before
    assert _counts(_restore(sandbox, "public.*", exact=True)) == {}


@pytest.mark.command("restore")
@pytest.mark.promise("a restore brings back the rows of a table, and nothing else")
def test_the_command_brings_rows_back_and_takes_that_back(sandbox: Sandbox) -> None:
    sandbox.back_up()
    _do(sandbox, "DELETE FROM item WHERE id <= 3", "UPDATE item SET name = 'damaged' WHERE id = 11")
    damaged = _rows(sandbox, "TABLE item ORDER BY id")

    shown = sandbox.run("restore", "--latest", "--table", "item", "--dry-run", "--json").data
    assert shown["tables"][0]["rows"][0] == {
        "change": "updated",
        "key": {"id": "11"},
        "before": {"id": "11", "name": "damaged"},
        "after": {"id": "11", "name": "item 11"},
    }
    assert _rows(sandbox, "TABLE item ORDER BY id") == damaged

    data = sandbox.run("restore", "--latest", "--table", "item", "--json").data
    table = {"schema": "public", "table": "item", "rows_inserted": 3, "rows_updated": 1, "rows_deleted": 0}
    assert data["tables"] == [table]
    assert (data["conflicts"], data["triggers"]) == ([], "off")
    assert _rows(sandbox, "SELECT name FROM item WHERE id IN (1, 11) ORDER BY id") == [("item 1",), ("item 11",)]

    undone = sandbox.run("restore", "--undo", "--json").data
    assert undone["tables"] == [table | {"rows_inserted": 0, "rows_updated": 1, "rows_deleted": 3}]
    assert _rows(sandbox, "TABLE item ORDER BY id") == damaged
    assert sandbox.run("restore", "--undo").code == 10


@pytest.mark.promise("exit code 24")
def test_a_conflict_is_named_and_nothing_is_changed(sandbox: Sandbox) -> None:
    _do(sandbox, "ALTER TABLE item ADD UNIQUE (name)")
    sandbox.back_up()
    _do(sandbox, "DELETE FROM item WHERE id <= 3", "INSERT INTO item VALUES (1000, 'item 2')")
    before = _rows(sandbox, "TABLE item ORDER BY id")
    ran = sandbox.run("restore", "--latest", "--table", "item", "--json")
    assert ran.code == 24
    assert ran.document["error"]["code"] == "conflict"
    data = ran.document["data"]
    assert data["tables"] == []
    assert [each["key"] for each in data["conflicts"]] == [{"id": "2"}]
    assert "item_name_key" in data["conflicts"][0]["reason"]
    assert _rows(sandbox, "TABLE item ORDER BY id") == before
    assert _rows(sandbox, "SELECT nspname FROM pg_namespace WHERE nspname = 'snapkit_undo'") == []
