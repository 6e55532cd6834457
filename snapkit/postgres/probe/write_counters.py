"""The counters of PostgreSQL's cumulative statistics: of a database, and of the tables of the connected database.

https://www.postgresql.org/docs/current/monitoring-stats.html
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from time import sleep

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Connection,
    DateTime,
    Text,
    and_,
    cast,
    column,
    func,
    not_,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import OID

from snapkit.core.comparison.writes import MAX_NOTED_TABLES, Activity, Rows, TableName
from snapkit.core.values import dataclass
from snapkit.postgres.catalog.tables import catalog_table, pg_class, pg_namespace
from snapkit.processes.deadline import Deadline

_database = catalog_table(
    "pg_stat_database",
    column("datid", OID),
    column("xact_commit", BigInteger),
    column("tup_inserted", BigInteger),
    column("tup_updated", BigInteger),
    column("tup_deleted", BigInteger),
    column("stats_reset", DateTime(timezone=True)),
)
_archiver = catalog_table("pg_stat_archiver", column("stats_reset", DateTime(timezone=True)))
_MAX_READ = 10 * MAX_NOTED_TABLES


def database_counters(connection: Connection, oid: int) -> Activity | None:
    """Return the counters of a database as a whole. Any role may read them, from any database.

    The reset time of the archiver's statistics tells when the server last discarded its statistics. A crash resets all
    statistics of the server as a whole, and hardly anybody resets those of the archiver by hand.
    """
    return _counters_at(connection, oid)[0]


def _counters_at(connection: Connection, oid: int) -> tuple[Activity | None, datetime | None]:
    """Return the counters, and the time of the copy that PostgreSQL keeps of them before version 15."""
    row = connection.execute(
        select(
            _database.c.xact_commit,
            _database.c.tup_inserted,
            _database.c.tup_updated,
            _database.c.tup_deleted,
            _database.c.stats_reset,
            select(_archiver.c.stats_reset).scalar_subquery(),
            func.pg_stat_get_snapshot_timestamp(type_=DateTime(timezone=True)),
        ).where(_database.c.datid == oid)
    ).one_or_none()
    if row is None:
        return None, None
    transactions, inserted, updated, deleted, database_reset, server_reset, at = row
    return Activity(oid, transactions, Rows(inserted, updated, deleted), database_reset, server_reset), at


_PATIENCE = 5.0
"""Seconds that PostgreSQL 14 may take to write its statistics anew."""


def settled_counters(connection: Connection, oid: int) -> Activity | None:
    """Return the counters of a database that has no session any more, complete with what those counted; None if they
    cannot be had.

    A session reports its counts before it ends. From PostgreSQL 15 on they are read from shared memory. Before, they
    are read from a file, which is written anew when somebody asks and it is older than half a second.
    https://www.postgresql.org/docs/14/functions-monitoring.html, pg_stat_get_snapshot_timestamp
    """
    if not counts(connection):
        return None
    deadline = Deadline(_PATIENCE)
    since = connection.execute(select(func.clock_timestamp(type_=DateTime(timezone=True)))).scalar_one()
    while True:
        found, at = _counters_at(connection, oid)
        if at is None or at >= since:
            return found
        if deadline.is_over:
            return None
        sleep(0.05)


@dataclass(frozen=True, slots=True)
class TableCounters:
    """The counters of the tables of one database. ``own`` are those of PostgreSQL's catalogs and of all TOAST tables.

    ``tables`` are users' tables that were written to. If there are too many, they are not ``complete``: only those with
    the most writes.
    """

    own: Rows
    tables: Mapping[int, Rows]
    names: Mapping[int, TableName]
    complete: bool


def table_counters(connection: Connection) -> TableCounters:
    """Return the counters of the tables of the connected database.

    It calls the functions behind pg_stat_all_tables, since the view also looks at the indexes of each table.
    """
    inserted, updated, deleted = (
        func.coalesce(function(pg_class.c.oid, type_=BigInteger), 0)
        for function in (
            func.pg_stat_get_tuples_inserted,
            func.pg_stat_get_tuples_updated,
            func.pg_stat_get_tuples_deleted,
        )
    )
    joined = pg_class.join(pg_namespace, pg_namespace.c.oid == pg_class.c.relnamespace)
    is_counted = and_(pg_class.c.relkind.in_(("r", "m", "t")), ~pg_class.c.relisshared)
    sums = [cast(func.coalesce(func.sum(each), 0), BigInteger) for each in (inserted, updated, deleted)]
    own = connection.execute(select(*sums).select_from(joined).where(is_counted, _is_own())).one()
    rows = connection.execute(
        select(pg_class.c.oid, pg_namespace.c.nspname, pg_class.c.relname, inserted, updated, deleted)
        .select_from(joined)
        .where(
            is_counted,
            not_(_is_own()),
            ~func.starts_with(pg_namespace.c.nspname, "pg_temp_", type_=Boolean),
            inserted + updated + deleted > 0,
        )
        .order_by((inserted + updated + deleted).desc(), pg_class.c.oid)
        .limit(_MAX_READ + 1)
    ).all()
    kept = rows[:_MAX_READ]
    return TableCounters(
        own=Rows(own[0], own[1], own[2]),
        tables={oid: Rows(*numbers) for oid, _, _, *numbers in kept},
        names={oid: TableName(schema, name) for oid, schema, name, *_ in kept},
        complete=len(rows) <= _MAX_READ,
    )


def _is_own() -> ColumnElement[bool]:
    return or_(
        pg_namespace.c.nspname.in_(("pg_catalog", "information_schema", "pg_toast")),
        func.starts_with(pg_namespace.c.nspname, "pg_toast_temp_", type_=Boolean),
    )


_STATISTICS = ("pg_statistic", "pg_statistic_ext_data", "pg_toast_2619", "pg_toast_3429")
"""The catalogs that ANALYZE writes to, and autovacuum with it, and their TOAST tables. Their OIDs are fixed."""


def statistics_written(connection: Connection) -> Rows:
    """Return the counters of what ANALYZE has written to the connected database."""
    counters = (func.pg_stat_get_tuples_inserted, func.pg_stat_get_tuples_updated, func.pg_stat_get_tuples_deleted)
    sums = [cast(func.coalesce(func.sum(each(pg_class.c.oid)), 0), BigInteger) for each in counters]
    is_own = and_(pg_namespace.c.nspname.in_(("pg_catalog", "pg_toast")), pg_class.c.relname.in_(_STATISTICS))
    joined = pg_class.join(pg_namespace, pg_namespace.c.oid == pg_class.c.relnamespace)
    found = connection.execute(select(*sums).select_from(joined).where(is_own)).one()
    return Rows(found[0], found[1], found[2])


def last_commit(connection: Connection) -> datetime | None:
    """Return when the last transaction that wrote anything, in any database of the server, was committed. None if the
    server does not record that (``track_commit_timestamp``).

    https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-INFO-COMMIT-TIMESTAMP
    """
    if not _is_on(connection, "track_commit_timestamp"):
        return None
    last = func.pg_last_committed_xact().table_valued(column("timestamp", DateTime(timezone=True)))
    at: datetime | None = connection.execute(select(last.c.timestamp)).scalar_one()
    return at


def counts(connection: Connection) -> bool:
    """Whether the server counts writes. Only a superuser can turn that off for a single session."""
    return _is_on(connection, "track_counts")


def _is_on(connection: Connection, setting: str) -> bool:
    return bool(connection.execute(select(func.current_setting(setting, type_=Text) == "on")).scalar_one())
