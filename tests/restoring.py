"""What tests of restore do again and again."""

from __future__ import annotations

from typing import Any

from snapkit.core.comparison.patterns import table_pattern
from snapkit.core.restoring.restored import TriggerMode
from snapkit.services.restore import RestoreReceipt, RestoreRequest, prepared_restore, prepared_undo
from snapkit.services.restoring.staging import RestoreChoice
from tests.sandbox import LOCK_WAIT, Sandbox


def restore(
    box: Sandbox,
    *tables: str,
    wanted: str | None = None,
    url: str | None = None,
    triggers: TriggerMode | None = None,
    late_writes: bool = False,
    **choice: Any,
) -> RestoreReceipt:
    """Look, then restore; what was seen is what is done."""
    patterns = tuple(map(table_pattern, tables))
    request = RestoreRequest(wanted, RestoreChoice(patterns, **choice), triggers, late_writes)
    with prepared_restore(box.server(url), request, LOCK_WAIT) as prepared:
        preview = prepared.preview(10)
        receipt = prepared.apply()
    assert preview.conflicts == receipt.conflicts
    assert preview.tables == receipt.tables
    return receipt


def undo_restore(box: Sandbox, *, url: str | None = None, triggers: TriggerMode | None = None) -> RestoreReceipt:
    with prepared_undo(box.server(url), triggers) as prepared:
        return prepared.apply()


def do(box: Sandbox, *statements: str, url: str | None = None) -> None:
    """Run statements in the live database."""
    import psycopg

    with psycopg.connect(url, autocommit=True) if url else box.connect() as connection:
        for statement in statements:
            connection.execute(statement.encode())


def rows(box: Sandbox, query: str) -> list[tuple[Any, ...]]:
    with box.connect() as connection:
        return connection.execute(query.encode()).fetchall()


def counts(receipt: RestoreReceipt) -> dict[str, tuple[int, int, int]]:
    """By table: inserted, updated, deleted."""
    return {
        f"{each.schema}.{each.table}": (each.rows.inserted, each.rows.updated, each.rows.deleted)
        for each in receipt.tables
    }


def conflicts(receipt: RestoreReceipt) -> list[str]:
    return sorted(each.describe() for each in receipt.conflicts)
