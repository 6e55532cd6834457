"""Have what an earlier restore has kept wait to be written again: its tables take the entry's place."""

from __future__ import annotations

from collections.abc import Iterator

from psycopg import sql

from snapkit.core.comparison.row_changes import Column, Pair, Relation
from snapkit.core.restoring.restored import RestoreConflict
from snapkit.postgres.comparison.relations import UNDO_SCHEMA, relations
from snapkit.postgres.connection.driver import driver_connection
from snapkit.postgres.connection.server import Connection
from snapkit.postgres.restoring.entry_rows import VERSION
from snapkit.postgres.restoring.filling import conflict
from snapkit.postgres.restoring.kept import KeptRestore, KeptTable, rows_table
from snapkit.postgres.restoring.stage import Session, Stage, all_of, listed, send, text


def pair_of(connection: Connection, restore: KeptRestore, table: KeptTable) -> Pair | str:
    """Return the kept rows and the live table as a pair; or why they are none any more."""
    found = relations(connection, [table.oid])
    if not found or found[0].oid != table.oid or found[0].kind not in ("r", "p"):
        return "the table was dropped since the restore"
    live = found[0]
    kept = _kept_columns(driver_connection(connection), restore, table)
    by_number = {each.number: each for each in live.columns}
    columns = tuple((each, by_number[each.number]) for each in kept if each.number in by_number)
    key = tuple(pair for pair in columns if pair[1].number in table.key)
    names = {after.name for _, after in key}
    if len(key) != len(table.key) or (names and not any(names == set(each) for each in live.keys)):
        return "its key is another one than at the restore"
    before = Relation(0, UNDO_SCHEMA, f"rows_{restore.id}_{table.number}", tuple(kept), ())
    return Pair(before, live, columns, key or None, related=True)


def _kept_columns(session: Session, restore: KeptRestore, table: KeptTable) -> list[Column]:
    """The columns of the kept rows, with the numbers of the live table's. The first one says what became of a row."""
    rows = send(
        session,
        sql.SQL(
            "SELECT attnum, attname, format_type(atttypid, atttypmod), atttypid FROM pg_attribute "
            "WHERE attrelid = {}::regclass AND attnum > 1 AND NOT attisdropped ORDER BY attnum"
        ).format(sql.Literal(rows_table(restore.id, table.number).as_string(session))),
    ).fetchall()
    return [Column(table.columns[number - 2], name, kind, oid) for number, name, kind, oid in rows]


class Undoing:
    """One table of a restore that is taken back."""

    def __init__(self, stage: Stage, restore: KeptRestore, table: KeptTable) -> None:
        self.stage = stage
        self.table = table
        self._rows = rows_table(restore.id, table.number)
        self._task = sql.SQL("k.{}").format(stage.task)
        self._is_ours = sql.SQL("t.xmin = {}::xid8::xid").format(sql.Literal(str(restore.xid)))

    def fetch(self) -> None:
        """Fill ``raw`` with the rows as they were, and ``gone`` with those that the restore inserted."""
        stage = self.stage
        columns = [sql.SQL("k.{}").format(sql.Identifier(each.entry.name)) for each in stage.fits]
        send(
            stage.session,
            sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {} AS k WHERE {} IN ('u', 'd')").format(
                stage.raw,
                listed([sql.Identifier("task"), *stage.arriving]),
                listed([sql.SQL("CASE {} WHEN 'd' THEN 'i' ELSE 'u' END::\"char\"").format(self._task), *columns]),
                self._rows,
                self._task,
            ),
        )
        if not self.table.rows.inserted:
            return
        inserted = sql.SQL("true")
        if stage.key:
            inserted = sql.SQL("EXISTS (SELECT FROM {} AS k WHERE {} = 'i' AND {})").format(  # type: ignore[assignment]
                self._rows, self._task, self._same_key()
            )
        send(
            stage.session,
            sql.SQL("INSERT INTO {} SELECT t.tableoid, t.ctid, {} FROM {} AS t WHERE {} AND {}").format(
                stage.gone, VERSION, stage.only, self._is_ours, inserted
            ),
        )

    def _same_key(self) -> sql.Composed:
        by_number = {each.live.number: each.entry.name for each in self.stage.fits}
        return all_of(
            [
                sql.SQL("t.{} {} k.{}").format(
                    sql.Identifier(column.name), text(operator), sql.Identifier(by_number[column.number])
                )
                for column, operator in zip(self.stage.key, self.stage.live.key_operators, strict=True)
            ]
        )

    def written_since(self) -> Iterator[RestoreConflict]:
        """Name the rows that somebody has written since the restore."""
        stage = self.stage
        if not stage.key:
            found = send(stage.session, sql.SQL("SELECT count(*) FROM {}").format(stage.gone)).fetchone()
            missing = self.table.rows.inserted - (found[0] if found else 0)
            if missing:
                yield conflict(
                    stage, None, f"{missing} of the rows that were inserted have been changed or deleted since"
                )
            return
        changed = sql.SQL(
            "SELECT {} FROM {} AS t WHERE NOT {} AND EXISTS (SELECT FROM {} AS k WHERE {} IN ('i', 'u') AND {})"
        ).format(stage.shown_key("t"), stage.only, self._is_ours, self._rows, self._task, self._same_key())
        for key in stage.keys_of(changed):
            yield conflict(stage, key, "it was changed since the restore")
        deleted = sql.SQL("SELECT {} FROM {} AS k WHERE {} = 'u' AND NOT EXISTS (SELECT FROM {} AS t WHERE {})").format(
            self._kept_key(), self._rows, self._task, stage.only, self._same_key()
        )
        for key in stage.keys_of(deleted):
            yield conflict(stage, key, "it was deleted since the restore")

    def _kept_key(self) -> sql.Composed:
        by_number = {each.live.number: each.entry.name for each in self.stage.fits}
        parts = [
            sql.SQL("textin(record_out(ROW(k.{})))").format(sql.Identifier(by_number[each.number]))
            for each in self.stage.key
        ]
        return sql.SQL("ARRAY[{}]::text[]").format(listed(parts))
