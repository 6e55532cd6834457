"""The temporary tables, in a session in the live database, in which the rows of one table wait to be written.

``raw`` takes rows as they come, from the entry or from what an earlier restore has kept. ``new`` has the rows as they
will be: it has the live table's columns, defaults, generated columns and CHECK constraints, so PostgreSQL refuses
there what it would refuse in the live table. ``gone`` names row versions of the live table that will be deleted.
https://www.postgresql.org/docs/current/sql-createtable.html (LIKE)
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from snapkit.core.comparison.row_changes import Column, Pair
from snapkit.core.restoring.column_fit import ColumnFit, Way, fits, sets
from snapkit.core.restoring.live_table import LiveTable
from snapkit.core.restoring.restored import Key

_log = logging.getLogger(__name__)

Session = psycopg.Connection[Any]

INSERT, UPDATE = "i", "u"
"""What becomes of a row in ``raw`` and ``new``."""

_HOW_MANY = 1000
"""How many rows of a table are named at most."""


def send(session: Session, statement: sql.SQL | sql.Composed) -> psycopg.Cursor[Any]:
    """Run a statement, and log it. It has no parameters, since an expression of somebody's may hold percent signs."""
    if _log.isEnabledFor(logging.INFO):
        _log.info("%s", statement.as_string(session))
    return session.execute(statement)


def text(plain: str) -> sql.SQL:
    """Return SQL that PostgreSQL itself has printed: a type, an operator, an expression of an index."""
    return sql.SQL(plain)


def listed(items: Sequence[sql.Composable]) -> sql.Composed:
    return sql.SQL(", ").join(items)


def all_of(conditions: Sequence[sql.Composable]) -> sql.Composed:
    return sql.SQL(" AND ").join(conditions)


@dataclass(slots=True)
class Straight:
    """Many rows that do not wait, but go from the entry into the live table itself, since nothing is in their way.

    ``places`` None: all rows of the entry's table; ``rows`` is their number. ``is_written``: they are there.
    """

    entry: Session
    places: Iterable[tuple[int, bytes]] | None
    rows: int
    is_written: bool = False


