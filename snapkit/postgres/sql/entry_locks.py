"""An entry in use, on the server: the locks that say so, and who may connect while it is open.

They are session-level advisory locks, by the entry's OID, one for each use; the server lets go of one when the session
that holds it ends, whatever ended it.
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
    """What an entry is used for: one session at a time for each."""

    LOOK = "snapkit entry"
    """It is being opened, is open, or is being sealed."""
    GUARD = "snapkit way back"
    """A guard would roll back to it, or it is being dropped."""

    def key(self, oid: int) -> int:
        """Return the 64-bit key of the lock of an entry."""
        digest = hashlib.sha256(f"{self}:{oid}".encode()).digest()
        return int.from_bytes(digest[:8], "big", signed=True)


def take_entry(connection: Connection, oid: int, use: Use = Use.LOOK) -> bool:
    """Take a lock of an entry, to the end of the session; False if somebody has it, in whatever database."""
    key = use.key(oid)
    if not connection.execute(select(func.pg_try_advisory_lock(key))).scalar_one():
        return False
    if others_hold(connection, key):
        release_entry(connection, oid, use)
        return False
    return True


def release_entry(connection: Connection, oid: int, use: Use = Use.LOOK) -> None:
    """Let go of it; a connection that is gone has let go already."""
    if not connection.invalidated and not connection.closed:
        connection.execute(select(func.pg_advisory_unlock(use.key(oid))))


def is_taken(connection: Connection, oid: int, use: Use = Use.LOOK) -> bool:
    """Whether another session has a lock of an entry, in whatever database."""
    return others_hold(connection, use.key(oid))


def is_in_use(connection: Connection, oid: int) -> bool:
    """Whether another session has an entry open, or would roll back to it."""
    return any(others_hold(connection, use.key(oid)) for use in Use)


def user_of(connection: Connection, oid: int, use: Use) -> str:
    """Say in a few words, in brackets, which session has a lock of an entry; an empty text if none is seen."""
    return holder_of(connection, use.key(oid), anywhere=True)


def end_holder(connection: Connection, oid: int, pid: int) -> None:
    """End the session ``pid`` of ours, whose connection was lost, if it still has the lock of an entry that is open."""
    end_holder_of(connection, Use.LOOK.key(oid), pid)


def stay_idle(connection: Connection) -> None:
    """Let the server not take this session for forgotten, however long it has nothing to do.

    A client that is gone it notices all the same, by TCP's keepalives. A snapkit that was suspended together with its
    command keeps what it holds, which is right: its user means to come back.
    """
    connection.execute(select(func.set_config("idle_session_timeout", "0", False)))


def connect_grants(connection: Connection, oid: int) -> tuple[Grant, ...]:
    """Return who may connect to a database by its access list; the default one is written out.

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
    """Return the names of the roles, by OID; those that are gone are left out."""
    oids = sorted({oid for grant in grants for oid in (grant.grantor, grant.grantee)})
    rows = connection.execute(
        select(pg_roles.c.oid, pg_roles.c.rolname).where(
            pg_roles.c.oid == func.any(bindparam("oids", oids, ARRAY(OID)))
        )
    )
    return {row.oid: row.rolname for row in rows}
