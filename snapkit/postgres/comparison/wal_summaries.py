"""WAL summaries: how far they reach, and which blocks they name (PostgreSQL 17 and later, ``summarize_wal`` on).

https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-WAL-SUMMARY,
.../runtime-config-wal.html#GUC-SUMMARIZE-WAL
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Collection
from typing import Any

from psycopg import sql
from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnClause,
    ColumnElement,
    Connection,
    Integer,
    TableValuedAlias,
    cast,
    column,
    func,
    literal_column,
    select,
)

from snapkit.core.comparison.row_versions.wal_summaries import Summary, Written
from snapkit.postgres.catalog.tables import pg_database
from snapkit.postgres.connection.driver import driver_connection, server_version

_SINCE = 170000
"""The first version that has them."""

_MOST = 1_000_000
"""Blocks of one file that are fetched at most."""


def are_written(connection: Connection) -> bool:
    """Whether the server writes WAL summaries."""
    if server_version(connection) < _SINCE:
        return False
    setting: str = connection.execute(select(func.current_setting("summarize_wal"))).scalar_one()
    return setting == "on"


def summaries(connection: Connection) -> list[Summary]:
    """Return the summaries of the present timeline."""
    available = func.pg_available_wal_summaries().table_valued(
        column("tli", BigInteger), column("start_lsn"), column("end_lsn"), name="available"
    )
    timeline = select(_checkpoint(column("timeline_id", Integer)).c.timeline_id).scalar_subquery()
    rows = connection.execute(
        select(_bytes(available.c.start_lsn), _bytes(available.c.end_lsn)).where(available.c.tli == timeline)
    )
    return [Summary(*row) for row in rows]


def redo(connection: Connection) -> tuple[int, int]:
    """Return up to where in the WAL the last checkpoint has written everything, and how many bytes there are since."""
    last = _checkpoint(column("redo_lsn"))
    since = func.pg_wal_lsn_diff(func.pg_current_wal_insert_lsn(), last.c.redo_lsn)
    row = connection.execute(select(_bytes(last.c.redo_lsn), cast(since, BigInteger))).one()
    return row[0], row[1]


def own_oid(connection: Connection) -> int:
    """Return the OID of the database that the session is in."""
    own = select(pg_database.c.oid).where(pg_database.c.datname == func.current_database())
    return int(connection.execute(own).scalar_one())


def may_checkpoint(connection: Connection) -> bool:
    """Whether the role may send CHECKPOINT. https://www.postgresql.org/docs/current/predefined-roles.html"""
    return bool(connection.execute(select(func.pg_has_role("pg_checkpoint", "USAGE", type_=Boolean))).scalar_one())


def checkpoint(connection: Connection) -> None:
    """Have everything written that is in the WAL. It is no part of a transaction."""
    driver_connection(connection).execute("CHECKPOINT")


_WRITTEN = sql.SQL("""
    SELECT relfilenode::int8,
           CASE WHEN count(*) <= {most} THEN
               array_send(array_agg(DISTINCT relblocknumber ORDER BY relblocknumber) FILTER (WHERE NOT is_limit_block))
           END,
           CASE WHEN count(*) <= {most} THEN min(relblocknumber) FILTER (WHERE is_limit_block) ELSE 0 END
    FROM pg_available_wal_summaries() AS available,
         pg_wal_summary_contents(available.tli, available.start_lsn, available.end_lsn)
    WHERE available.end_lsn > '0/0'::pg_lsn + {start}
          AND reldatabase = ANY ({databases}) AND relforknumber = 0 AND relfilenode = ANY ({files})
    GROUP BY relfilenode
""")

_HEADER = 20
"""Bytes before the elements of an array, in the binary format of array_send()."""

_BLOCK = struct.Struct(">4xQ")
"""The length of an element, and the number of the block."""


def written(
    connection: Connection, databases: Collection[int], files: Collection[int], start: int
) -> dict[int, Written]:
    """Return what was written to these files (relfilenodes) since a position of the WAL, in any of the databases.

    A file of which nothing is told was not written to. In which tablespace a file is does not matter: two files of the
    same number are taken for one. So is the database: each of these was once the other's files.
    """
    query = _WRITTEN.format(
        most=_MOST,
        start=start,
        databases=sql.SQL("{}::oid[]").format(list(databases)),
        files=sql.SQL("{}::oid[]").format(list(files)),
    )
    with driver_connection(connection).cursor(binary=True) as cursor:
        return {file: Written(_blocks(sent), limit) for file, sent, limit in cursor.execute(query)}


def _blocks(sent: bytes | None) -> array[int]:
    return array("Q", (block for (block,) in _BLOCK.iter_unpack(sent[_HEADER:])) if sent else ())


def _checkpoint(*columns: ColumnClause[Any]) -> TableValuedAlias:
    return func.pg_control_checkpoint().table_valued(*columns, name="checkpoint")


def _bytes(lsn: ColumnElement[Any]) -> ColumnElement[int]:
    """A position of the WAL, in bytes from its beginning."""
    return cast(func.pg_wal_lsn_diff(lsn, literal_column("'0/0'")), BigInteger)
