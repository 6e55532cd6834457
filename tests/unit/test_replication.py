"""What is said of slots and subscriptions."""

from __future__ import annotations

from snapkit.core.server.replication import (
    Replication,
    Slot,
    Subscription,
    at_work_while_open,
    drop_subscription,
    not_in_a_backup,
    stranded,
)

SLOT = Slot("s'1", "pgoutput", "app")
SUBSCRIPTION = Subscription('n"1', "app", True, "far", ("p", 'q"'))
BOTH = Replication((SLOT,), (SUBSCRIPTION,))


def test_what_is_in_no_backup() -> None:
    assert not_in_a_backup(Replication()) == ()
    assert [each.code for each in not_in_a_backup(BOTH)] == ["replication_slots", "subscriptions"]


def test_what_is_stranded_comes_with_its_statements() -> None:
    assert stranded(Replication()) == ()
    slots, subscriptions = (each.message for each in stranded(BOTH.renamed("app_old"), "app"))
    assert "s'1 of app_old" in slots
    assert "SELECT pg_drop_replication_slot('s''1');" in slots
    assert "connected to 'app': SELECT pg_create_logical_replication_slot('s''1', 'pgoutput');" in slots
    assert 'n"1 of app_old' in subscriptions
    assert """CREATE SUBSCRIPTION "n""1" CONNECTION '...' PUBLICATION "p", "q""\";""" in subscriptions
    assert not any("connected to" in each.message for each in stranded(BOTH))
    (two_phase,) = stranded(Replication((Slot("s", "p", "app", two_phase=True),)), "app")
    assert "SELECT pg_create_logical_replication_slot('s', 'p', false, true);" in two_phase.message


def test_how_a_subscription_is_dropped() -> None:
    said = drop_subscription(SUBSCRIPTION)
    assert said.startswith("Drop it with: snapkit shell app -- psql -c 'SET default_transaction_read_only = off' -c ")
    assert said.endswith("; and on the publisher: SELECT pg_drop_replication_slot('far')")
    assert "publisher" not in drop_subscription(Subscription("n", "app", False, None, ("p",)))


def test_only_an_enabled_subscription_writes_to_what_is_open() -> None:
    assert at_work_while_open(Replication((SLOT,), (Subscription("n", "app", False, None, ("p",)),))) == ()
    assert 'n"1 of app' in at_work_while_open(BOTH)[0].message
