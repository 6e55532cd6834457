"""Whether anything was written, in any database of the server, between two moments.

Whatever changes a row, a catalog or a large object needs a transaction ID. The server assigns these one by one.
https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-INFO-SNAPSHOT

Some things change without a transaction ID, and are looked at by themselves: a sequence that is unlogged or has values
cached, and tables of an extension's own access method.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Connection, Text, and_, case, cast, column, func, or_, select
from sqlalchemy.dialects.postgresql import OID

from snapkit.postgres.catalog.sessions import is_inside, sessions_entering
from snapkit.postgres.catalog.tables import catalog_table, pg_stat_activity

_relation = catalog_table(
    "pg_class", column("oid", OID), column("relkind", Text), column("relpersistence", Text), column("relam", OID)
)

_HEAP = 2
"""The OID of PostgreSQL's own table access method."""


def next_transaction_id(connection: Connection) -> int:
    """Have a transaction ID assigned, to a transaction that does nothing else. Return it."""
    return int(connection.execute(select(cast(func.pg_current_xact_id(), Text))).scalar_one())


def is_only_after(connection: Connection, xid: int) -> bool:
    """Whether no transaction with an ID before ``xid`` is still running, and none with a later one has ended."""
    snapshot = func.pg_current_snapshot()
    oldest, following = connection.execute(
        select(cast(func.pg_snapshot_xmin(snapshot), Text), cast(func.pg_snapshot_xmax(snapshot), Text))
    ).one()
    return int(oldest) == int(following) == xid + 1


def sequence_values(inside: Connection) -> dict[int, int | None] | None:
    """Return the last value of each sequence of the connected database, by OID.

    None if something could change unseen: there is a sequence that this role may not read, or that is unlogged, or a
    table with an extension's own access method.
    """
    is_sequence = and_(_relation.c.relkind == "S", _relation.c.relpersistence != "t")
    may_read = func.has_sequence_privilege(_relation.c.oid, "SELECT, USAGE", type_=Boolean)
    is_other = or_(
        and_(is_sequence, or_(_relation.c.relpersistence == "u", ~may_read)),
        and_(_relation.c.relkind.in_(("r", "m", "p")), _relation.c.relam.not_in((0, _HEAP))),
    )
    if inside.execute(select(_relation.c.oid).where(is_other).limit(1)).first() is not None:
        return None
    value = case((may_read, func.pg_sequence_last_value(_relation.c.oid, type_=BigInteger)))
    return {row[0]: row[1] for row in inside.execute(select(_relation.c.oid, value).where(is_sequence))}


def somebody_is_at_work(connection: Connection, oid: int) -> bool:
    """Whether a session inside a database is active, or may be: this role may not see its state."""
    state = func.coalesce(pg_stat_activity.c.state, "")
    at_work = select(pg_stat_activity.c.pid).where(is_inside([oid]), state != "idle").limit(1)
    return connection.execute(at_work).first() is not None or bool(sessions_entering(connection, oid))
