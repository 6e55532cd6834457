"""The locks that say that an entry is in use, and who may connect while it is open.

They are session-level advisory locks, keyed by the entry's OID, one for each kind of use. The server releases such a
lock when its session ends, for whatever reason.
https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from enum import StrEnum

from sqlalchemy import Boolean, Connection, Text, bindparam, column, func, literal_column, select, true
from sqlalchemy.dialects.postgresql import ARRAY, OID

from snapkit.core.inventory.opened import Grant
from snapkit.core.plans.opening import CONNECT
from snapkit.postgres.catalog.tables import pg_database, pg_roles
from snapkit.postgres.sql.locks import end_holder_of, holder_of, others_hold


class Use(StrEnum):
    """What an entry is used for. Each kind of use has one session at a time, except reading."""

    LOOK = "snapkit entry"
    """It is being opened, is open, or is being sealed."""
    GUARD = "snapkit way back"
    """A guard would roll back to it, or it is being dropped."""
    READ = "snapkit read"
    """It is sealed, and commands that read it have sessions inside. They share this lock."""

    def key(self, oid: int) -> int:
        """Return the 64-bit key of the lock of an entry."""
        digest = hashlib.sha256(f"{self}:{oid}".encode()).digest()
        return int.from_bytes(digest[:8], "big", signed=True)


def take_entry(connection: Connection, oid: int, use: Use = Use.LOOK, *, nor: tuple[Use, ...] = ()) -> bool:
    """Take a lock of an entry until the session ends; False if another session has it, in any maintenance database.

    False, too, if another session has one of the locks ``nor``.
    """
    key = use.key(oid)
    if not connection.execute(select(func.pg_try_advisory_lock(key))).scalar_one():
        return False
    if others_hold(connection, key, *(each.key(oid) for each in nor)):
        release_entry(connection, oid, use)
        return False
    return True


def release_entry(connection: Connection, oid: int, use: Use = Use.LOOK) -> None:
    """Release it. A connection that is gone has released it already."""
    if not connection.invalidated and not connection.closed:
        connection.execute(select(func.pg_advisory_unlock(use.key(oid))))


def share_entry(connection: Connection, oid: int) -> None:
    """Take the lock of those who read an entry, until the session ends. Nobody ever holds it alone."""
    connection.execute(select(func.pg_advisory_lock_shared(Use.READ.key(oid))))


def unshare_entry(connection: Connection, oid: int) -> None:
    """Release the lock of those who read an entry. A connection that is gone has released it already."""
    if not connection.invalidated and not connection.closed:
        connection.execute(select(func.pg_advisory_unlock_shared(Use.READ.key(oid))))


def is_taken(connection: Connection, oid: int, use: Use = Use.LOOK) -> bool:
    """Whether another session has a lock of an entry, in any maintenance database."""
    return others_hold(connection, use.key(oid))


def is_in_use(connection: Connection, oid: int) -> bool:
    """Whether another session has an entry open, reads it, or would roll back to it."""
    return others_hold(connection, *(use.key(oid) for use in Use))


def user_of(connection: Connection, oid: int, use: Use) -> str:
    """Say in a few words, in brackets, which session has a lock of an entry; an empty text if none is seen."""
    return holder_of(connection, use.key(oid), anywhere=True)


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
