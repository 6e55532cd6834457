"""Read rows of an entry by their places, and send them to the live database, into a table in which they wait.

The condition of ``--where`` is the user's own SQL, and runs with the user's own rights. It has to be one expression,
so that it cannot reach beyond the parentheses that it stands in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from psycopg import pq, sql

from snapkit.core.comparison.lineage import Boundary
from snapkit.core.comparison.row_changes import Relation
from snapkit.core.comparison.tids import unpack
from snapkit.core.restoring.column_fit import columns_gone
from snapkit.core.restoring.restored import Key
from snapkit.postgres.copying.relay import relay
from snapkit.postgres.restoring.stage import Session, Stage, listed, send, text


def never() -> bool:
    return False


def why_no_condition(session: Session, table: Relation, where: str) -> str | None:
    """Return why the server takes ``where`` for no condition over the table; None: it is one.

    The server parses it three times, and runs nothing: between other words each time. A text that closes our
    parentheses and opens them again would have to go on as these three do, and then it is an expression.
    PQprepare takes one statement only. https://www.postgresql.org/docs/current/libpq-exec.html#LIBPQ-PQPREPARE
    """
    condition = as_condition(where)
    frames = (
        sql.SQL("SELECT ARRAY[{}] FROM {}"),
        sql.SQL("SELECT CASE WHEN {} THEN 1 END FROM {}"),
        sql.SQL("SELECT 1 FROM {1} WHERE {0}"),
    )
    for frame in frames:
        statement = frame.format(condition, named(table))
        result = session.pgconn.prepare(b"", statement.as_bytes(session))
        if result.status != pq.ExecStatus.COMMAND_OK:
            said = result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b"the server does not say why"
            return said.decode("utf-8", "replace")
    return None


def as_condition(where: str) -> sql.Composed:
    """Put the condition into parentheses. The line break ends a comment at its end."""
    return sql.SQL("(({}\n))").format(text(where))


def named(table: Relation) -> sql.Composed:
    name = sql.Identifier(table.schema, table.name)
    return sql.SQL("{}" if table.partitioned else "ONLY {}").format(name)


Places = Iterable[tuple[int, bytes]]
"""Leaves by OID, and places in them (``core.comparison.tids``), some thousands at a time."""


def fetch(entry: Session, stage: Stage, task: str, places: Places, condition: sql.Composable | None) -> None:
    """Send rows of the entry, by their places, into ``raw``. ``task`` is what becomes of them: INSERT, UPDATE."""
    columns = [sql.SQL('{}::"char"').format(sql.Literal(task)), *_columns(stage)]
    target = listed([sql.Identifier("task"), *stage.arriving])
    write = sql.SQL("COPY {} ({}) FROM STDIN").format(stage.raw, target)
    for leaf, tids in places:
        relay(entry, stage.session, _reading(stage, leaf, columns, _chosen(tids, condition)), write, never)


def copy_straight(entry: Session, stage: Stage, places: Places | None) -> int:
    """Send rows of the entry, by their places, into the live table itself; None: all. Return how many were written."""
    names = listed([sql.Identifier(each.live.name) for each in stage.fits])
    write = sql.SQL("COPY {} ({}) FROM STDIN").format(stage.name, names)
    return sum(relay(entry, stage.session, read, write, never)[1] for read in reads(stage, _columns(stage), places))


def reads(
    stage: Stage, columns: Sequence[sql.Composable], places: Places | None, *, distinct: bool = False
) -> Iterator[sql.Composed]:
    """Return statements that send columns of rows of the entry, by their places; None: of all."""
    if distinct:
        columns = [sql.SQL("DISTINCT {}").format(columns[0]), *columns[1:]]
    if places is None:
        yield from (_reading(stage, leaf.oid, columns, None) for leaf in _before(stage).leaves)
    else:
        yield from (_reading(stage, leaf, columns, _chosen(tids, None)) for leaf, tids in places)


def count_all(entry: Session, stage: Stage) -> int:
    """Count the rows of the entry's table."""
    row = send(entry, sql.SQL("SELECT count(*) FROM {}").format(named(_before(stage)))).fetchone()
    return int(row[0]) if row else 0


