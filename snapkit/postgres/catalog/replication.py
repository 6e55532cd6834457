"""Logical replication slots and subscriptions of databases. Any role may read them, from any database.

https://www.postgresql.org/docs/current/view-pg-replication-slots.html, .../catalog-pg-subscription.html
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Boolean, Connection, Text, bindparam, column, func, select
from sqlalchemy.dialects.postgresql import ARRAY, OID

from snapkit.core.server.replication import Replication, Slot, Subscription
from snapkit.postgres.catalog.tables import catalog_table, pg_database

_slots = catalog_table(
    "pg_replication_slots",
    column("slot_name", Text),
    column("plugin", Text),
    column("datoid", OID),
    column("temporary", Boolean),
    column("two_phase", Boolean),
)
_subscriptions = catalog_table(
    "pg_subscription",
    column("subname", Text),
    column("subdbid", OID),
    column("subenabled", Boolean),
    column("subslotname", Text),
    column("subpublications", ARRAY(Text)),
)


def replication_of(connection: Connection, oids: Collection[int]) -> Replication:
    """Return the slots and subscriptions of databases, except temporary slots, which end with their session."""
    wanted = bindparam("oids", list(oids), ARRAY(OID))
    slots = connection.execute(
        select(_slots.c.slot_name, _slots.c.plugin, pg_database.c.datname, _slots.c.two_phase)
        .join_from(_slots, pg_database, pg_database.c.oid == _slots.c.datoid)
        .where(~_slots.c.temporary, pg_database.c.oid == func.any(wanted))
        .order_by(pg_database.c.datname, _slots.c.slot_name)
    )
    columns = (_subscriptions.c.subenabled, _subscriptions.c.subslotname, _subscriptions.c.subpublications)
    subscriptions = connection.execute(
        select(_subscriptions.c.subname, pg_database.c.datname, *columns)
        .join_from(_subscriptions, pg_database, pg_database.c.oid == _subscriptions.c.subdbid)
        .where(pg_database.c.oid == func.any(wanted))
        .order_by(pg_database.c.datname, _subscriptions.c.subname)
    )
    return Replication(
        tuple(Slot(*row) for row in slots),
        tuple(
            Subscription(name, database, enabled, slot, tuple(published))
            for name, database, enabled, slot, published in subscriptions
        ),
    )
