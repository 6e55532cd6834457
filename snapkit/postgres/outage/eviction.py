"""Who is inside a database, in which transaction, and the look that disconnects them while its door is held."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Connection,
    Integer,
    Select,
    Text,
    and_,
    bindparam,
    case,
    cast,
    false,
    func,
    literal,
    not_,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY

from snapkit.core.client_session import ClientSession
from snapkit.core.values import dataclass
from snapkit.postgres.catalog.sessions import SESSION_COLUMNS, is_inside, may_terminate
from snapkit.postgres.catalog.tables import PG_DATABASE_OID, pg_locks, pg_stat_activity


@dataclass(frozen=True, slots=True)
class Eviction:
    """A session found inside a database whose door is held, and whether it was told to leave.

    ``transaction`` is the virtual transaction ID of the transaction that it is in, if any.
    """

    session: ClientSession
    was_told: bool
    transaction: str | None = None


_own_transaction = pg_locks.alias("own_transaction")
"""The lock that each transaction holds on its own virtual transaction ID. Every role may see it."""

_activity_and_transaction = pg_stat_activity.outerjoin(
    _own_transaction,
    and_(
        _own_transaction.c.pid == pg_stat_activity.c.pid,
        _own_transaction.c.locktype == "virtualxid",
        _own_transaction.c.mode == "ExclusiveLock",
    ),
)


def running_transactions(connection: Connection, oids: Collection[int]) -> frozenset[str]:
    """Return the virtual transaction IDs of the transactions that run inside these databases."""
    rows = connection.execute(
        select(_own_transaction.c.virtualxid)
        .select_from(_activity_and_transaction)
        .where(is_inside(oids), _own_transaction.c.virtualxid.is_not(None))
    )
    return frozenset(rows.scalars())


def disconnect_sealed(connection: Connection, oid: int, sparing: Collection[int] = frozenset()) -> list[Eviction]:
    """End the sessions in a database that lets nobody in any more, except those that this role may not end.

    The process IDs ``sparing`` are left alone.

    Returns who was inside.
    """
    may = may_terminate()
    others = pg_stat_activity.c.pid.not_in(sorted(sparing))
    rows = connection.execute(
        select(*SESSION_COLUMNS, may, _told(may)).where(is_inside([oid]), *([others] if sparing else []))
    )
    return [Eviction(ClientSession(*row[:-1]), row[-1]) for row in rows]


def _told(wanted: ColumnElement[bool]) -> ColumnElement[bool]:
    """Whether a session was told to leave. Only ``wanted`` sessions are: CASE does not evaluate it for the others."""
    return case((wanted, func.pg_terminate_backend(pg_stat_activity.c.pid)), else_=False)


_SETTINGS = {
    # Otherwise PostgreSQL would plan the first five executions anew, and planning takes longer than executing.
    "plan_cache_mode": "force_generic_plan",
    # A look must not wait for the notification of another session, nor for a lock on a catalog.
    "lock_timeout": "200ms",
    # Nothing is written that a standby has to receive.
    "synchronous_commit": "off",
}


def make_ready(connection: Connection) -> None:
    """Set up this session for looks at a door: they do not wait, and each statement is planned only once.

    https://www.postgresql.org/docs/current/runtime-config-query.html#GUC-PLAN-CACHE-MODE
    """
    connection.execute(select(*(func.set_config(name, value, False) for name, value in _SETTINGS.items())))


class DoorLook:
    """The look that terminates sessions while ``holder_pid`` holds the door of the database that they are in.

    The statement that terminates also tests for the lock. Otherwise it could end sessions that came back through an
    open door, or sessions of another database after somebody else's swap. With ``terminate`` false, sessions are only
    listed. https://www.postgresql.org/docs/current/view-pg-locks.html

    With a ``channel``, the look can notify sessions that listen there that nobody was found. It fails if the role may
    not notify. https://www.postgresql.org/docs/current/sql-notify.html

    The statement is composed once: many looks come in a row, and composing takes more processor time than the rest.
    """

    def __init__(
        self, connection: Connection, oids: Collection[int], holder_pid: int, *, terminate: bool, channel: str | None
    ) -> None:
        self.channel = channel
        """The channel on which the session that holds the door listens for the news that nobody is left inside."""
        self._connection = connection
        inside = _those_inside(oids, holder_pid, terminate=terminate)
        statement = inside if channel is None else _or_notification(inside, channel)
        self._compiled = statement.compile(dialect=connection.dialect)

    def look(self, spared: Mapping[int, str | None] | None, *, tell: bool = False) -> list[Eviction]:
        """Look, and return whom it found.

        Unless ``spared`` is None, running transactions are spared: those that ``spared`` names by process ID, and those
        of sessions that it does not name. A transaction that a named session has begun since then is not spared. With
        ``tell``, an empty notification is sent to the channel if nobody is found.
        """
        known = spared or {}
        given = {
            "spares": spared is not None,
            "known": _array(str(pid) for pid in known),
            "named": _array(transaction for transaction in known.values() if transaction is not None),
            "tells": tell,
        }
        rows = self._connection.exec_driver_sql(self._compiled.string, self._compiled.construct_params(given))
        return [Eviction(ClientSession(*row[:8]), row[8], row[9]) for row in rows if row[0] is not None]


def _array(items: Iterable[str]) -> str:
    """Write an array as text. Of a list, psycopg would choose the type by its contents, and prepare another statement.

    Process IDs and virtual transaction IDs need no quotes.
    """
    return "{" + ",".join(items) + "}"


def _those_inside(oids: Collection[int], holder_pid: int, *, terminate: bool) -> Select[Any]:
    may = may_terminate()
    told: ColumnElement[bool] = false()
    if terminate:
        spared = and_(bindparam("spares", type_=Boolean), _is_spared(), not_(_waits_for(holder_pid)))
        told = _told(and_(may, not_(spared)))
    return (
        select(*SESSION_COLUMNS, may.label("may"), told.label("told"), _own_transaction.c.virtualxid)
        .select_from(_activity_and_transaction)
        .where(is_inside(oids), _holds_door(holder_pid))
    )


def _or_notification(inside: Select[Any], channel: str) -> Select[Any]:
    """Select who is inside. If nobody is, select one row without a process ID, which notifies if it ``tells``.

    A separate notification would be one more round trip while clients wait.
    """
    found = inside.subquery("inside")
    is_to_tell = and_(found.c.pid.is_(None), bindparam("tells", type_=Boolean))
    notification = case((is_to_tell, func.pg_notify(channel, "")))
    return select(*found.c, notification).select_from(select(literal(1)).subquery().outerjoin(found, true()))


def _holds_door(holder_pid: int) -> ColumnElement[bool]:
    """Whether the session ``holder_pid`` has its lock on the database of the row of pg_stat_activity.

    The comparison with TRUE keeps PostgreSQL from making this part of a join. So the locks are read once, and after the
    sessions. In the other order, a session could be ended that came in when the door was opened in between.
    """
    held = select(pg_locks.c.objid).where(
        pg_locks.c.locktype == "object",
        pg_locks.c.classid == PG_DATABASE_OID,
        pg_locks.c.pid == holder_pid,
        # Weaker locks let new connections pass.
        or_(pg_locks.c.mode == "ShareLock", pg_locks.c.mode == "AccessExclusiveLock"),
        pg_locks.c.granted,
    )
    return pg_stat_activity.c.datid.in_(held).is_(true())


def _waits_for(holder_pid: int) -> ColumnElement[bool]:
    """Whether a session's transaction cannot end before the door is opened: it waits for that, or its workers do.

    The workers of a parallel query have to come in through the door, as clients do. pg_blocking_pids() counts what
    blocks them as blocking their leader, for every role. pg_stat_activity shows them only from PostgreSQL 18 on, and
    only to superusers.
    https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-INFO-SESSION
    """
    return literal(holder_pid) == func.any(func.pg_blocking_pids(pg_stat_activity.c.pid, type_=ARRAY(Integer)))


def _is_spared() -> ColumnElement[bool]:
    """Whether a session is in a transaction that it may end, be it active or idle in transaction."""
    is_amid = or_(_own_transaction.c.virtualxid.is_not(None), func.coalesce(pg_stat_activity.c.state, "") == "active")
    known = pg_stat_activity.c.pid == func.any(cast(bindparam("known", type_=Text), ARRAY(Integer)))
    is_another = or_(
        _own_transaction.c.virtualxid.is_(None),  # a walsender's transaction never ends
        _own_transaction.c.virtualxid != func.all(cast(bindparam("named", type_=Text), ARRAY(Text))),
    )
    return and_(is_amid, not_(and_(known, is_another)))
