"""Lock the live rows that will be written, and make the rows as they will be, in ``new``.

PostgreSQL casts the values, computes generated columns and checks constraints there. What it refuses is found by
halving: a statement for all rows, and if that fails, one for each half of them.
"""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
from psycopg import sql

from snapkit.core.comparison.row_changes import Column
from snapkit.core.restoring.column_fit import Way
from snapkit.core.restoring.restored import Key, RestoreConflict
from snapkit.core.secrets import without_values
from snapkit.postgres.restoring.entry_rows import VERSION
from snapkit.postgres.restoring.stage import INSERT, UPDATE, Stage, all_of, listed, send, text

_MOST_REFUSED = 100
"""After so many rows that PostgreSQL refuses, the rest are not looked at."""

_REFUSALS = (psycopg.errors.DataError, psycopg.errors.IntegrityError, psycopg.errors.RaiseException)


def conflict(stage: Stage, key: Key | None, reason: str) -> RestoreConflict:
    return RestoreConflict(stage.relation.schema, stage.relation.name, key, reason)


def column_conflicts(stage: Stage) -> list[RestoreConflict]:
    """Name the columns into which the entry's values have no way."""
    found = [
        conflict(
            stage,
            None,
            f"the column {each.live.name} is of type {each.live.type} by now, and there is no assignment cast from "
            f"{each.entry.type}",
        )
        for each in stage.fits
        if each.way is Way.NONE or (each.way is Way.CAST and not _has_cast(stage, each.live.name))
    ]
    return found + [
        conflict(stage, None, f"the column {each.name} counts by itself (GENERATED ALWAYS), and cannot be set")
        for each in _fixed(stage)
    ]


def _has_cast(stage: Stage, column: str) -> bool:
    """Whether an INSERT takes the value as it arrives. EXPLAIN asks, and runs nothing."""
    fit = next(each for each in stage.fits if each.live.name == column)
    ask = sql.SQL("EXPLAIN INSERT INTO {} ({}) SELECT {} FROM {} AS r").format(
        stage.new, sql.Identifier(column), stage.value(fit), stage.raw
    )
    try:
        with stage.session.transaction():
            send(stage.session, ask)
    except (psycopg.errors.DatatypeMismatch, psycopg.errors.CannotCoerce):
        return False
    return True


def _fixed(stage: Stage) -> Iterator[Column]:
    """The columns of an update that may only be set by an INSERT, and that differ in some row."""
    for each in stage.sets:
        if each.live.identity != "a" or not stage.key:
            continue
        differs = sql.SQL(
            "SELECT EXISTS (SELECT FROM {} AS r JOIN {} AS t ON {} WHERE r.task = 'u' AND t.{} IS DISTINCT FROM {})"
        ).format(
            stage.raw, stage.only, stage.raw_key(), sql.Identifier(each.live.name), stage.value(each, exactly=True)
        )
        if send(stage.session, differs).fetchone() == (True,):
            yield each.live


def lock_rows(stage: Stage) -> None:
    """Lock the live rows that will be written, in the order of their keys. Waits for whoever is writing to them.

    Rows to be deleted that were written meanwhile are left alone: they are not the rows that were compared.
    """
    if stage.key:
        strength = "FOR UPDATE" if _touches_unique(stage) else "FOR NO KEY UPDATE"
        order = listed([sql.SQL("t.{}").format(sql.Identifier(each.name)) for each in stage.key])
        send(
            stage.session,
            sql.SQL(
                "SELECT count(*) FROM (SELECT FROM {} AS r JOIN {} AS t ON {} WHERE r.task = 'u' "
                "ORDER BY {} {} OF t) AS locked"
            ).format(stage.raw, stage.only, stage.raw_key(), order, text(strength)),
        )
    send(
        stage.session,
        sql.SQL(
            "SELECT count(*) FROM (SELECT FROM {} AS g JOIN {} AS t ON t.tableoid = g.leaf AND t.ctid = g.tid "
            "ORDER BY g.leaf, g.tid FOR UPDATE OF t) AS locked"
        ).format(stage.gone, stage.only),
    )


def leave_what_was_written(stage: Stage) -> int:
    """Take the row versions out of ``gone`` that are there no more; return how many that are."""
    left = send(
        stage.session,
        sql.SQL(
            "DELETE FROM {gone} AS g WHERE NOT EXISTS (SELECT FROM (SELECT tableoid AS leaf, ctid AS tid, {version} AS "
            "version FROM {table}) AS t WHERE t.leaf = g.leaf AND t.tid = g.tid AND t.version = g.version)"
        ).format(gone=stage.gone, version=VERSION, table=stage.only),
    )
    return left.rowcount


