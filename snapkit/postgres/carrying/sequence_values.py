"""Read the sequences of a database, and move them.

https://www.postgresql.org/docs/current/functions-sequence.html, .../catalog-pg-sequence.html
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import BigInteger, Boolean, Connection, and_, case, column, func, literal, select, true
from sqlalchemy import cast as cast_
from sqlalchemy.dialects.postgresql import OID, REGCLASS
from sqlalchemy.exc import DBAPIError

from snapkit.core.carrying.sequence_moves import Move, Sequence
from snapkit.postgres.catalog.tables import catalog_table, pg_class, pg_namespace
from snapkit.postgres.connection.driver import driver_connection
from snapkit.postgres.connection.sqlstates import is_connection_loss

_sequence = catalog_table(
    "pg_sequence",
    column("seqrelid", OID),
    column("seqstart", BigInteger),
    column("seqincrement", BigInteger),
    column("seqmax", BigInteger),
    column("seqmin", BigInteger),
)


def sequences(connection: Connection) -> list[Sequence]:
    """Return the sequences of the connected database, except temporary ones, those that may not be read with no value.

    The value is the last that was handed out to any session, those in sessions' caches too.
    """
    readable = func.has_sequence_privilege(pg_class.c.oid, "SELECT, USAGE", type_=Boolean)
    value = case((readable, func.pg_sequence_last_value(pg_class.c.oid, type_=BigInteger)))
    rows = connection.execute(
        select(
            pg_class.c.oid,
            pg_namespace.c.nspname,
            pg_class.c.relname,
            value,
            _sequence.c.seqincrement,
            _sequence.c.seqmin,
            _sequence.c.seqmax,
            _sequence.c.seqstart,
            readable,
        )
        .join_from(pg_class, _sequence, _sequence.c.seqrelid == pg_class.c.oid)
        .join(pg_namespace, pg_namespace.c.oid == pg_class.c.relnamespace)
        .where(and_(pg_class.c.relkind == "S", pg_class.c.relpersistence != "t"))
        .order_by(pg_class.c.oid)
    )
    return [Sequence(*row) for row in rows]


def move_sequences(connection: Connection, wanted: Iterable[Move]) -> tuple[list[Move], list[Move]]:
    """Set sequences of the connected database; return those that were set, and those that this role may not set.

    setval() is not taken back with a transaction, and needs none.
    """
    done: list[Move] = []
    refused: list[Move] = []
    for move in wanted:
        try:
            with driver_connection(connection).transaction():
                connection.execute(select(func.setval(cast_(literal(move.oid, OID), REGCLASS), move.value, true())))
        except DBAPIError as error:
            if is_connection_loss(error):
                raise
            refused.append(move)
        else:
            done.append(move)
    return done, refused