class Stage:
    """The rows of one table on their way: ``pair`` says where from and where to, ``number`` tells stages apart.

    Aliases in the SQL: ``t`` is the live table, ``n`` is ``new``, ``r`` is ``raw``, ``g`` is ``gone``.
    """

    def __init__(self, session: Session, number: int, pair: Pair, live: LiveTable) -> None:
        assert pair.after is not None  # noqa: S101 - whoever has no live table has nothing to write to
        self.session = session
        self.number = number
        self.pair = pair
        self.live = live
        self.relation = pair.after
        self.fits = fits(pair)
        self.key = tuple(after for _, after in pair.key or ())
        self.sets = sets(self.fits, self.key)
        self.raw, self.new, self.gone = (
            sql.Identifier("pg_temp", f"snapkit_{each}_{number}") for each in ("raw", "new", "gone")
        )
        self.name = sql.Identifier(self.relation.schema, self.relation.name)
        self.only = self.name if self.relation.partitioned else sql.SQL("ONLY {}").format(self.name)
        self.task = sql.Identifier(self._free_name())
        self.straight: Straight | None = None

    def _free_name(self) -> str:
        name, taken = "snapkit_task", {each.name for each in self.relation.columns}
        while name in taken:
            name += "_"
        return name

    @property
    def written(self) -> tuple[Column, ...]:
        """The live columns that an INSERT names: not generated ones, nor new ones that count by themselves."""
        ours = {each.live.number for each in self.fits}
        return tuple(
            each for each in self.relation.columns if not each.generated and (each.number in ours or not each.identity)
        )

    def create(self) -> None:
        """Make the tables, empty, for this session."""
        arriving = [
            sql.SQL("{} {}").format(self._arrived(number), text(each.arrives_as))
            for number, each in enumerate(self.fits)
        ]
        send(
            self.session,
            sql.SQL(
                'CREATE TEMPORARY TABLE {} (snapkit_row bigint GENERATED ALWAYS AS IDENTITY, task "char", {})'
            ).format(self.raw, listed(arriving))
            if arriving
            else sql.SQL(
                'CREATE TEMPORARY TABLE {} (snapkit_row bigint GENERATED ALWAYS AS IDENTITY, task "char")'
            ).format(self.raw),
        )
        send(
            self.session,
            sql.SQL(
                "CREATE TEMPORARY TABLE {} (LIKE {} INCLUDING CONSTRAINTS INCLUDING DEFAULTS INCLUDING GENERATED,"
                ' {} "char" NOT NULL)'
            ).format(self.new, self.name, self.task),
        )
        ours = {each.live.number for each in self.fits}
        for column in self.relation.columns:
            if column.identity and column.number not in ours:
                send(
                    self.session,
                    sql.SQL("ALTER TABLE {} ALTER COLUMN {} DROP NOT NULL").format(
                        self.new, sql.Identifier(column.name)
                    ),
                )
        send(self.session, sql.SQL("CREATE TEMPORARY TABLE {} (leaf oid, tid tid, version bigint)").format(self.gone))

    # --- pieces of SQL ---

    @property
    def rows(self) -> sql.Composable:
        """The rows that are written, with what becomes of them: ``new``, or what went straight into the live table."""
        if self.straight is None or not self.straight.is_written:
            return self.new
        return sql.SQL(
            "(SELECT w.*, 'i'::\"char\" AS {} FROM {} AS w WHERE w.xmin = pg_current_xact_id()::xid)"
        ).format(self.task, self.only)

    @staticmethod
    def _arrived(number: int) -> sql.Identifier:
        return sql.Identifier(f"v{number}")

    @property
    def arriving(self) -> list[sql.Composable]:
        """The columns of ``raw`` that take the entry's, in the order of ``fits``."""
        return [self._arrived(number) for number in range(len(self.fits))]

    def value(self, fit: ColumnFit, *, exactly: bool = False) -> sql.Composable:
        """The value of a column in ``raw``, in the type that it has in the live table or, unless ``exactly``, in one
        that is cast to it on assignment."""
        arrived = sql.SQL("r.{}").format(self._arrived(self.fits.index(fit)))
        if fit.way is Way.SAME or (fit.way is Way.CAST and not exactly):
            return arrived
        return sql.SQL("CAST({} AS {})").format(arrived, text(fit.live.type))

    def same_key(self, one: str, other: str) -> sql.Composed:
        """Whether two of ``t``, ``n`` and ``u`` have the same key."""
        return all_of(
            [
                sql.SQL("{one}.{name} {operator} {other}.{name}").format(
                    one=text(one), other=text(other), name=sql.Identifier(column.name), operator=text(operator)
                )
                for column, operator in zip(self.key, self.live.key_operators, strict=True)
            ]
        )

    def raw_key(self) -> sql.Composed:
        """Whether ``t`` and ``r`` have the same key."""
        by_number = {each.live.number: each for each in self.fits}
        return all_of(
            [
                sql.SQL("t.{} {} {}").format(
                    sql.Identifier(column.name), text(operator), self.value(by_number[column.number], exactly=True)
                )
                for column, operator in zip(self.key, self.live.key_operators, strict=True)
            ]
        )

    def row_text(self, alias: str, columns: Sequence[Column]) -> sql.Composed:
        """A row as text, with no function or operator of anybody else's."""
        row = listed([sql.SQL("{}.{}").format(text(alias), sql.Identifier(each.name)) for each in columns])
        return sql.SQL("textin(record_out(ROW({})))").format(row)

    @property
    def key_columns(self) -> tuple[Column, ...]:
        """What names a row to people: its key, or all its columns."""
        return self.key or tuple(each.live for each in self.fits)

    def shown_key(self, alias: str) -> sql.Composed:
        """The key of a row as an array of texts."""
        parts = [
            sql.SQL("CASE WHEN {each} IS DISTINCT FROM NULL THEN textin(record_out(ROW({each}))) END").format(
                each=sql.SQL("{}.{}").format(text(alias), sql.Identifier(column.name))
            )
            for column in self.key_columns
        ]
        return sql.SQL("ARRAY[{}]::text[]").format(listed(parts))

    def keys_of(self, query: sql.Composable) -> Iterator[Key]:
        """Run a query whose rows are keys, and return them by column."""
        for (values,) in send(self.session, sql.SQL("{} LIMIT {}").format(query, sql.Literal(_HOW_MANY))).fetchall():
            yield self.as_key(values)

    def as_key(self, values: Sequence[str | None]) -> Key:
        names = [column.name for column in self.key_columns]
        return tuple((name, None if each is None else unrow(each)) for name, each in zip(names, values, strict=True))

    def is_replaced(self) -> sql.Composed:
        """Whether the row ``l`` (leaf, tid and key) of the live table will be updated or deleted."""
        parts = [
            sql.SQL("EXISTS (SELECT FROM {} AS g WHERE g.leaf = l.snapkit_leaf AND g.tid = l.snapkit_tid)").format(
                self.gone
            )
        ]
        if self.key:
            parts.append(
                sql.SQL("EXISTS (SELECT FROM {} AS u WHERE u.{} = 'u' AND {})").format(
                    self.new, self.task, self.same_key("l", "u")
                )
            )
        return sql.SQL("({})").format(sql.SQL(" OR ").join(parts))


def unrow(printed: str) -> str:
    """Return the value of a row of one column, as record_out prints it.

    https://www.postgresql.org/docs/current/rowtypes.html#ROWTYPES-IO-SYNTAX
    """
    inner = printed[1:-1]
    if not inner.startswith('"'):
        return inner
    return inner[1:-1].replace('""', '"').replace("\\\\", "\\")
