from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from snapkit.core.comparison.lineage import Boundary, Lineage, Lineages
from snapkit.core.inventory import metadata as comments
from snapkit.core.inventory.database import INVALID_CONNECTION_LIMIT
from snapkit.core.inventory.entry import Entry
from snapkit.core.inventory.kinds import Kind, State
from snapkit.core.inventory.metadata import MAX_BYTES
from snapkit.core.inventory.naming import FreeNames
from snapkit.core.plans.identity import Facts, facts_of
from snapkit.core.plans.statements import AlterDatabase, CommentOnDatabase, RenameDatabase
from snapkit.core.plans.swap import SwapPlan, check_confirmed, is_to_be_kept, plan_swap
from snapkit.errors import BusyError, SnapkitError, UsageError
from tests.unit.builders import (
    AT,
    LATER,
    clone_of,
    document_in,
    make_database,
    make_entry,
    make_metadata,
    names_after,
    statements_of,
)

# The method


# Backup


# Rollback


@pytest.mark.parametrize(
    ("entry", "message", "hint"),
    [
        (make_entry(state=State.UNMANAGED, managed=False), "was not made by snapkit", "snapkit adopt app_backup_"),
        (make_entry(state=State.INVALID), "is invalid", "snapkit list"),
        (make_entry(state=State.INVALID, managed=False), "is invalid", "snapkit list"),
        (
            make_entry("app_partial_20260110_103045", kind=Kind.PARTIAL, state=State.INCOMPLETE, managed=False),
            "is an unfinished clone",
            "snapkit list",
        ),
    ],
)
def test_an_entry_that_is_not_ready_is_refused_with_what_to_do(entry: Entry, message: str, hint: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        plan_swap("app", make_database("app"), entry, None, FreeNames(AT, []))
    assert entry.name in caught.value.message
    assert caught.value.state == "Nothing was changed."
    assert caught.value.hint is not None
    assert hint in caught.value.hint


def test_a_swap_is_one_transaction_that_renames_the_live_database_as_late_as_can_be() -> None:
    entry = make_entry(metadata=replace(make_metadata(), comment="The shop's"))
    plan = plan_swap("app", make_database("app"), entry, None, FreeNames(LATER, ["app", entry.name]), comment="Now")
    (step,) = plan.steps
    assert step.atomic
    assert step.statements == (*plan.prepare, *plan.swap)
    assert plan.prepare == (
        RenameDatabase(entry.name, "app_partial_20260111_080000"),
        AlterDatabase("app_partial_20260111_080000", allow_connections=True, is_template=False),
        CommentOnDatabase("app_partial_20260111_080000", "The shop's"),
        CommentOnDatabase("app", plan.displaced_document),
        AlterDatabase("app", allow_connections=False, is_template=False),
    )
    assert plan.swap == (
        RenameDatabase("app", "app_old_20260111_080000"),
        RenameDatabase("app_partial_20260111_080000", "app"),
    )
    assert plan.passing_name == "app_partial_20260111_080000"
    assert plan.displaced_document == comments.encode(plan.displaced_metadata)
    assert plan.displaced_metadata == replace(
        make_metadata(kind=Kind.OLD, at=LATER),
        comment="Now",
        gave_way_to=entry.name,
        gave_way_to_oid=entry.database.oid,
        used_up=comments.encode(replace(make_metadata(), comment="The shop's")),
    )
    assert names_after(plan.steps, "app", entry.name) == {"app": plan.displaced_name, entry.name: "app"}


@pytest.mark.parametrize("was", [False, True])
@pytest.mark.parametrize("was_open", [False, True])
def test_a_swap_gives_back_and_puts_away_the_template_flag_and_the_seal(was: bool, was_open: bool) -> None:
    entry = make_entry(metadata=replace(make_metadata(), is_template=was, allow_connections=was_open))
    live = make_database("app", is_template=was, allow_connections=was_open)
    plan = plan_swap("app", live, entry, None, FreeNames(LATER, []))
    restored, displaced = (s for s in plan.prepare if isinstance(s, AlterDatabase))
    assert restored.name == plan.passing_name
    assert restored.allow_connections is was_open
    assert restored.is_template is was
    assert displaced.name == "app"
    assert displaced.allow_connections is False
    assert displaced.is_template is False
    assert plan.displaced_metadata.is_template is was
    assert plan.displaced_metadata.allow_connections is was_open


@pytest.mark.parametrize("kept", [False, True])
def test_clients_are_not_held_while_the_swap_is_prepared(kept: bool) -> None:
    """Only a rename takes a lock on the live database that new connections wait for."""
    entry = make_entry()
    plan = plan_swap("app", make_database("app"), entry, clone_of(entry) if kept else None, FreeNames(LATER, []))
    renamed = [s for s in plan.prepare if isinstance(s, RenameDatabase)]
    assert all("app" not in (s.name, s.new_name) for s in renamed)
    assert plan.swap == (
        RenameDatabase("app", "app_old_20260111_080000"),
        RenameDatabase(plan.passing_name, "app"),
    )


def test_what_is_in_the_way_of_the_backup_is_waited_for_before_clients_are_held() -> None:
    entry = make_entry()
    plan = plan_swap("app", make_database("app"), entry, None, FreeNames(LATER, []))
    assert plan.prepare[0] == RenameDatabase(entry.name, plan.passing_name)


def facts_before(plan: SwapPlan) -> dict[int, Facts]:
    """What another session sees of the databases that a plan was made for, while nothing of it is committed."""
    assert plan.live is not None
    live = facts_of(plan.live, plan.displaced_metadata.comment)
    return {**plan.assumed, plan.live.oid: live}


@pytest.mark.parametrize("kept", [False, True])
def test_what_is_still_as_it_was_is_swapped_as_planned(kept: bool) -> None:
    entry = make_entry()
    plan = plan_swap(
        "app", make_database("app"), entry, clone_of(entry) if kept else None, FreeNames(LATER, []), comment="Now"
    )
    plan = plan.cloned(16400) if kept else plan
    assert list(plan.assumed) == [16400 if kept else entry.database.oid]
    assert comments.encode(plan.held_against(facts_before(plan), "").displaced_metadata) == plan.displaced_document


def test_what_is_put_aside_is_noted_as_it_was_when_nobody_could_change_it_any_more() -> None:
    plan = plan_swap("app", make_database("app"), make_entry(), None, FreeNames(LATER, []), comment="Then")
    assert plan.live is not None
    found = facts_before(plan)
    found[plan.live.oid] = replace(
        found[plan.live.oid], comment="Now", is_template=True, allow_connections=False, connection_limit=50
    )
    now = plan.held_against(found, "")
    document = document_in(list(now.seal), "app")
    assert (document.comment, document.is_template, document.allow_connections) == ("Now", True, False)
    assert replace(document, comment="Then", is_template=False, allow_connections=True) == plan.displaced_metadata
    assert now.live is not None
    assert (now.live.connection_limit, now.live.has_comment) == (50, True)


@pytest.mark.parametrize(
    ("which", "field", "value", "error"),
    [
        ("live", "name", "app_blue", "'app' is no longer the same database"),
        ("live", "owner", "mallory", "Somebody has changed 'app' meanwhile: owner"),
        ("live", "connection_limit", INVALID_CONNECTION_LIMIT, "'app' is invalid"),
        ("entry", "name", "x", "is no longer the same database"),
        ("entry", "comment", "{}", "meanwhile: comment"),
        ("entry", "owner", "mallory", "meanwhile: owner"),
    ],
)
def test_another_database_or_another_owner_is_not_swapped(which: str, field: str, value: Any, error: str) -> None:
    entry = make_entry()
    plan = plan_swap("app", make_database("app"), entry, None, FreeNames(LATER, []), comment="Then")
    assert plan.live is not None
    found = facts_before(plan)
    oid = plan.live.oid if which == "live" else entry.database.oid
    found[oid] = replace(found[oid], **{field: value})
    with pytest.raises(SnapkitError, match=error):
        plan.held_against(found, "Nothing was changed.")


def test_where_nothing_is_live_only_the_entry_counts() -> None:
    plan = plan_swap("app", None, make_entry(), None, FreeNames(LATER, []))
    assert plan.seal == ()
    assert plan.held_against(plan.assumed, "") == plan
    entry = make_entry()
    assert plan_swap("app", None, entry, clone_of(entry), FreeNames(LATER, [])).assumed == {}


def test_the_passing_name_is_one_that_is_free() -> None:
    entry = make_entry()
    taken = ["app", entry.name, "app_partial_20260111_080000", "app_old_20260111_080000"]
    plan = plan_swap("app", make_database("app"), entry, None, FreeNames(LATER, taken))
    assert plan.passing_name == "app_partial_20260111_080000_2"
    assert names_after(plan.steps, *taken) == {
        "app": "app_old_20260111_080000_2",
        entry.name: "app",
        "app_partial_20260111_080000": "app_partial_20260111_080000",
        "app_old_20260111_080000": "app_old_20260111_080000",
    }


def test_an_invalid_live_database_is_not_swapped() -> None:
    """PostgreSQL renames it without a murmur, and nobody could connect to what undo would bring back."""
    live = make_database("app", connection_limit=INVALID_CONNECTION_LIMIT)
    with pytest.raises(SnapkitError, match="'app' is invalid"):
        plan_swap("app", live, make_entry(), None, FreeNames(LATER, []))


def test_a_comment_that_cannot_be_kept_is_refused_while_planning_a_swap() -> None:
    """Not first when clients are held."""
    with pytest.raises(UsageError, match="The comment on 'app'"):
        plan_swap("app", make_database("app"), make_entry(), None, FreeNames(LATER, []), comment="x" * MAX_BYTES)


def test_where_nothing_is_live_nothing_is_put_aside() -> None:
    entry = make_entry(metadata=replace(make_metadata(), comment="The shop's"))
    plan = plan_swap("app", None, entry, None, FreeNames(LATER, [entry.name]))
    assert plan.displaced_name is None
    assert statements_of(plan.steps) == [
        RenameDatabase(entry.name, "app_partial_20260111_080000"),
        AlterDatabase("app_partial_20260111_080000", allow_connections=True, is_template=False),
        CommentOnDatabase("app_partial_20260111_080000", "The shop's"),
        RenameDatabase("app_partial_20260111_080000", "app"),
    ]


def test_a_backup_that_is_kept_is_cloned_first_and_the_clone_swapped_in() -> None:
    entry = make_entry(metadata=replace(make_metadata(), comment="The shop's"))
    clone = clone_of(entry)
    plan = plan_swap("app", make_database("app"), entry, clone, FreeNames(LATER, []))
    first, second = plan.steps
    assert (first.atomic, second.atomic) == (False, True)
    assert first.statements == (clone.create,)
    assert clone.create.template == entry.name
    assert plan.passing_name == clone.name == "app_partial_20260111_080000"
    assert second.statements == (*clone.restore_properties, *plan.prepare, *plan.swap)
    assert plan.prepare == (
        AlterDatabase(clone.name, allow_connections=True, is_template=False),
        CommentOnDatabase(clone.name, "The shop's"),
        CommentOnDatabase("app", plan.displaced_document),
        AlterDatabase("app", allow_connections=False, is_template=False),
    )
    assert names_after(plan.steps, "app", entry.name) == {
        "app": "app_old_20260111_080000",
        entry.name: entry.name,
        clone.name: "app",
    }


def test_what_is_put_aside_for_a_clone_notes_the_clone_once_it_is_made() -> None:
    entry = make_entry()
    plan = plan_swap("app", make_database("app"), entry, clone_of(entry), FreeNames(LATER, []))
    assert (plan.displaced_metadata.gave_way_to, plan.displaced_metadata.gave_way_to_oid) == (entry.name, None)
    made = document_in(list(plan.cloned(16400).prepare), "app")
    assert (made.gave_way_to, made.gave_way_to_oid) == (entry.name, 16400)


@pytest.mark.parametrize("kind", [Kind.BACKUP, Kind.OLD])
def test_an_entry_stays_where_that_is_asked_for_or_it_is_pinned(kind: Kind) -> None:
    assert is_to_be_kept(make_entry(kind=kind), asked=True)
    assert is_to_be_kept(make_entry(kind=kind, pinned=True), asked=False)
    assert not is_to_be_kept(make_entry(kind=kind), asked=False)


def test_an_undo_puts_the_live_database_aside_in_its_turn() -> None:
    entry = make_entry("app_old_20260111_080000", kind=Kind.OLD, at=LATER)
    plan = plan_swap("app", make_database("app"), entry, None, FreeNames(LATER, ["app", entry.name]))
    assert names_after(plan.steps, "app", entry.name) == {"app": "app_old_20260111_080000_2", entry.name: "app"}


def test_a_displaced_database_carries_a_document_that_reads_back() -> None:
    live = make_database("app", is_template=True)
    plan = plan_swap("app", live, make_entry(), None, FreeNames(LATER, []), comment='A "comment"\n')
    document = document_in(list(plan.prepare), "app")
    assert document == plan.displaced_metadata
    assert (document.kind, document.source, document.comment) == (Kind.OLD, "app", 'A "comment"\n')


# Adoption and drops


# A copy while clients work


# Sharing blocks


def test_what_is_put_aside_notes_where_it_comes_from_and_what_went_live() -> None:
    entry, live = make_entry(), make_database("app", oid=1)
    known = Lineages(5, (Lineage(5, 1).cloned(entry.database.oid, Boundary(7, 9)),))
    used_up = plan_swap("app", live, entry, None, FreeNames(LATER, []), lineages=known)
    assert used_up.displaced_metadata.lineage == Lineage(5, 1)
    assert used_up.displaced_metadata.heir == known.known[0]
    kept = plan_swap("app", live, entry, clone_of(entry), FreeNames(LATER, []), lineages=known)
    assert kept.cloned(16400).displaced_metadata.heir == known.known[0]
    heir = kept.cloned(16400, Boundary(20, 30)).displaced_metadata.heir
    assert heir == known.known[0].cloned(16400, Boundary(20, 30))
    nobody = plan_swap("app", None, entry, None, FreeNames(LATER, []), lineages=known)
    assert (nobody.displaced_metadata.lineage, nobody.displaced_metadata.heir) == (None, known.known[0])


def test_what_is_put_aside_notes_after_which_moment_its_writes_are_late() -> None:
    plan = plan_swap("app", make_database("app"), make_entry(), None, FreeNames(LATER, []))
    assert document_in(list(plan.noting_late(Boundary(7, 9)).prepare), "app").late_after == Boundary(7, 9)
    assert plan.noting_late(None) == plan


def test_a_plan_that_somebody_has_agreed_to_holds_for_the_same_databases_only() -> None:
    entry, live = make_entry(), make_database("app")
    plan = plan_swap("app", live, entry, None, FreeNames(LATER, []))
    later = plan_swap("app", live, entry, None, FreeNames(LATER, []), comment="Another")
    check_confirmed(later, plan)
    for other in (
        plan_swap("app", make_database("app", oid=live.oid + 77), entry, None, FreeNames(LATER, [])),
        plan_swap("app", None, entry, None, FreeNames(LATER, [])),
        plan_swap("app", live, entry, clone_of(entry), FreeNames(LATER, [])),
    ):
        with pytest.raises(BusyError, match="have changed since the plan was made"):
            check_confirmed(other, plan)
