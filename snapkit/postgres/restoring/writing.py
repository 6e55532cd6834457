"""Write the rows that wait in ``new`` and ``gone``, and see what became of them. All in the restore's transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import psycopg
from psycopg import errors, sql

from snapkit.core.comparison.writes import Rows
from snapkit.core.restoring.live_table import ForeignKey, OwnedSequence, UserTrigger
from snapkit.core.restoring.restored import Key, RestoreConflict, TriggerWay
from snapkit.core.secrets import without_values
from snapkit.postgres.restoring.conflicts import child_of, parent_of, refers
from snapkit.postgres.restoring.entry_rows import copy_straight
from snapkit.postgres.restoring.filling import conflict
from snapkit.postgres.restoring.kept import KeptRestore, rows_table
from snapkit.postgres.restoring.stage import Session, Stage, Straight, all_of, listed, send, text

REFUSALS = (errors.IntegrityError, errors.DataError, errors.RaiseException)
"""What PostgreSQL raises for rows that it does not take; triggers raise the last."""

_MODES = {"O": "ENABLE TRIGGER", "A": "ENABLE ALWAYS TRIGGER"}


def lock_tables(stages: Sequence[Stage]) -> sql.Composed:
    """The statement that keeps the tables from being altered, as every writer does. Others go on writing."""
    return sql.SQL("LOCK TABLE {} IN ROW EXCLUSIVE MODE").format(listed([stage.only for stage in stages]))


def prepare_triggers(session: Session, way: TriggerWay, triggers: Sequence[UserTrigger]) -> None:
    """Switch them off, or let foreign keys wait for COMMIT where they may.

    https://www.postgresql.org/docs/current/sql-altertable.html (DISABLE TRIGGER)
    """
    if way is TriggerWay.SESSION:
        send(session, sql.SQL("SELECT set_config('session_replication_role', 'replica', true)"))
        return
    send(session, sql.SQL("SET CONSTRAINTS ALL DEFERRED"))
    if way is TriggerWay.TABLE:
        for each in triggers:
            send(
                session,
                sql.SQL("ALTER TABLE ONLY {} DISABLE TRIGGER {}").format(
                    sql.Identifier(*each.table), sql.Identifier(each.name)
                ),
            )


def settle_triggers(session: Session, way: TriggerWay, triggers: Sequence[UserTrigger]) -> None:
    """Check what was deferred, and enable again what was disabled."""
    if way is TriggerWay.SESSION:
        return
    send(session, sql.SQL("SET CONSTRAINTS ALL IMMEDIATE"))
    if way is TriggerWay.TABLE:
        for each in triggers:
            send(
                session,
                sql.SQL("ALTER TABLE ONLY {} {} {}").format(
                    sql.Identifier(*each.table), text(_MODES[each.mode]), sql.Identifier(each.name)
                ),
            )


def delete(stage: Stage) -> sql.Composed:
    """The statement that deletes the row versions in ``gone``."""
    return sql.SQL("DELETE FROM {} AS t USING {} AS g WHERE t.tableoid = g.leaf AND t.ctid = g.tid").format(
        stage.only, stage.gone
    )


def update(stage: Stage) -> sql.Composed | None:
    """The statement that sets the columns that both have; None if there are none.

    Columns that only the live table has stay as they are.
    """
    setting = [
        sql.SQL("{0} = n.{0}").format(sql.Identifier(each.live.name))
        for each in stage.sets
        if each.live.identity != "a"
    ]
    if not stage.key or not setting:
        return None
    return sql.SQL("UPDATE {} AS t SET {} FROM {} AS n WHERE n.{} = 'u' AND {}").format(
        stage.only, listed(setting), stage.new, stage.task, stage.same_key("t", "n")
    )


def insert(stage: Stage) -> sql.Composed:
    """The statement that inserts the rows that are missing, with their values of identity columns."""
    names = listed([sql.Identifier(each.name) for each in stage.written])
    return sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {} WHERE {} = 'i'").format(
        stage.name, names, names, stage.new, stage.task
    )


def insert_straight(stage: Stage, straight: Straight) -> int:
    """Send rows from the entry into the live table. Return how many."""
    written = copy_straight(straight.entry, stage, straight.places)
    straight.is_written = True
    return written


def planned(stage: Stage) -> Rows:
    """How many rows will be inserted, updated and deleted."""
    if stage.straight is not None:
        return Rows(inserted=stage.straight.rows)
    row = send(
        stage.session,
        sql.SQL(
            "SELECT count(*) FILTER (WHERE {0} = 'i'), count(*) FILTER (WHERE {0} = 'u'), "
            "(SELECT count(*) FROM {1}) FROM {2}"
        ).format(stage.task, stage.gone, stage.new),
    ).fetchone()
    return Rows(*row) if row else Rows()


def changed_by_triggers(stage: Stage) -> Iterator[Key]:
    """Name the rows that are not as they were written; only rows with a key can be found again."""
    if not stage.key:
        return
    columns = stage.written
    query = sql.SQL("SELECT {} FROM {} AS n WHERE NOT EXISTS (SELECT FROM {} AS t WHERE {} AND {} = {})").format(
        stage.shown_key("n"),
        stage.new,
        stage.only,
        stage.same_key("t", "n"),
        stage.row_text("t", columns),
        stage.row_text("n", columns),
    )
    yield from stage.keys_of(query)


def left_alone(stage: Stage, key: ForeignKey, restore: KeptRestore) -> Iterator[RestoreConflict]:
    """Name the rows of a table that were changed, and to which others refer that now have no parent."""
    query = sql.SQL(
        "SELECT {} FROM {} AS b WHERE b.{} IN ('u', 'd') AND EXISTS (SELECT FROM {} AS c WHERE {}) "
        "AND NOT EXISTS (SELECT FROM {} AS p WHERE {})"
    ).format(
        stage.shown_key("b"),
        rows_table(restore.id, stage.number),
        stage.task,
        child_of(key),
        refers(key, "b", "c"),
        parent_of(key),
        all_of(
            [
                sql.SQL("p.{0} {1} b.{0}").format(sql.Identifier(above), text("IS NOT DISTINCT FROM"))
                for above in key.parent_columns
            ]
        ),
    )
    there = ".".join(key.child_name)
    for found in stage.keys_of(query):
        yield conflict(stage, found, f"rows of {there} refer to it as it is now ({key.name})")


def refusal(error: psycopg.Error) -> RestoreConflict:
    """Return the conflict for what PostgreSQL refuses although no conflict was found before."""
    diag = error.diag
    said = without_values(diag.message_primary or str(error))
    constraint = f" ({diag.constraint_name})" if diag.constraint_name else ""
    return RestoreConflict(diag.schema_name or "", diag.table_name or "", None, f"PostgreSQL says: {said}{constraint}")


def move_sequence(stage: Stage, sequence: OwnedSequence) -> None:
    """Set a sequence past the values that rows brought along, and never back.

    Others draw from it meanwhile, and setval() asks nobody. So the new value has a margin: between our look at the
    sequence and our setval() they cannot get past it. A value so near the sequence's end that there is no room for the
    margin was given by hand, such as the greatest of its type: to follow it would use the sequence up.
    https://www.postgresql.org/docs/current/functions-sequence.html
    """
    name, column = sql.Identifier(sequence.schema, sequence.name), sql.Identifier(sequence.column)
    rises = sequence.increment > 0
    margin = max(100, 10 * sequence.cached) * sequence.increment
    furthest, beyond = ("max", ">") if rises else ("min", "<")
    send(
        stage.session,
        sql.SQL(
            "SELECT setval({regclass}, brought.furthest + {margin}) "
            "FROM (SELECT {furthest}({column})::bigint AS furthest FROM {new}, pg_sequence AS s WHERE {task} = 'i' "
            "AND s.seqrelid = {regclass} AND {column}::numeric + {margin} {within} s.{limit}) AS brought, {name} AS q "
            "WHERE brought.furthest {beyond} q.last_value OR (brought.furthest = q.last_value AND NOT q.is_called)"
        ).format(
            regclass=sql.SQL("{}::regclass").format(sql.Literal(name.as_string(stage.session))),
            limit=text("seqmax" if rises else "seqmin"),
            within=text("<=" if rises else ">="),
            margin=sql.Literal(margin),
            furthest=text(furthest),
            column=column,
            new=sql.SQL("{} AS n").format(stage.rows),
            task=stage.task,
            name=name,
            beyond=text(beyond),
        ),
    )


def as_text(session: Session, statement: sql.Composed) -> str:
    """Return a statement as it is sent."""
    return statement.as_string(session)
