from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapkit.core.properties import (
    LIST_QUOTED,
    Difference,
    Privilege,
    Properties,
    SecurityLabel,
    Setting,
    compare,
    describe,
    split_identifiers,
    statements_to_set,
)
from snapkit.core.statements import (
    AlterDatabase,
    GrantOnDatabase,
    LabelDatabase,
    RevokeAllOnDatabase,
    SetParameter,
    SetRole,
    Statement,
)
from tests.unit.builders import make_properties, texts

REVOKES = [RevokeAllOnDatabase("c", None), RevokeAllOnDatabase("c", "alice")]


def without_limit(properties: Properties) -> list[Statement]:
    """Return the statements save the last, which sets the connection limit."""
    *statements, last = statements_to_set("c", properties)
    assert last == AlterDatabase("c", connection_limit=properties.connection_limit)
    return statements


def granting(*privileges: Privilege) -> list[Statement]:
    return without_limit(make_properties(privileges=frozenset(privileges)))


# Lists of identifiers


@pytest.mark.parametrize(
    ("stored", "values"),
    [
        ("public", ("public",)),
        ('"$user", public', ("$user", "public")),
        ('"$user",public', ("$user", "public")),
        ('"Mixed Case", "with, comma", "with ""quotes"""', ("Mixed Case", "with, comma", 'with "quotes"')),
        ('""', ("",)),
        ("", ("",)),
        ('"", public', ("", "public")),
        ("a ,b", ("a", "b")),
        ("schéma, 数据", ("schéma", "数据")),
        ('"never closed', ("never closed",)),
    ],
)
def test_a_stored_list_is_split_into_its_elements(stored: str, values: tuple[str, ...]) -> None:
    assert split_identifiers(stored) == values


@given(st.lists(texts, min_size=1, max_size=6))
def test_quoted_elements_come_back_whatever_they_hold(elements: list[str]) -> None:
    stored = ", ".join('"' + element.replace('"', '""') + '"' for element in elements)
    assert split_identifiers(stored) == tuple(elements)


@given(st.lists(texts | st.from_regex(r"[a-z_][a-z0-9_$]*", fullmatch=True), min_size=1, max_size=6), st.data())
def test_elements_are_quoted_only_where_need_be(elements: list[str], data: st.DataObject) -> None:
    plain = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_$")
    stored = ", ".join(
        element
        if element and set(element) <= plain and data.draw(st.booleans())
        else '"' + element.replace('"', '""') + '"'
        for element in elements
    )
    assert split_identifiers(stored) == tuple(elements)


@given(texts)
def test_no_stored_text_upsets_the_splitting(text: str) -> None:
    assert len(split_identifiers(text)) >= 1


# Settings, labels, the limit


@pytest.mark.parametrize("parameter", [*sorted(LIST_QUOTED), "Search_Path"])
def test_a_setting_that_is_a_list_is_written_back_element_by_element(parameter: str) -> None:
    setting = Setting("", parameter, '"$user", public')
    assert without_limit(make_properties(settings=frozenset([setting]))) == [
        SetParameter("c", None, parameter, ("$user", "public"))
    ]


@pytest.mark.parametrize("value", ["ISO, DMY", '"quoted"', "", "on", "a,b", "/var/x y"])
def test_any_other_setting_is_written_back_as_it_is(value: str) -> None:
    setting = Setting("bob", "app.tenant", value)
    assert without_limit(make_properties(settings=frozenset([setting]))) == [
        SetParameter("c", "bob", "app.tenant", (value,))
    ]


def test_settings_and_labels_come_in_a_settled_order() -> None:
    settings = frozenset([Setting("bob", "work_mem", "1MB"), Setting("", "work_mem", "2MB"), Setting("", "jit", "off")])
    labels = frozenset([SecurityLabel("selinux", "x"), SecurityLabel("anon", "y")])
    assert without_limit(make_properties(settings=settings, security_labels=labels)) == [
        SetParameter("c", None, "jit", ("off",)),
        SetParameter("c", None, "work_mem", ("2MB",)),
        SetParameter("c", "bob", "work_mem", ("1MB",)),
        LabelDatabase("c", "anon", "y"),
        LabelDatabase("c", "selinux", "x"),
    ]


@pytest.mark.parametrize("limit", [-1, 0, 5])
def test_the_connection_limit_takes_the_place_of_the_mark(limit: int) -> None:
    assert statements_to_set("c", make_properties(connection_limit=limit)) == (
        AlterDatabase("c", connection_limit=limit),
    )


# Privileges


def test_privileges_that_were_never_changed_are_left_alone() -> None:
    assert without_limit(make_properties(privileges=None)) == []


def test_an_empty_access_list_shuts_even_the_owner_out() -> None:
    assert granting() == REVOKES


def test_grants_are_gathered_by_grantee_and_grant_option() -> None:
    assert granting(
        Privilege("alice", "", "CONNECT", False),
        Privilege("alice", "alice", "CREATE", False),
        Privilege("alice", "alice", "CONNECT", False),
        Privilege("alice", "bob", "CONNECT", True),
        Privilege("alice", "bob", "TEMPORARY", False),
    ) == [
        *REVOKES,
        GrantOnDatabase("c", ("CONNECT",), None, False),
        GrantOnDatabase("c", ("CONNECT", "CREATE"), "alice", False),
        GrantOnDatabase("c", ("CONNECT",), "bob", True),
        GrantOnDatabase("c", ("TEMPORARY",), "bob", False),
    ]