def _before(stage: Stage) -> Relation:
    before = stage.pair.before
    assert before is not None  # noqa: S101 - rows of the entry lie in a table of the entry
    return before


def _columns(stage: Stage) -> list[sql.Composable]:
    return [sql.Identifier(each.entry.name) for each in stage.fits]


def _reading(stage: Stage, leaf: int, columns: Sequence[sql.Composable], chosen: sql.Composable | None) -> sql.Composed:
    table = next(each for each in _before(stage).leaves if each.oid == leaf)
    return sql.SQL("COPY (SELECT {} FROM ONLY {}{}) TO STDOUT").format(
        listed(columns),
        sql.Identifier(table.schema, table.name),
        sql.SQL("") if chosen is None else sql.SQL(" WHERE {}").format(chosen),
    )


def fetch_gone(live: Session, stage: Stage, places: Places, condition: sql.Composable | None) -> None:
    """Note row versions of the live table, as the snapshot of ``live`` sees them, in ``gone``."""
    write = sql.SQL("COPY {} (leaf, tid, version) FROM STDIN").format(stage.gone)
    by_oid = {each.oid: each for each in stage.relation.leaves}
    for leaf, tids in places:
        read = sql.SQL("COPY (SELECT tableoid, ctid, {} FROM ONLY {} WHERE {}) TO STDOUT").format(
            VERSION, sql.Identifier(by_oid[leaf].schema, by_oid[leaf].name), _chosen(tids, condition)
        )
        relay(live, stage.session, read, write, never)


VERSION = sql.SQL("int8in(xidout(xmin))")
"""The transaction that wrote a row version, as a number; no cast is used, since users can define casts."""


def _chosen(tids: bytes, condition: sql.Composable | None) -> sql.Composed:
    places = sql.Literal("{" + ",".join([f'"({block},{line})"' for block, line in unpack(tids)]) + "}")
    chosen = sql.SQL("ctid = ANY ({}::tid[])").format(places)
    return chosen if condition is None else sql.SQL("{} AND {}").format(chosen, condition)


def written_after(entry: Session, boundary: Boundary) -> sql.Composed:
    """Whether a row version was written after a boundary. It holds in the snapshot that the session has.

    XIDs of rows have 32 bits, and those of the boundary 64: the ages of both are compared, by a third one of which both
    are known. A frozen row's age may be negative: then it is old.
    https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-INFO-SNAPSHOT
    """
    row = send(entry, sql.SQL("SELECT int8in(xid8out(pg_snapshot_xmax(pg_current_snapshot())))")).fetchone()
    known = int(row[0]) if row else 0
    written = sql.SQL("({} + age({}::xid) - age(xmin))").format(sql.Literal(known), sql.Literal(str(known % 2**32)))
    running = sql.SQL("{}::bigint[]").format(sql.Literal(list(boundary.in_progress)))
    return sql.SQL("(age(xmin) >= 0 AND ({written} >= {xmax} OR {written} = ANY ({running})))").format(
        written=written, xmax=sql.Literal(boundary.xmax), running=running
    )


def keys_that_lose(entry: Session, stage: Stage, places: Places, condition: sql.Composable | None) -> Iterator[Key]:
    """Name the rows that have a value in a column that the live table no longer has."""
    by_live = {each.live.number: each.entry.name for each in stage.fits}
    names = [by_live[each.number] for each in stage.key_columns]
    key = sql.SQL("ARRAY[{}]::text[]").format(
        listed(
            [
                sql.SQL("CASE WHEN {0} IS DISTINCT FROM NULL THEN textin(record_out(ROW({0}))) END").format(
                    sql.Identifier(each)
                )
                for each in names
            ]
        )
    )
    lost = sql.SQL(" OR ").join(
        sql.SQL("{} IS NOT NULL").format(sql.Identifier(each.name)) for each in columns_gone(stage.pair)
    )
    by_oid = {each.oid: each for each in _before(stage).leaves}
    for leaf, tids in places:
        query = sql.SQL("SELECT {} FROM ONLY {} WHERE {} AND ({})").format(
            key, sql.Identifier(by_oid[leaf].schema, by_oid[leaf].name), _chosen(tids, condition), lost
        )
        for (values,) in send(entry, query):
            yield stage.as_key(values)
