"""The locks that say that an entry is in use, and who may connect while it is open.

They are session-level advisory locks, keyed by the entry's OID, one for each kind of use. The server releases such a
lock when its session ends, for whatever reason.

Several commands may read one entry at the same time. They share a lock of their own, keyed by what the entry's document
notes of its opening, too. So a reader that was suspended while the entry was sealed, and opened anew, is none of those
who read it now.
https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from enum import StrEnum

from sqlalchemy import Boolean, Connection, Text, bindparam, column, func, literal_column, select, true
from sqlalchemy.dialects.postgresql import ARRAY, OID

from snapkit.core.inventory.opened import Grant, Opened
from snapkit.core.plans.opening import CONNECT
from snapkit.core.utc import iso_utc
from snapkit.postgres.catalog.tables import pg_database, pg_roles
from snapkit.postgres.sql.locks import end_holder_of, end_holders_of, holder_of, others_hold


class Use(StrEnum):
    """What an entry is used for. Each kind of use has one session at a time."""

    LOOK = "snapkit entry"
    """It is being opened, is open, or is being sealed."""
    GUARD = "snapkit way back"
    """A guard would roll back to it, or it is being dropped."""

    def key(self, oid: int) -> int:
        """Return the 64-bit key of the lock of an entry."""
        return _key(f"{self}:{oid}")


def _key(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big", signed=True)


def take_entry(connection: Connection, oid: int, use: Use = Use.LOOK) -> bool:
    """Take a lock of an entry until the session ends; False if another session has it, in any maintenance database."""
    key = use.key(oid)
    if not connection.execute(select(func.pg_try_advisory_lock(key))).scalar_one():
        return False
    if others_hold(connection, key):
        release_entry(connection, oid, use)
        return False
    return True


def release_entry(connection: Connection, oid: int, use: Use = Use.LOOK) -> None:
    """Release it. A connection that is gone has released it already."""
    if not connection.invalidated and not connection.closed:
        connection.execute(select(func.pg_advisory_unlock(use.key(oid))))


def is_taken(connection: Connection, oid: int, use: Use = Use.LOOK) -> bool:
    """Whether another session has a lock of an entry, in any maintenance database."""
    return others_hold(connection, use.key(oid))


def is_in_use(connection: Connection, oid: int) -> bool:
    """Whether another session has an entry open, or would roll back to it."""
    return any(others_hold(connection, use.key(oid)) for use in Use)


def user_of(connection: Connection, oid: int, use: Use) -> str:
    """Say in a few words, in brackets, which session has a lock of an entry; an empty text if none is seen."""
    return holder_of(connection, use.key(oid), anywhere=True)


def _readers_key(oid: int, opened: Opened) -> int:
    """Return the key of the lock that those share who read an entry as it was ``opened``."""
    return _key(f"snapkit readers:{oid}:{iso_utc(opened.at)}:{opened.pid}:{opened.user}:{opened.host}")


def join_readers(connection: Connection, oid: int, opened: Opened) -> None:
    """Count among those who read an entry, until the session ends. Nobody ever holds their lock alone: it is there."""
    connection.execute(select(func.pg_advisory_lock_shared(_readers_key(oid, opened))))


def leave_readers(connection: Connection, oid: int, opened: Opened) -> None:
    """Count no longer among those who read an entry."""
    connection.execute(select(func.pg_advisory_unlock_shared(_readers_key(oid, opened))))


def has_readers(connection: Connection, oid: int, opened: Opened, besides: int | None = None) -> bool:
    """Whether another session, in any maintenance database, and not ``besides``, reads an entry as it was opened."""
    return others_hold(connection, _readers_key(oid, opened), besides)


def end_reader(connection: Connection, oid: int, opened: Opened, pid: int) -> None:
    """End the session ``pid`` of ours, whose connection was lost, if it still counts among those who read an entry."""
    end_holder_of(connection, _readers_key(oid, opened), pid)


def end_user(connection: Connection, oid: int) -> None:
    """End the session that has the lock of an entry, where this role may."""
    end_holders_of(connection, Use.LOOK.key(oid))


def end_holder(connection: Connection, oid: int, pid: int) -> None:
    """End the session ``pid`` of ours, whose connection was lost, if it still has the lock of an entry that is open."""
    end_holder_of(connection, Use.LOOK.key(oid), pid)


def say_who(connection: Connection, command: str) -> None:
    """Let others see in pg_stat_activity which command this session belongs to."""
    connection.execute(select(func.set_config("application_name", f"snapkit {command}", False)))


def stay_idle(connection: Connection) -> None:
    """Keep the server from ending this session for being idle, however long that lasts.

    The server still notices a client that is gone, by TCP keepalives. A snapkit that is suspended together with its
    command keeps its locks, as it should: its user will come back.
    """
    connection.execute(select(func.set_config("idle_session_timeout", "0", False)))


def connect_grants(connection: Connection, oid: int) -> tuple[Grant, ...]:
    """Return who may connect to a database by its access list. NULL counts as the default list.

    https://www.postgresql.org/docs/current/ddl-priv.html
    """
    access = func.coalesce(pg_database.c.datacl, func.acldefault(literal_column("'d'"), pg_database.c.datdba))
    item = (
        func.aclexplode(access)
        .table_valued(
            column("grantor", OID),
            column("grantee", OID),
            column("privilege_type", Text),
            column("is_grantable", Boolean),
        )
        .lateral("item")
    )
    rows = connection.execute(
        select(item.c.grantor, item.c.grantee, item.c.is_grantable)
        .select_from(pg_database)
        .join(item, true())
        .where(pg_database.c.oid == oid, item.c.privilege_type == CONNECT)
    )
    return tuple(sorted(Grant(*row) for row in rows))


def role_names(connection: Connection, grants: Collection[Grant]) -> Mapping[int, str]:
    """Return the names of the roles by OID. Roles that are gone are left out."""
    oids = sorted({oid for grant in grants for oid in (grant.grantor, grant.grantee)})
    rows = connection.execute(
        select(pg_roles.c.oid, pg_roles.c.rolname).where(
            pg_roles.c.oid == func.any(bindparam("oids", oids, ARRAY(OID)))
        )
    )
    return {row.oid: row.rolname for row in rows}
