"""What a database of the server is."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest

from snapkit.core.inventory.database import INVALID_CONNECTION_LIMIT, OPEN_PARTIAL_CONNECTION_LIMIT, Database
from snapkit.core.inventory.entry import Entry
from snapkit.core.inventory.kinds import Kind, State, Strategy
from snapkit.core.inventory.naming import free_name
from snapkit.core.inventory.recognition import Inventory, take_inventory
from snapkit.core.inventory.selection import latest_backup, select_one
from snapkit.errors import NotFoundError
from tests.unit.builders import AT, BACKUP, make_database, make_managed, make_metadata, make_partial, utc

NEWER = '{"snapkit":2,"anything":"at all"}'


def inventory_of(*databases: Database, role: str = "alice") -> Inventory:
    return take_inventory([make_database("app"), *databases], role)


def only_entry(inventory: Inventory) -> Entry:
    (entry,) = inventory.entries
    return entry


def test_a_document_makes_an_entry_with_all_it_says() -> None:
    metadata = replace(
        make_metadata(label="before 4.2", pinned=True, pin_reason="audit"), strategy=Strategy.CLONE, comment="Prod"
    )
    database = make_managed(BACKUP, metadata)
    entry = only_entry(inventory_of(database))
    assert entry == Entry(database, "app", Kind.BACKUP, State.READY, AT, 1, metadata)
    assert (entry.name, entry.label, entry.pinned, entry.pin_reason) == (BACKUP, "before 4.2", True, "audit")
    assert entry.strategy is Strategy.CLONE
    assert entry.is_managed


def test_a_document_counts_and_not_the_name() -> None:
    entry = only_entry(inventory_of(make_managed("renamed by hand", make_metadata("app", Kind.OLD))))
    assert (entry.source, entry.kind, entry.state) == ("app", Kind.OLD, State.READY)


def test_an_interrupted_drop_leaves_an_invalid_entry() -> None:
    entry = only_entry(inventory_of(make_managed(BACKUP, connection_limit=INVALID_CONNECTION_LIMIT)))
    assert entry.state is State.INVALID
    assert entry.is_managed


def test_a_backup_of_the_original_script_is_unmanaged() -> None:
    inventory = inventory_of(make_database(BACKUP))
    entry = only_entry(inventory)
    assert (entry.source, entry.kind, entry.state, entry.created_at) == ("app", Kind.BACKUP, State.UNMANAGED, AT)
    assert not entry.is_managed
    assert (entry.label, entry.pinned, entry.pin_reason, entry.strategy) == (None, False, None, None)
    assert not inventory.is_ours(BACKUP)


def test_an_invalid_backup_of_the_original_script_is_invalid_and_not_managed() -> None:
    entry = only_entry(inventory_of(make_database(BACKUP, connection_limit=INVALID_CONNECTION_LIMIT)))
    assert entry.state is State.INVALID
    assert not entry.is_managed


@pytest.mark.parametrize(
    "database",
    [
        make_database("app"),
        make_database("template1", is_template=True),
        make_database(BACKUP, has_comment=True),
        make_database(BACKUP, document='{"snapkit":1,"kind":"backup"}'),
        make_database(BACKUP, document="{}"),
        make_database("app_backup_20260230_103045"),
        make_database("app_backup_20260110_103045_2"),
        make_database("app_old_20260110_103045"),
        make_database("app_partial_20260110_103045"),
        make_database("appXbackupX20260110_103045"),
        make_database("nightly_backup_copy"),
    ],
    ids=lambda database: f"{database.name} {database.document or database.has_comment}",
)
def test_what_carries_no_proof_is_a_stranger(database: Database) -> None:
    inventory = take_inventory([database], "alice")
    assert (inventory.entries, inventory.newer, inventory.distrusted) == ((), (), ())
    assert not inventory.is_ours(database.name)
    assert inventory.databases == {database.name: database}


LONG = "x" * 60


@pytest.mark.parametrize(
    ("name", "source", "sequence"),
    [
        ("app_partial_20260110_103045", "app", 1),
        ("gone_partial_20260110_103045_2", "gone", 2),
        ("app_partial_old_partial_20260110_103045", "app_partial_old", 1),
        (free_name(LONG, Kind.PARTIAL, AT, []), LONG, 1),
    ],
)
def test_a_clone_under_construction_is_known_by_name_and_marks(name: str, source: str, sequence: int) -> None:
    inventory = inventory_of(make_partial(name), make_database(LONG))
    entry = only_entry(inventory)
    assert (entry.source, entry.kind, entry.state) == (source, Kind.PARTIAL, State.INCOMPLETE)
    assert (entry.created_at, entry.sequence) == (AT, sequence)
    assert not entry.is_managed
    assert inventory.is_ours(name)
    assert inventory.of_source(source) == (entry,)


def test_an_interrupted_drop_of_a_clone_under_construction_is_still_one() -> None:
    entry = only_entry(
        inventory_of(make_partial("app_partial_20260110_103045", connection_limit=INVALID_CONNECTION_LIMIT))
    )
    assert (entry.kind, entry.state, entry.source) == (Kind.PARTIAL, State.INVALID, "app")


def test_a_copy_that_is_being_filled_is_a_partial_though_it_is_open() -> None:
    database = replace(
        make_partial("app_partial_20260110_103045", connection_limit=OPEN_PARTIAL_CONNECTION_LIMIT),
        allow_connections=True,
    )
    (entry,) = inventory_of(make_database("app"), database).entries
    assert (entry.kind, entry.state, entry.source) == (Kind.PARTIAL, State.INCOMPLETE, "app")
    assert entry.database.is_open_partial
    assert inventory_of(make_database("app"), replace(database, has_comment=True)).entries == ()
    assert inventory_of(make_database("app"), replace(database, name="app_copy")).entries == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"allow_connections": True},
        {"connection_limit": -1},
        {"connection_limit": 0},
        {"has_comment": True},
        {"name": "app_partial_20260230_103045"},
        {"name": "app_copy_20260110_103045"},
    ],
)
def test_without_every_mark_it_is_no_clone_under_construction(changes: dict[str, Any]) -> None:
    database = replace(make_partial("app_partial_20260110_103045"), **changes)
    assert inventory_of(database).entries == ()


def test_a_document_of_a_newer_snapkit_is_set_aside_but_ours() -> None:
    database = make_database(BACKUP, document=NEWER)
    inventory = inventory_of(database)
    assert inventory.entries == ()
    assert inventory.newer == (database,)
    assert inventory.is_ours(BACKUP)
    assert not inventory.is_ours("app")


@pytest.mark.parametrize(
    ("owner", "superuser", "source", "role", "trusted"),
    [
        ("alice", False, "app", "alice", True),
        ("alice", False, "app", "bob", True),
        ("mallory", False, "app", "alice", False),
        ("mallory", False, "app", "mallory", False),
        ("postgres", True, "app", "alice", False),
        ("postgres", True, "app", "postgres", False),
        ("alice", False, "gone", "alice", True),
        ("mallory", False, "gone", "alice", False),
        ("postgres", True, "gone", "alice", False),
        ("postgres", True, "gone", "postgres", True),
    ],
)
def test_a_document_is_believed_only_of_an_owner_with_a_claim_to_the_source(
    owner: str, superuser: bool, source: str, role: str, trusted: bool
) -> None:
    name = f"{source}_backup_20260110_103045"
    database = make_managed(name, make_metadata(source), owner=owner, owner_is_superuser=superuser)
    inventory = inventory_of(database, role=role)
    assert bool(inventory.entries) is trusted
    expected = Entry(database, source, Kind.BACKUP, State.READY, AT, 1, make_metadata(source))
    assert inventory.entries == ((expected,) if trusted else ())
    assert inventory.distrusted == (() if trusted else (expected,))
    assert inventory.of_source(source) == inventory.entries
    assert inventory.is_ours(name) is trusted


def test_the_live_database_is_no_backup_of_itself_though_a_rename_by_hand_left_it_the_comment() -> None:
    inventory = take_inventory([make_managed("app", make_metadata("app"))], "alice")
    assert inventory.entries == inventory.distrusted == ()
    assert not inventory.is_ours("app")


def test_a_backup_that_was_renamed_by_hand_is_listed_and_never_the_latest() -> None:
    inventory = inventory_of(make_managed("app_keep_this", make_metadata("app")))
    (entry,) = inventory.entries
    assert not entry.bears_its_name
    with pytest.raises(NotFoundError):
        latest_backup(inventory.entries, "app")
    assert select_one(inventory.entries, "app_keep_this", "app") == entry


def test_who_gives_the_whole_name_vouches_for_a_backup_whose_source_is_gone() -> None:
    inventory = inventory_of(make_managed(BACKUP, make_metadata("gone"), owner="mallory"))
    (entry,) = inventory.distrusted
    assert inventory.orphan(BACKUP, "gone") is entry
    assert inventory.orphan("20260110_103045", "gone") is None
    assert inventory.orphan("", "gone") is None
    assert inventory.orphan(f"{BACKUP}_2", "gone") is None
    assert inventory.orphan(BACKUP, "another that is gone") is None


def test_nobody_vouches_for_a_backup_whose_source_is_there() -> None:
    inventory = inventory_of(make_managed(BACKUP, owner="mallory"))
    assert [entry.name for entry in inventory.distrusted] == [BACKUP]
    assert inventory.orphan(BACKUP, "app") is None


def test_an_orphan_is_picked_out_of_several_and_keeps_its_state() -> None:
    inventory = inventory_of(
        make_managed(f"{BACKUP}_2", make_metadata("gone"), owner="mallory"),
        make_managed(BACKUP, make_metadata("gone"), owner="eve", connection_limit=INVALID_CONNECTION_LIMIT),
        make_managed("mine", make_metadata("gone")),
    )
    orphan = inventory.orphan(BACKUP, "gone")
    assert orphan is not None
    assert (orphan.name, orphan.database.owner, orphan.state) == (BACKUP, "eve", State.INVALID)
    assert inventory.orphan("mine", "gone") is None, "one's own needs nobody to vouch for it"
    assert [entry.name for entry in inventory.entries] == ["mine"]


def test_an_unmanaged_backup_is_nobodys_word_and_so_not_distrusted() -> None:
    inventory = inventory_of(make_database(BACKUP, owner="mallory"))
    assert inventory.distrusted == ()
    assert only_entry(inventory).state is State.UNMANAGED


def test_the_inventory_is_newest_first_and_the_higher_number_is_the_newer() -> None:
    late = utc("2026-02-01")
    names = {
        BACKUP: AT,
        f"{BACKUP}_2": AT,
        f"{BACKUP}_10": AT,
        "app_old_20260201_000000": late,
    }
    databases = [make_managed(name, make_metadata(at=at)) for name, at in names.items()]
    expected = ["app_old_20260201_000000", f"{BACKUP}_10", f"{BACKUP}_2", BACKUP]
    for order in permutations(databases):
        assert [entry.name for entry in inventory_of(*order).entries] == expected


def test_entries_are_told_apart_by_source() -> None:
    inventory = inventory_of(
        make_managed(BACKUP), make_managed("shop_backup_20260110_103045", make_metadata("shop")), make_database("shop")
    )
    assert [entry.source for entry in inventory.of_source("shop")] == ["shop"]
    assert inventory.of_source("nothing") == ()


def test_a_database_named_like_a_backup_may_have_backups_of_its_own() -> None:
    source = make_database(BACKUP, has_comment=True)
    name = f"{BACKUP}_backup_20260201_000000"
    inventory = take_inventory([source, make_managed(name, make_metadata(BACKUP))], "alice")
    assert only_entry(inventory).source == BACKUP
    assert not inventory.is_ours(BACKUP)


def test_what_a_run_has_made_is_known_by_its_oid_whoever_owns_its_source_by_now() -> None:
    source = make_database("app", owner="somebody")
    backup = make_managed(BACKUP, make_metadata("app"))
    inventory = take_inventory([source, backup], "alice")
    assert inventory.entries == ()
    assert inventory.made_here(backup.oid, "app").database is backup
    for oid, name in ((backup.oid + 1, "app"), (backup.oid, "other")):
        with pytest.raises(NotFoundError, match="is gone"):
            inventory.made_here(oid, name)
