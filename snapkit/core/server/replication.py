"""Logical replication: slots and subscriptions. They belong to the OID of a database, and so stay with it.

https://www.postgresql.org/docs/current/logical-replication.html
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace

from snapkit.core.reporting import Caution
from snapkit.core.values import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Slot:
    """A logical replication slot that lasts; ``database`` is the name of the database that it belongs to."""

    name: str
    plugin: str
    database: str
    two_phase: bool = False


@dataclass(frozen=True, slots=True, order=True)
class Subscription:
    """A subscription; ``slot`` is its slot's name on the publisher, None if it has none."""

    name: str
    database: str
    enabled: bool
    slot: str | None
    publications: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Replication:
    """What belongs to some databases."""

    slots: tuple[Slot, ...] = ()
    subscriptions: tuple[Subscription, ...] = ()

    def renamed(self, database: str) -> Replication:
        """Return the same of a database that has another name, or will have."""
        return Replication(
            tuple(replace(each, database=database) for each in self.slots),
            tuple(replace(each, database=database) for each in self.subscriptions),
        )


def not_in_a_backup(found: Replication) -> tuple[Caution, ...]:
    """Warn of slots and subscriptions of a backup's source, which a backup does not contain."""
    cautions = []
    if found.slots:
        cautions.append(
            Caution(
                "replication_slots",
                f"Backups do not contain logical replication slots: {_slots(found.slots)}. After a rollback they "
                "stay with the displaced database, and hold back WAL until they are dropped.",
            )
        )
    if found.subscriptions:
        cautions.append(
            Caution(
                "subscriptions",
                f"Backups do not contain subscriptions: {_subscriptions(found.subscriptions)}. After a rollback "
                "they stay with the displaced database. There they do not run, and hold back WAL on the "
                "publisher.",
            )
        )
    return tuple(cautions)


def stranded(found: Replication, live: str | None = None) -> tuple[Caution, ...]:
    """Warn of slots and subscriptions of databases that nobody can connect to; ``live`` is where to create them
    again."""
    anew = f" To create them again, connected to {live!r}:" if live else ""
    cautions = []
    if found.slots:
        drops = " ".join(f"SELECT pg_drop_replication_slot({_literal(each.name)});" for each in found.slots)
        creates = " ".join(map(_create_slot, found.slots)) if live else ""
        cautions.append(
            Caution(
                "replication_slots",
                "These logical replication slots belong to databases that nobody can connect to. They hold back "
                f"WAL until the disk is full: {_slots(found.slots)}. Drop them: "
                f"{drops}{anew and anew + ' ' + creates}",
            )
        )
    if found.subscriptions:
        ways = " ".join(f"{drop_subscription(each)}." for each in found.subscriptions)
        creates = " ".join(map(_create_subscription, found.subscriptions)) if live else ""
        cautions.append(
            Caution(
                "subscriptions",
                "These subscriptions belong to databases that nobody can connect to. They do not run, and hold "
                f"back WAL on the publisher: {_subscriptions(found.subscriptions)}. "
                f"{ways}{anew and anew + ' ' + creates}",
            )
        )
    return tuple(cautions)


def at_work_while_open(found: Replication) -> tuple[Caution, ...]:
    """Warn of subscriptions that write to an entry while it is open."""
    enabled = tuple(each for each in found.subscriptions if each.enabled)
    if not enabled:
        return ()
    names = _subscriptions(enabled)
    return (Caution("subscriptions", f"While it is open, these enabled subscriptions write to it: {names}."),)


def drop_subscription(subscription: Subscription) -> str:
    """Return what to type to drop a subscription of a database that nobody can connect to."""
    name = _identifier(subscription.name)
    statements = (
        "SET default_transaction_read_only = off",
        f"ALTER SUBSCRIPTION {name} DISABLE",
        f"ALTER SUBSCRIPTION {name} SET (slot_name = NONE)",
        f"DROP SUBSCRIPTION {name}",
    )
    words = " ".join(f"-c {shlex.quote(each)}" for each in statements)
    publisher = (
        f"; and on the publisher: SELECT pg_drop_replication_slot({_literal(subscription.slot)})"
        if subscription.slot
        else ""
    )
    return f"Drop it with: snapkit shell {shlex.quote(subscription.database)} -- psql {words}{publisher}"


def _create_slot(slot: Slot) -> str:
    more = ", false, true" if slot.two_phase else ""
    return f"SELECT pg_create_logical_replication_slot({_literal(slot.name)}, {_literal(slot.plugin)}{more});"


def _create_subscription(subscription: Subscription) -> str:
    publications = ", ".join(map(_identifier, subscription.publications))
    return f"CREATE SUBSCRIPTION {_identifier(subscription.name)} CONNECTION '...' PUBLICATION {publications};"


def _slots(slots: Sequence[Slot]) -> str:
    return ", ".join(f"{each.name} of {each.database}" for each in slots)


def _subscriptions(subscriptions: Sequence[Subscription]) -> str:
    return ", ".join(f"{each.name} of {each.database}" for each in subscriptions)


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
