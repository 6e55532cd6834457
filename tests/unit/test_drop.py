"""The plan of a drop."""

from __future__ import annotations

from snapkit.core.inventory.database import OPEN_PARTIAL_CONNECTION_LIMIT
from snapkit.core.inventory.kinds import Kind, State
from snapkit.core.plans.drop import plan_drops, statements_to_drop, statements_to_give_back, statements_to_take
from snapkit.core.plans.statements import AlterDatabase, CommentOnDatabase, DropDatabase, RenameDatabase, Step
from tests.unit.builders import make_database, make_entry


def test_the_plan_of_a_drop_is_what_is_sent_for_an_unfinished_copy_too() -> None:
    copy = make_database("app_partial_20260110_103045", connection_limit=OPEN_PARTIAL_CONNECTION_LIMIT)
    entry = make_entry(kind=Kind.PARTIAL, state=State.INCOMPLETE, managed=False, database=copy)
    (step,) = plan_drops([entry])
    assert step.statements == statements_to_drop(copy)


def test_entries_are_dropped_one_by_one() -> None:
    entries = [make_entry("app_backup_20260110_103045"), make_entry("app_backup_20260111_103045")]
    assert plan_drops(entries) == tuple(Step(f"Drop {e.name}", (DropDatabase(e.name),)) for e in entries)


def test_what_was_being_filled_is_closed_before_it_is_dropped() -> None:
    database = make_database("p", connection_limit=OPEN_PARTIAL_CONNECTION_LIMIT)
    assert statements_to_drop(database) == (
        AlterDatabase("p", allow_connections=False),
        DropDatabase("p", force=True),
    )
    assert statements_to_drop(make_database("p")) == (DropDatabase("p"),)


def test_what_is_to_be_dropped_gets_a_passing_name_and_says_so() -> None:
    database = make_database("a", allow_connections=True, is_template=True, document="{}")
    assert statements_to_take(database, "p", "{d}") == (
        RenameDatabase("a", "p"),
        AlterDatabase("p", allow_connections=False, is_template=False),
        CommentOnDatabase("p", "{d}"),
    )
    assert statements_to_give_back(database, "p") == (
        RenameDatabase("p", "a"),
        AlterDatabase("a", allow_connections=True, is_template=True),
        CommentOnDatabase("a", "{}"),
    )
    assert statements_to_take(make_database("a"), "p", None) == (RenameDatabase("a", "p"),)
    invalid = make_database("a", connection_limit=-2)
    assert statements_to_take(invalid, "p", "{d}") == (RenameDatabase("a", "p"), CommentOnDatabase("p", "{d}"))
