"""What a restore keeps so that it can be taken back: the schema ``snapkit_undo`` of the live database.

It is the one thing of ours that lies in a user's database. It is written in the restore's own transaction, belongs to
the role that ran it, and nobody else may look into it. A row of ``restores`` stands for each restore. A table of its
own keeps, for each table that it wrote to, the rows as they were before, and the keys of those that it inserted. A row
that somebody has written since has another transaction in ``xmin`` than the restore's.
https://www.postgresql.org/docs/current/ddl-system-columns.html
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from psycopg import errors, sql

from snapkit.core.comparison.writes import Rows
from snapkit.core.restoring.column_fit import FIRST_OF_USERS
from snapkit.core.values import dataclass
from snapkit.postgres.comparison.relations import UNDO_SCHEMA
from snapkit.postgres.restoring.stage import Session, Stage, listed, send

_SCHEMA = sql.Identifier(UNDO_SCHEMA)
_RESTORES = sql.Identifier(UNDO_SCHEMA, "restores")
_TABLES = sql.Identifier(UNDO_SCHEMA, "tables")

_COMMENT = "Made by snapkit: what restores have changed, for snapkit restore --undo"

LIFETIME = timedelta(days=7)

_LOCK = 0x736E61706B697475
"""An advisory lock of the database: one restore at a time writes to the schema."""


@dataclass(frozen=True, slots=True)
class KeptTable:
    """What was kept of one table: ``rows_table`` holds it, ``columns`` are the numbers of the live columns in it.

    Without a ``key`` the rows that were inserted are found by the restore's transaction alone.
    """

    number: int
    oid: int
    schema: str
    name: str
    rows: Rows
    columns: tuple[int, ...]
    key: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class KeptRestore:
    """One restore: its transaction, when it was, from which entry, in which database, and how triggers went."""

    id: int
    xid: int
    at: datetime
    entry: str
    database: int
    triggers: str
    tables: tuple[KeptTable, ...] = ()


def one_at_a_time(session: Session) -> None:
    """Wait for another restore of this database to end."""
    send(session, sql.SQL("SELECT pg_advisory_xact_lock({})").format(sql.Literal(_LOCK)))


def exists(session: Session) -> bool:
    """Whether there is such a schema, made by us and readable for this role.

    What stands in a schema of somebody else may be a view, or have a trigger, and would run with our rights. So it
    counts only if it belongs to this very role, or to a superuser, who can do all that anyway.
    """
    found = send(
        session,
        sql.SQL(
            "SELECT has_schema_privilege(n.oid, 'USAGE') AND obj_description(n.oid, 'pg_namespace') = {} "
            "AND (o.rolname = current_user OR o.rolsuper) "
            "FROM pg_namespace AS n JOIN pg_roles AS o ON o.oid = n.nspowner WHERE n.nspname = {}"
        ).format(sql.Literal(_COMMENT), sql.Literal(UNDO_SCHEMA)),
    ).fetchone()
    return found is not None and bool(found[0])


def begin(session: Session, entry: str, triggers: str) -> KeptRestore:
    """Note that a restore has begun, in its transaction; make the schema if it is not there."""
    if not exists(session):
        _make(session)
    row = send(
        session,
        sql.SQL(
            "INSERT INTO {} (xid, at, entry, database, triggers) SELECT pg_current_xact_id(), clock_timestamp(), {}, "
            "d.oid, {} FROM pg_database AS d WHERE datname = current_database() "
            "RETURNING id, textin(xid8out(xid)), at, database"
        ).format(_RESTORES, sql.Literal(entry), sql.Literal(triggers)),
    ).fetchone()
    assert row is not None  # noqa: S101 - RETURNING returns a row
    return KeptRestore(row[0], int(row[1]), row[2], entry, row[3], triggers)


def _make(session: Session) -> None:
    """Default privileges may give others rights on what is made here. They are taken from all of them."""
    send(session, sql.SQL("CREATE SCHEMA {}").format(_SCHEMA))
    send(session, sql.SQL("COMMENT ON SCHEMA {} IS {}").format(_SCHEMA, sql.Literal(_COMMENT)))
    grantees = send(
        session,
        sql.SQL(
            "SELECT DISTINCT grantee, CASE WHEN grantee <> 0 THEN pg_get_userbyid(grantee) END "
            "FROM pg_namespace, aclexplode(nspacl) WHERE nspname = {} AND grantee <> nspowner"
        ).format(sql.Literal(UNDO_SCHEMA)),
    ).fetchall()
    for _, role in grantees:
        whom = sql.SQL("PUBLIC") if role is None else sql.Identifier(role)
        send(session, sql.SQL("REVOKE ALL ON SCHEMA {} FROM {}").format(_SCHEMA, whom))
    send(
        session,
        sql.SQL(
            "CREATE TABLE {} (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, xid xid8 NOT NULL, "
            "at timestamptz NOT NULL, entry text NOT NULL, database oid NOT NULL, triggers text NOT NULL)"
        ).format(_RESTORES),
    )
    send(
        session,
        sql.SQL(
            "CREATE TABLE {} (restore bigint NOT NULL, number int NOT NULL, oid oid NOT NULL, schema text NOT NULL, "
            "name text NOT NULL, inserted bigint NOT NULL, updated bigint NOT NULL, deleted bigint NOT NULL, "
            "columns int[] NOT NULL, key int[] NOT NULL, PRIMARY KEY (restore, number))"
        ).format(_TABLES),
    )


def rows_table(restore: int, number: int) -> sql.Identifier:
    return sql.Identifier(UNDO_SCHEMA, f"rows_{restore}_{number}")


def keep_before(stage: Stage, restore: KeptRestore) -> None:
    """Keep the rows that will be updated or deleted, as they are."""
    columns = _columns(stage)
    kept = rows_table(restore.id, stage.number)
    names = listed([sql.SQL("t.{}").format(each) for each in columns])
    send(
        stage.session,
        sql.SQL("CREATE TABLE {} AS SELECT 'u'::\"char\" AS {}, {} FROM {} AS t WITH NO DATA").format(
            kept, stage.task, names, stage.name
        ),
    )
    into = listed([stage.task, *columns])
    if stage.key:
        send(
            stage.session,
            sql.SQL("INSERT INTO {} ({}) SELECT 'u', {} FROM {} AS t JOIN {} AS n ON {} WHERE n.{} = 'u'").format(
                kept, into, names, stage.only, stage.new, stage.same_key("t", "n"), stage.task
            ),
        )
    send(
        stage.session,
        sql.SQL(
            "INSERT INTO {} ({}) SELECT 'd', {} FROM {} AS t JOIN {} AS g ON t.tableoid = g.leaf AND t.ctid = g.tid"
        ).format(kept, into, names, stage.only, stage.gone),
    )


def keep_inserted(stage: Stage, restore: KeptRestore) -> None:
    """Keep which rows were inserted: their keys, or the whole rows where there is no key.

    Of the many that went straight nothing is kept: all of them have our transaction in xmin.
    """
    if stage.straight is not None:
        return
    of_users = any(
        each.type_oid >= FIRST_OF_USERS for each in stage.relation.columns
    )  # maybe a domain that is NOT NULL
    whole = not stage.key or of_users
    names = _columns(stage) if whole else [sql.Identifier(each.name) for each in stage.key]
    send(
        stage.session,
        sql.SQL("INSERT INTO {} ({}) SELECT 'i', {} FROM {} AS n WHERE n.{} = 'i'").format(
            rows_table(restore.id, stage.number), listed([stage.task, *names]), listed(names), stage.new, stage.task
        ),
    )


def _columns(stage: Stage) -> list[sql.Identifier]:
    return [sql.Identifier(each.name) for each in stage.relation.columns if each.generated != "v"]


def note_table(stage: Stage, restore: KeptRestore, rows: Rows) -> None:
    """Note what was kept of a table."""
    columns = [each.number for each in stage.relation.columns if each.generated != "v"]
    key = [] if stage.straight is not None else [each.number for each in stage.key]
    send(
        stage.session,
        sql.SQL("INSERT INTO {} VALUES ({})").format(
            _TABLES,
            listed(
                [
                    sql.Literal(each)
                    for each in (
                        restore.id,
                        stage.number,
                        stage.relation.oid,
                        stage.relation.schema,
                        stage.relation.name,
                        rows.inserted,
                        rows.updated,
                        rows.deleted,
                    )
                ]
                + [sql.SQL("{}::int[]").format(sql.Literal(numbers)) for numbers in (columns, key)]
            ),
        ),
    )


_OF_THIS_DATABASE = sql.SQL("database = (SELECT oid FROM pg_database WHERE datname = current_database())")


def last(session: Session) -> KeptRestore | None:
    """Return the last restore of this very database; None if there is none to be taken back.

    A database that was swapped in brings along what its source had kept, with the source's OID.
    """
    found = _restores(session, sql.SQL("{} ORDER BY id DESC LIMIT 1").format(_OF_THIS_DATABASE))
    return found[0] if found else None


def outdated(session: Session, age: timedelta = LIFETIME) -> Sequence[KeptRestore]:
    """Return the restores that were too long ago to be taken back, and those of another database (see ``last``)."""
    seconds = sql.Literal(f"{int(age.total_seconds())} s")
    return _restores(
        session, sql.SQL("at < now() - {}::interval OR NOT {} ORDER BY id").format(seconds, _OF_THIS_DATABASE)
    )


def _restores(session: Session, which: sql.Composed) -> list[KeptRestore]:
    columns = sql.SQL("id, textin(xid8out(xid)), at, entry, database, triggers")
    rows = send(session, sql.SQL("SELECT {} FROM {} WHERE {}").format(columns, _RESTORES, which)).fetchall()
    return [
        KeptRestore(number, int(xid), *rest, _tables(session, number))  # type: ignore[call-arg]
        for number, xid, *rest in rows
    ]


def _tables(session: Session, restore: int) -> tuple[KeptTable, ...]:
    rows = send(
        session,
        sql.SQL(
            "SELECT number, oid, schema, name, inserted, updated, deleted, columns, key FROM {} WHERE restore = {} "
            "ORDER BY number"
        ).format(_TABLES, sql.Literal(restore)),
    ).fetchall()
    return tuple(
        KeptTable(number, oid, schema, name, Rows(*counts), tuple(columns), tuple(key))
        for number, oid, schema, name, *counts, columns, key in rows
    )


def forget(session: Session, restore: KeptRestore) -> None:
    """Drop what was kept of a restore; the schema, too, if nothing else is in it."""
    for each in restore.tables:
        send(session, sql.SQL("DROP TABLE {}").format(rows_table(restore.id, each.number)))
    for table, named in ((_TABLES, "restore"), (_RESTORES, "id")):
        send(
            session,
            sql.SQL("DELETE FROM {} WHERE {} = {}").format(table, sql.Identifier(named), sql.Literal(restore.id)),
        )
    if send(session, sql.SQL("SELECT FROM {} LIMIT 1").format(_RESTORES)).fetchone() is None:
        send(session, sql.SQL("DROP TABLE {}, {}").format(_TABLES, _RESTORES))
        with suppress(errors.DependentObjectsStillExist), session.transaction():  # something that is not ours is in it
            send(session, sql.SQL("DROP SCHEMA {}").format(_SCHEMA))


def has_committed(session: Session, xid: int) -> bool | None:
    """Whether a transaction was committed; None while it is still in progress. From any database of the server.

    https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-INFO-SNAPSHOT
    """
    row = send(session, sql.SQL("SELECT pg_xact_status({}::xid8)").format(sql.Literal(str(xid)))).fetchone()
    status = row[0] if row else None
    return None if status == "in progress" else status == "committed"


def end_transaction(session: Session, pid: int, xid: int) -> None:
    """End the session of ours whose connection was lost, if it still has this transaction."""
    send(
        session,
        sql.SQL(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = {} AND backend_xid = {}::xid8::xid"
        ).format(sql.Literal(pid), sql.Literal(str(xid))),
    )
