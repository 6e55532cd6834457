"""Rows of tables as JSON: numbers, conflicts, and single rows with their values."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from snapkit.cli.envelope import Document
    from snapkit.core.comparison.differences import ShownRow
    from snapkit.core.comparison.writes import Rows
    from snapkit.core.restoring.restored import RestoreConflict


def table_document(schema: str, table: str, rows: Rows | None) -> Document:
    """Return a table with its numbers of rows, null if these are not known."""
    return {
        "schema": schema,
        "table": table,
        "rows_inserted": rows.inserted if rows else None,
        "rows_updated": rows.updated if rows else None,
        "rows_deleted": rows.deleted if rows else None,
    }


def conflict_document(conflict: RestoreConflict) -> Document:
    return {
        "schema": conflict.schema,
        "table": conflict.table,
        "key": None if conflict.key is None else dict(conflict.key),
        "reason": conflict.reason,
    }


def row_document(row: ShownRow) -> Document:
    """Return a changed row: columns to values as text."""

    def values(side: Mapping[str, str | None] | None) -> Document | None:
        return None if side is None else dict(side)

    return {
        "change": row.change.value,
        "key": values(row.key),
        "before": values(row.before),
        "after": values(row.after),
    }
