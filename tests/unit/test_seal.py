"""The plan of an adoption."""

from __future__ import annotations

from dataclasses import replace

from snapkit.core.inventory.kinds import State
from snapkit.core.plans.seal import plan_adoption
from snapkit.core.plans.statements import AlterDatabase, ChangeOwner
from tests.unit.builders import document_in, make_database, make_entry, make_metadata, make_properties

SCRIPT = make_entry(state=State.UNMANAGED, managed=False, database=make_database("app_backup_20260110_103045"))


def test_adoption_seals_and_notes_what_the_source_is_at_present() -> None:
    live = make_database("app", is_template=True, allow_connections=False)
    statements = plan_adoption(SCRIPT, live, "The shop's", make_properties())
    assert statements[1] == AlterDatabase(SCRIPT.name, allow_connections=False, is_template=False)
    assert document_in(list(statements), SCRIPT.name) == replace(
        make_metadata(), comment="The shop's", is_template=True, allow_connections=False
    )
    assert len(statements) == 2


def test_adoption_without_a_source_notes_ordinary_properties() -> None:
    statements = plan_adoption(SCRIPT, None, None, None)
    assert document_in(list(statements), SCRIPT.name) == make_metadata()
    assert len(statements) == 2


def test_adoption_gives_the_backup_its_sources_owner() -> None:
    statements = plan_adoption(SCRIPT, make_database("app", owner="bob"), None, make_properties(owner="bob"))
    assert statements[2] == ChangeOwner(SCRIPT.name, "bob")
    assert len(statements) == 3