def _touches_unique(stage: Stage) -> bool:
    """Whether an update may change what another table refers to. It has to be locked as PostgreSQL does it."""
    names = {each.live.name for each in stage.sets}
    return any(not rule.columns or not names.isdisjoint(rule.columns) for rule in stage.live.unique)


def fill(stage: Stage) -> tuple[list[RestoreConflict], int]:
    """Make the rows in ``new``. Return those that PostgreSQL refuses, and how many to be updated are gone by now.

    An update to the values that the live row has already is none.
    """
    rows = send(
        stage.session, sql.SQL("SELECT min(snapkit_row), max(snapkit_row) FROM {}").format(stage.raw)
    ).fetchall()
    send(stage.session, sql.SQL("TRUNCATE {}").format(stage.new))
    refused: list[RestoreConflict] = []
    waiting: list[tuple[int, int]] = [each for each in rows if each[0] is not None]
    while waiting and len(refused) < _MOST_REFUSED:
        low, high = waiting.pop()
        try:
            with stage.session.transaction():
                _make(stage, low, high)
        except _REFUSALS as error:
            if low == high:
                refused.append(conflict(stage, _key_in_raw(stage, low), _said(error)))
                continue
            middle = (low + high) // 2
            waiting += [(middle + 1, high), (low, middle)]
    vanished = 0 if refused else _leave_what_is_there(stage)
    send(stage.session, sql.SQL("ANALYZE {}").format(stage.new))
    return refused, vanished


def _said(error: psycopg.Error) -> str:
    """What PostgreSQL says, without the values of the row."""
    constraint = f" ({error.diag.constraint_name})" if error.diag.constraint_name else ""
    return f"PostgreSQL refuses it: {without_values(error.diag.message_primary or str(error))}{constraint}"


def _make(stage: Stage, low: int, high: int) -> None:
    between = sql.SQL("r.snapkit_row BETWEEN {} AND {}").format(sql.Literal(low), sql.Literal(high))
    into = listed([*(sql.Identifier(each.live.name) for each in stage.fits), stage.task])
    values = listed([*(stage.value(each) for each in stage.fits), sql.Literal(INSERT)])
    send(
        stage.session,
        sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {} AS r WHERE r.task = 'i' AND {}").format(
            stage.new, into, values, stage.raw, between
        ),
    )
    if not stage.key:
        return
    by_number = {each.live.number: each for each in stage.sets}
    merged = [
        stage.value(by_number[each.number])
        if each.number in by_number
        else sql.SQL("t.{}").format(sql.Identifier(each.name))
        for each in stage.written
    ]
    into = listed([*(sql.Identifier(each.name) for each in stage.written), stage.task])
    send(
        stage.session,
        sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {} AS r JOIN {} AS t ON {} WHERE r.task = 'u' AND {}").format(
            stage.new, into, listed([*merged, sql.Literal(UPDATE)]), stage.raw, stage.only, stage.raw_key(), between
        ),
    )


def _key_in_raw(stage: Stage, row: int) -> Key:
    parts = []
    by_number = {each.live.number: each for each in stage.fits}
    for column in stage.key_columns:
        arrived = stage.arriving[stage.fits.index(by_number[column.number])]
        value = sql.SQL("r.{}").format(arrived)
        parts.append(sql.SQL("CASE WHEN {0} IS DISTINCT FROM NULL THEN textin(record_out(ROW({0}))) END").format(value))
    query = sql.SQL("SELECT ARRAY[{}]::text[] FROM {} AS r WHERE r.snapkit_row = {}").format(
        listed(parts), stage.raw, sql.Literal(row)
    )
    found = send(stage.session, query).fetchone()
    return stage.as_key(found[0]) if found else ()


def _leave_what_is_there(stage: Stage) -> int:
    if not stage.key:
        return 0
    columns = [each.live for each in stage.fits]
    vanished = send(
        stage.session,
        sql.SQL("SELECT count(*) FROM {} AS r WHERE r.task = 'u' AND NOT EXISTS (SELECT FROM {} AS t WHERE {})").format(
            stage.raw, stage.only, stage.raw_key()
        ),
    ).fetchone()
    send(
        stage.session,
        sql.SQL("DELETE FROM {} AS n USING {} AS t WHERE {}").format(
            stage.new,
            stage.only,
            all_of(
                [
                    sql.SQL("n.{} = 'u'").format(stage.task),
                    stage.same_key("t", "n"),
                    sql.SQL("{} = {}").format(stage.row_text("t", columns), stage.row_text("n", columns)),
                ]
            ),
        ),
    )
    return int(vanished[0]) if vanished else 0
