"""An entry in use, on the server: the lock that says so, and who may connect while it is open.

The lock is a session-level advisory lock of its own, by the entry's OID. Whoever opens or seals an entry holds it, and
a guard that would roll back to it; the server lets go of it when that session ends, whatever ended it.
https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping

from sqlalchemy import Boolean, Connection, Text, bindparam, column, func, literal_column, select, true
from sqlalchemy.dialects.postgresql import ARRAY, OID

from snapkit.core.opening import CONNECT, Grant
from snapkit.postgres.catalog import pg_database, pg_roles
from snapkit.postgres.locks import end_holder_of, held_by_others, holder_of, others_hold


def entry_key(oid: int) -> int:
    """Return the 64-bit key of an entry's lock."""
    digest = hashlib.sha256(b"snapkit entry:" + str(oid).encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def take_entry(connection: Connection, oid: int) -> bool:
    """Take the lock of an entry, to the end of the session; False if somebody has it, in whatever database."""
    key = entry_key(oid)
    if not connection.execute(select(func.pg_try_advisory_lock(key))).scalar_one():
        return False
    if others_hold(connection, key):
        release_entry(connection, oid)
        return False
    return True


def release_entry(connection: Connection, oid: int) -> None:
    """Let go of it."""
    connection.execute(select(func.pg_advisory_unlock(entry_key(oid))))


def is_taken(connection: Connection, oid: int) -> bool:
    """Whether another session has the lock of an entry, in whatever database."""
    return others_hold(connection, entry_key(oid))


def name_and_use(connection: Connection, oid: int) -> tuple[str | None, bool]:
    """Return the name that an entry has now, None if it is gone; and whether another session has its lock."""
    asked = select(pg_database.c.datname, held_by_others(entry_key(oid))).where(pg_database.c.oid == oid)
    name, taken = connection.execute(asked).one_or_none() or (None, False)
    return name, taken


def user_of(connection: Connection, oid: int) -> str:
    """Say in a few words, in brackets, which session has the lock of an entry; an empty text if none is seen."""
    return holder_of(connection, entry_key(oid))


def end_holder(connection: Connection, oid: int, pid: int) -> None:
    """End the session ``pid`` of ours, whose connection was lost, if it still has the lock of an entry."""
    end_holder_of(connection, entry_key(oid), pid)


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
