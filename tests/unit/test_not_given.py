from __future__ import annotations

from dataclasses import replace

from snapkit.core.plans.not_given import lacking, recall
from snapkit.core.plans.properties import Privilege, SecurityLabel, Setting, shown
from snapkit.core.plans.statements import GrantOnDatabase, LabelDatabase, SetParameter, SetRole
from tests.unit.builders import make_properties

GRANTED = Privilege("bob", "carol", "CONNECT", True)
SLOW = Setting("", "log_min_duration_statement", "1s")
MEMORY = Setting("bob", "work_mem", "s3cret")
LABEL = SecurityLabel("selinux", "s3cret")
NAMES = (
    "privilege CONNECT to carol by bob with grant option",
    "setting log_min_duration_statement",
    "setting work_mem for role bob",
    "security label of selinux",
)
FULL = make_properties(
    privileges=frozenset([GRANTED]), settings=frozenset([SLOW, MEMORY]), security_labels=frozenset([LABEL])
)
BARE = make_properties(privileges=frozenset())


def test_what_is_lacking_is_named_without_its_value() -> None:
    assert lacking(FULL, BARE) == NAMES
    assert lacking(FULL, FULL) == ()
    assert not any("s3cret" in shown(item) for item in (MEMORY, LABEL))


def test_another_value_is_lacking_too() -> None:
    assert lacking(FULL, replace(FULL, settings=frozenset([SLOW, replace(MEMORY, value="1MB")]))) == (NAMES[2],)


def test_default_privileges_are_lacking_in_nothing() -> None:
    assert lacking(make_properties(), make_properties()) == ()


def test_what_the_live_database_still_has_is_given_from_there() -> None:
    recalled = recall(NAMES, BARE, FULL)
    assert recalled.names == NAMES
    assert recalled.unknown == ()
    assert recalled.statements("c") == (
        SetRole("bob"),
        GrantOnDatabase("c", ("CONNECT",), ("carol",), True),
        SetRole(None),
        SetParameter("c", None, "log_min_duration_statement", ("1s",)),
        SetParameter("c", "bob", "work_mem", ("s3cret",)),
        LabelDatabase("c", "selinux", "s3cret"),
    )


def test_what_somebody_gave_the_backup_since_is_not_given_again() -> None:
    recalled = recall(NAMES, replace(FULL, settings=frozenset([SLOW])), FULL)
    assert recalled.names == (NAMES[2],)
    assert recalled.statements("c") == (SetParameter("c", "bob", "work_mem", ("s3cret",)),)


def test_what_nobody_has_any_more_is_known_by_name_only() -> None:
    for live in (None, BARE):
        recalled = recall(NAMES, BARE, live)
        assert recalled.unknown == recalled.names == NAMES
        assert recalled.statements("c") == ()


def test_only_what_was_noted_comes_from_the_live_database() -> None:
    assert recall(NAMES[:1], BARE, FULL).statements("c")[1:2] == (GrantOnDatabase("c", ("CONNECT",), ("carol",), True),)
    assert recall((), BARE, FULL).statements("c") == ()