def test_what_somebody_else_granted_is_granted_by_them_once_they_may() -> None:
    statements = granting(
        Privilege("bob", "carol", "CONNECT", False),
        Privilege("zoe", "bob", "CONNECT", True),
        Privilege("alice", "zoe", "CONNECT", True),
    )
    assert statements == [
        *REVOKES,
        GrantOnDatabase("c", ("CONNECT",), "zoe", True),
        SetRole("zoe"),
        GrantOnDatabase("c", ("CONNECT",), "bob", True),
        SetRole(None),
        SetRole("bob"),
        GrantOnDatabase("c", ("CONNECT",), "carol", False),
        SetRole(None),
    ]


def test_a_grantor_who_could_not_have_granted_is_tried_all_the_same() -> None:
    assert granting(Privilege("postgres", "bob", "CONNECT", False)) == [
        *REVOKES,
        SetRole("postgres"),
        GrantOnDatabase("c", ("CONNECT",), "bob", False),
        SetRole(None),
    ]


def test_the_order_of_grants_does_not_depend_on_that_of_the_catalog() -> None:
    items = [
        Privilege("alice", "bob", "CONNECT", True),
        Privilege("alice", "carol", "CONNECT", True),
        Privilege("bob", "dave", "CONNECT", False),
        Privilege("carol", "dave", "CONNECT", False),
    ]
    assert len({tuple(map(repr, granting(*order))) for order in permutations(items)}) == 1


roles = ["alice", "bob", "carol", "dave", "erin"]


@st.composite
def access_lists(draw: st.DrawFn) -> frozenset[Privilege]:
    """Grow an access list as PostgreSQL lets it grow: only who has the grant option grants."""
    able = ["alice"]
    items = set()
    for _ in range(draw(st.integers(0, 8))):
        grantor = draw(st.sampled_from(able))
        grantee = draw(st.sampled_from(["", *roles]))
        grantable = grantee not in ("", "alice") and draw(st.booleans())
        items.add(Privilege(grantor, grantee, "CONNECT", grantable))
        if grantable and grantee not in able:
            able.append(grantee)
    return frozenset(items)


@given(access_lists())
def test_replaying_the_grants_gives_the_same_access_list(privileges: frozenset[Privilege]) -> None:
    acting = "alice"
    options = {"alice"}
    replayed = set()
    for statement in granting(*privileges)[2:]:
        if isinstance(statement, SetRole):
            acting = statement.role or "alice"
            continue
        assert isinstance(statement, GrantOnDatabase)
        assert acting in options, "a grant by somebody who has no grant option yet"
        grantee = statement.grantee or ""
        if statement.with_grant_option:
            options.add(grantee)
        replayed |= {Privilege(acting, grantee, word, statement.with_grant_option) for word in statement.privileges}
    assert replayed == privileges


# Comparing and describing

FULL = make_properties(
    connection_limit=5,
    privileges=frozenset([Privilege("alice", "", "CONNECT", False), Privilege("alice", "bob", "CREATE", True)]),
    settings=frozenset([Setting("", "work_mem", "s3cret"), Setting("bob", "jit", "off")]),
    security_labels=frozenset([SecurityLabel("selinux", "s3cret")]),
)


def test_the_same_properties_do_not_differ() -> None:
    assert compare(FULL, FULL) == ()


def test_each_property_that_differs_is_named_with_both_sides() -> None:
    found = make_properties(
        owner="bob",
        connection_limit=-1,
        privileges=frozenset([Privilege("alice", "", "CONNECT", False)]),
        settings=frozenset([Setting("", "work_mem", "another"), Setting("bob", "jit", "off")]),
    )
    assert compare(FULL, found) == (
        Difference("owner", "alice", "bob"),
        Difference("connection limit", "5", "-1"),
        Difference("privileges", "CREATE to bob by alice with grant option", "nothing"),
        Difference("settings", "work_mem", "work_mem"),
        Difference("security labels", "selinux label", "nothing"),
    )


def test_privileges_that_were_never_changed_differ_from_none_at_all() -> None:
    assert compare(make_properties(), make_properties(privileges=frozenset())) == (
        Difference("privileges", "the defaults", "nothing"),
    )


def test_a_description_names_settings_without_their_values() -> None:
    described = dict(describe(FULL))
    assert described == {
        "Connection limit": "5",
        "Privileges": "CONNECT to PUBLIC by alice; CREATE to bob by alice with grant option",
        "Settings": "work_mem; jit for role bob",
        "Security labels": "selinux label",
    }
    assert "s3cret" not in repr(described)


def test_ordinary_properties_are_described_briefly() -> None:
    assert dict(describe(make_properties())) == {
        "Connection limit": "none",
        "Privileges": "the defaults",
        "Settings": "nothing",
    }
