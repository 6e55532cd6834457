"""The very rows that a restore would write, with their values as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from psycopg import sql

from snapkit.core.comparison.differences import ShownRow
from snapkit.core.comparison.row_changes import Change
from snapkit.postgres.restoring.stage import Stage, listed, send, text, unrow

_CHANGES = {"i": Change.INSERTED, "u": Change.UPDATED, "d": Change.DELETED}


def shown_rows(stage: Stage, number: int) -> Iterator[ShownRow]:
    """Return up to ``number`` rows: those to be updated first, then inserted, then deleted."""
    queries = [
        sql.SQL("SELECT 'i', {key}, NULL::text[], {values} FROM {new} AS n WHERE n.{task} = 'i'").format(
            key=stage.shown_key("n"), values=_values(stage, "n"), new=stage.new, task=stage.task
        ),
        sql.SQL(
            "SELECT 'd', {key}, {values}, NULL::text[] FROM {table} AS t JOIN {gone} AS g "
            "ON t.tableoid = g.leaf AND t.ctid = g.tid"
        ).format(key=stage.shown_key("t"), values=_values(stage, "t"), table=stage.only, gone=stage.gone),
    ]
    if stage.key:
        changed = sql.SQL(
            "SELECT 'u', {key}, {before}, {after} FROM {new} AS n JOIN {table} AS t ON {same} WHERE n.{task} = 'u'"
        ).format(
            key=stage.shown_key("t"),
            before=_values(stage, "t"),
            after=_values(stage, "n"),
            new=stage.new,
            table=stage.only,
            same=stage.same_key("t", "n"),
            task=stage.task,
        )
        queries.insert(0, changed)
    names = [each.live.name for each in stage.fits]
    left = number
    for query in queries:
        for change, key, before, after in send(stage.session, _limited(query, left)).fetchall():
            left -= 1
            yield ShownRow(
                _CHANGES[change],
                dict(stage.as_key(key)) if stage.key else None,
                _named(names, before),
                _named(names, after),
            )


def _limited(query: sql.Composed, number: int) -> sql.Composed:
    return sql.SQL("{} LIMIT {}").format(query, sql.Literal(number))


def _values(stage: Stage, alias: str) -> sql.Composed:
    each = [
        sql.SQL("CASE WHEN {0} IS DISTINCT FROM NULL THEN textin(record_out(ROW({0}))) END").format(
            sql.SQL("{}.{}").format(text(alias), sql.Identifier(fit.live.name))
        )
        for fit in stage.fits
    ]
    return sql.SQL("ARRAY[{}]::text[]").format(listed(each))


def _named(names: Sequence[str], values: Sequence[str | None] | None) -> dict[str, str | None] | None:
    if values is None:
        return None
    return {name: None if each is None else unrow(each) for name, each in zip(names, values, strict=True)}
