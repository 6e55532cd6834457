"""The present moment, as rows and the WAL know it."""

from __future__ import annotations

from sqlalchemy import BigInteger, Connection, Text, cast, func, literal_column, select

from snapkit.core.comparison.lineage import Boundary, read_snapshot


def present_boundary(connection: Connection) -> Boundary:
    """Return the present moment. What any transaction of the server has written until now is before it.

    The snapshot names the transactions in progress in all databases. The position is where the next record of the WAL
    goes. https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-ADMIN-BACKUP
    """
    position = func.pg_wal_lsn_diff(func.pg_current_wal_insert_lsn(), literal_column("pg_lsn '0/0'"))
    snapshot, lsn = connection.execute(select(cast(func.pg_current_snapshot(), Text), cast(position, BigInteger))).one()
    return read_snapshot(snapshot, lsn)
