from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapkit.core.plans.properties import (
    LIST_QUOTED,
    Difference,
    Privilege,
    Properties,
    SecurityLabel,
    Setting,
    compare,
    describe,
    explains,
    split_identifiers,
    statements_to_correct,
    statements_to_replace,
    statements_to_set,
)
from snapkit.core.plans.statements import (
    AlterDatabase,
    GrantOnDatabase,
    LabelDatabase,
    ResetParameters,
    RevokeAllOnDatabase,
    SetParameter,
    SetRole,
    Statement,
    StoreParameter,
)
from tests.unit.builders import make_properties, texts

WORDS = ("CONNECT", "CREATE", "TEMPORARY")
REVOKES = [RevokeAllOnDatabase("c", (None,)), RevokeAllOnDatabase("c", ("alice",))]


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
        ("", ()),
        (" ", ()),
        ('"", public', ("", "public")),
        ("a ,b", ("a", "b")),
        ("a,\n\tb\r\f\v", ("a", "b")),
        ('"a\tb"', ("a\tb",)),
        ("Public", ("public",)),
        ('"Public", PUBLIC', ("Public", "public")),
        ("schéma, 数据", ("schéma", "数据")),
        ('"never closed', ("never closed",)),
    ],
)
def test_a_stored_list_is_split_into_its_elements(stored: str, values: tuple[str, ...]) -> None:
    assert split_identifiers(stored) == values


@pytest.mark.parametrize("stored", ["SCHÉMA", "İX", "\u212a"])
def test_only_ascii_letters_are_folded_as_in_a_utf8_database(stored: str) -> None:
    folded = "".join(char.lower() if char.isascii() else char for char in stored)
    assert split_identifiers(stored) == (folded,)


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
    assert split_identifiers(text) or not text.strip(", \t\n\r\f\v")


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
        GrantOnDatabase("c", ("CONNECT",), (None,), False),
        GrantOnDatabase("c", ("CONNECT", "CREATE"), ("alice",), False),
        GrantOnDatabase("c", ("TEMPORARY",), ("bob",), False),
        GrantOnDatabase("c", ("CONNECT",), ("bob",), True),
    ]


def test_those_who_are_given_the_same_one_behind_another_are_given_it_by_one_statement() -> None:
    """In the order of the list, so that it is the same list afterwards."""
    places = enumerate(("zoe", "bob", "", "carol", "dave"))
    items = [Privilege("alice", role, word, role == "carol", place) for place, role in places for word in WORDS[:2]]
    assert granting(*items) == [
        *REVOKES,
        GrantOnDatabase("c", ("CONNECT", "CREATE"), ("zoe", "bob", None)),
        GrantOnDatabase("c", ("CONNECT", "CREATE"), ("carol",), True),
        GrantOnDatabase("c", ("CONNECT", "CREATE"), ("dave",)),
    ]


def test_many_who_are_given_this_and_that_in_turns_are_given_it_by_few_statements() -> None:
    items = [Privilege("alice", f"r{n:03}", WORDS[n % 2], False, n) for n in range(200)]
    _, _, one, other = granting(*items)
    assert isinstance(one, GrantOnDatabase) and isinstance(other, GrantOnDatabase)
    assert (len(one.grantees), len(other.grantees)) == (100, 100)


def test_settings_come_in_the_order_in_which_a_session_takes_them() -> None:
    settings = [Setting("", "work_mem", "1MB", 2), Setting("", "app.zone", "x", 1), Setting("bob", "jit", "off", 1)]
    statements = without_limit(make_properties(settings=frozenset(settings)))
    assert [s.parameter for s in statements if isinstance(s, SetParameter)] == ["app.zone", "work_mem", "jit"]


class Enumerated(frozenset[Privilege]):
    """A set whose iteration order is the test's, as hash randomisation makes it each run's."""

    order: tuple[Privilege, ...]

    def __iter__(self) -> Iterator[Privilege]:
        return iter(self.order)


def enumerated(*order: Privilege) -> Enumerated:
    privileges = Enumerated(order)
    privileges.order = order
    return privileges


def test_the_privileges_of_one_grant_come_in_a_settled_order() -> None:
    items = [Privilege("alice", "bob", word, False) for word in ("CONNECT", "CREATE", "TEMPORARY")]
    for order in permutations(items):
        assert without_limit(make_properties(privileges=enumerated(*order))) == [
            *REVOKES,
            GrantOnDatabase("c", ("CONNECT", "CREATE", "TEMPORARY"), ("bob",), False),
        ]


def test_a_grant_waits_for_the_option_for_that_very_privilege() -> None:
    """An option for one privilege is none for another."""
    assert granting(
        Privilege("alice", "bob", "CONNECT", True),
        Privilege("alice", "zoe", "CREATE", True),
        Privilege("bob", "carol", "CREATE", False),
        Privilege("zoe", "bob", "CREATE", True),
    ) == [
        *REVOKES,
        GrantOnDatabase("c", ("CONNECT",), ("bob",), True),
        GrantOnDatabase("c", ("CREATE",), ("zoe",), True),
        SetRole("zoe"),
        GrantOnDatabase("c", ("CREATE",), ("bob",), True),
        SetRole(None),
        SetRole("bob"),
        GrantOnDatabase("c", ("CREATE",), ("carol",), False),
        SetRole(None),
    ]


def test_one_statement_grants_all_that_one_grantor_gives_alike() -> None:
    statements = granting(*(Privilege("alice", role, word, role == "bob") for role in ("", "bob") for word in WORDS))
    grants = [
        (*s.grantees, s.with_grant_option, set(s.privileges)) for s in statements if isinstance(s, GrantOnDatabase)
    ]
    assert grants == [(None, False, set(WORDS)), ("bob", True, set(WORDS))]


def test_one_grantors_grants_are_split_where_only_some_may_be_given_yet() -> None:
    statements = granting(
        Privilege("alice", "bob", "CONNECT", True),
        Privilege("bob", "carol", "CONNECT", True),
        Privilege("carol", "dave", "CONNECT", True),
        Privilege("dave", "erin", "CONNECT", False),
        Privilege("dave", "erin", "CREATE", False),
        Privilege("alice", "dave", "CREATE", True),
    )
    grants = [(*s.grantees, s.privileges) for s in statements if isinstance(s, GrantOnDatabase)]
    assert grants.index(("erin", ("CREATE",))) < grants.index(("dave", ("CONNECT",)))
    assert grants[-1] == ("erin", ("CONNECT",))


def test_what_somebody_else_granted_is_granted_by_them_once_they_may() -> None:
    statements = granting(
        Privilege("bob", "carol", "CONNECT", False),
        Privilege("zoe", "bob", "CONNECT", True),
        Privilege("alice", "zoe", "CONNECT", True),
    )
    assert statements == [
        *REVOKES,
        GrantOnDatabase("c", ("CONNECT",), ("zoe",), True),
        SetRole("zoe"),
        GrantOnDatabase("c", ("CONNECT",), ("bob",), True),
        SetRole(None),
        SetRole("bob"),
        GrantOnDatabase("c", ("CONNECT",), ("carol",), False),
        SetRole(None),
    ]


def test_a_grantor_who_could_not_have_granted_is_tried_all_the_same() -> None:
    assert granting(Privilege("postgres", "bob", "CONNECT", False)) == [
        *REVOKES,
        SetRole("postgres"),
        GrantOnDatabase("c", ("CONNECT",), ("bob",), False),
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


ROLES = ("bob", "carol", "dave", "erin")


@st.composite
def access_lists(draw: st.DrawFn) -> frozenset[Privilege]:
    """Grow an access list as PostgreSQL lets it grow: only who has the grant option for a privilege grants it.

    Options are handed down in the order of the roles, since PostgreSQL allows no circles.
    """
    able = {word: ["alice"] for word in WORDS}
    items: dict[tuple[str, str, str], bool] = {}
    for _ in range(draw(st.integers(0, 10))):
        word = draw(st.sampled_from(WORDS))
        grantor = draw(st.sampled_from(able[word]))
        grantee = draw(st.sampled_from(["", "alice", *ROLES]))
        later = grantor == "alice" or (grantee in ROLES and ROLES.index(grantee) > ROLES.index(grantor))
        grantable = grantee in ROLES and later and draw(st.booleans())
        key = (grantor, grantee, word)
        items[key] = items.get(key, False) or grantable
        if grantable and grantee not in able[word]:
            able[word].append(grantee)
    return frozenset(Privilege(*key, grantable) for key, grantable in items.items())


class AccessList:
    """What PostgreSQL makes of GRANT and REVOKE on a database that alice owns and is the session's role."""

    def __init__(self, items: frozenset[Privilege]) -> None:
        self.items = set(items)
        self.acting = "alice"

    def has_option(self, role: str, word: str) -> bool:
        return role == "alice" or any(i.grantee == role and i.privilege == word and i.grantable for i in self.items)

    def run(self, *statements: Statement) -> None:
        for statement in statements:
            match statement:
                case SetRole(role):
                    self.acting = role or "alice"
                case GrantOnDatabase(_, privileges, grantees, option):
                    for word, grantee in product(privileges, grantees):
                        assert self.has_option(self.acting, word), "a grant by somebody who has no grant option yet"
                        granted = Privilege(self.acting, grantee or "", word, option)
                        opposite = replace(granted, grantable=not option)
                        if opposite in self.items:
                            self.items.discard(opposite)
                            granted = replace(granted, grantable=True)
                        self.items.add(granted)
                case RevokeAllOnDatabase(_, grantees):
                    lost = {(self.acting, grantee or "") for grantee in grantees}
                    self.items = {i for i in self.items if (i.grantor, i.grantee) not in lost}
                    self.cascade()

    def cascade(self) -> None:
        while stale := {i for i in self.items if not self.has_option(i.grantor, i.privilege)}:
            self.items -= stale


@given(access_lists())
def test_replaying_the_grants_gives_the_same_access_list(privileges: frozenset[Privilege]) -> None:
    access = AccessList(defaults_of("alice"))
    access.run(*granting(*privileges))
    assert access.items == privileges
    assert access.acting == "alice"


@given(access_lists())
def test_nobody_acts_for_longer_than_their_own_grant(privileges: frozenset[Privilege]) -> None:
    statements = granting(*privileges)
    for before, statement, after in zip(statements, statements[1:], statements[2:], strict=False):
        if isinstance(before, SetRole) and before.role is not None:
            assert isinstance(statement, GrantOnDatabase)
            assert after == SetRole(None)


# A database that has properties of its own


def defaults_of(owner: str) -> frozenset[Privilege]:
    """``acldefault('d', owner)``: everybody may connect and make temporary tables, the owner may do everything."""
    return frozenset(
        [
            Privilege(owner, "", "CONNECT", False),
            Privilege(owner, "", "TEMPORARY", False),
            Privilege(owner, owner, "CONNECT", False),
            Privilege(owner, owner, "CREATE", False),
            Privilege(owner, owner, "TEMPORARY", False),
        ]
    )


def replacing(present: Properties, wanted: Properties) -> list[Statement]:
    *statements, last = statements_to_replace("c", present, wanted)
    assert last == AlterDatabase("c", connection_limit=wanted.connection_limit)
    return statements


def test_where_neither_has_properties_of_its_own_only_the_limit_is_set() -> None:
    assert replacing(make_properties(connection_limit=3), make_properties()) == []


def test_privileges_of_ones_own_are_taken_away_before_anothers_are_given() -> None:
    present = make_properties(
        privileges=frozenset(
            [
                Privilege("alice", "", "CONNECT", False),
                Privilege("alice", "alice", "CREATE", False),
                Privilege("alice", "mallory", "CONNECT", True),
                Privilege("mallory", "eve", "CONNECT", False),
            ]
        )
    )
    wanted = make_properties(privileges=frozenset([Privilege("alice", "bob", "CONNECT", False)]))
    assert replacing(present, wanted) == [
        RevokeAllOnDatabase("c", ("eve", "mallory")),
        *REVOKES,
        GrantOnDatabase("c", ("CONNECT",), ("bob",), False),
    ]


def test_privileges_of_ones_own_give_way_to_the_defaults_written_out() -> None:
    present = make_properties(privileges=frozenset([Privilege("alice", "mallory", "CONNECT", False)]))
    assert replacing(present, make_properties()) == [
        RevokeAllOnDatabase("c", ("mallory",)),
        *REVOKES,
        GrantOnDatabase("c", ("CONNECT", "TEMPORARY"), (None,), False),
        GrantOnDatabase("c", ("CONNECT", "CREATE", "TEMPORARY"), ("alice",), False),
    ]


def test_settings_of_ones_own_are_reset_role_by_role_before_anothers_are_set() -> None:
    present = make_properties(
        settings=frozenset(
            [Setting("", "work_mem", "9MB"), Setting("", "jit", "off"), Setting("zoe", "jit", "on")],
        )
    )
    wanted = make_properties(settings=frozenset([Setting("", "jit", "on"), Setting("bob", "jit", "off")]))
    assert replacing(present, wanted) == [
        ResetParameters("c", None),
        ResetParameters("c", "zoe"),
        SetParameter("c", None, "jit", ("on",)),
        SetParameter("c", "bob", "jit", ("off",)),
    ]


@given(st.none() | access_lists(), st.none() | access_lists())
def test_replacing_gives_the_wanted_access_list_whatever_was_there(
    present: frozenset[Privilege] | None, wanted: frozenset[Privilege] | None
) -> None:
    access = AccessList(defaults_of("alice") if present is None else present)
    access.run(*replacing(make_properties(privileges=present), make_properties(privileges=wanted)))
    assert not compare(make_properties(privileges=wanted), make_properties(privileges=frozenset(access.items)))


settings_of_databases = st.dictionaries(
    st.tuples(st.sampled_from(["", "bob", "zoe"]), st.sampled_from(["jit", "work_mem"])),
    st.sampled_from(["one", "two"]),
).map(lambda values: frozenset(Setting(*key, value) for key, value in values.items()))


@given(settings_of_databases, settings_of_databases)
def test_replacing_gives_the_wanted_settings_whatever_was_there(
    present: frozenset[Setting], wanted: frozenset[Setting]
) -> None:
    values = {(each.role, each.parameter): each.value for each in present}
    for statement in replacing(make_properties(settings=present), make_properties(settings=wanted)):
        if isinstance(statement, ResetParameters):
            values = {key: value for key, value in values.items() if key[0] != (statement.role or "")}
        if isinstance(statement, SetParameter):
            (values[statement.role or "", statement.parameter],) = statement.values
    assert frozenset(Setting(*key, value) for key, value in values.items()) == wanted


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
        Difference("connection_limit", "5", "-1"),
        Difference("privileges", "CREATE to bob by alice with grant option", "nothing"),
        Difference("settings", "work_mem", "work_mem"),
        Difference("security_labels", "selinux label", "nothing"),
    )


def test_a_property_is_named_as_the_value_names_it() -> None:
    """``explains`` goes by these names."""
    names = [difference.name for difference in compare(FULL, make_properties(owner="bob"))]
    assert names == list(Properties.__dataclass_fields__)


def test_the_defaults_are_what_they_mean_for_the_owner() -> None:
    untouched = make_properties()
    assert compare(untouched, make_properties(privileges=defaults_of("alice"))) == ()
    assert compare(make_properties(privileges=defaults_of("alice")), untouched) == ()
    assert [each.name for each in compare(untouched, make_properties(privileges=defaults_of("bob")))] == ["privileges"]


def test_privileges_that_were_never_changed_differ_from_none_at_all() -> None:
    (difference,) = compare(make_properties(), make_properties(privileges=frozenset()))
    assert difference == Difference(
        "privileges",
        "CONNECT to PUBLIC by alice; TEMPORARY to PUBLIC by alice; "
        "CONNECT to alice by alice; CREATE to alice by alice; TEMPORARY to alice by alice",
        "nothing",
    )


@pytest.mark.parametrize("stored", ['"$user",public', '"public"', "Public", "a,\n\tb", "", '"', "a,,b"])
def test_a_list_that_is_stored_in_a_form_of_its_own_is_stored_as_that_text(stored: str) -> None:
    setting = Setting("bob", "search_path", stored)
    assert without_limit(make_properties(settings=frozenset([setting]))) == [
        StoreParameter("c", "bob", "search_path", stored)
    ]


def test_a_keyword_without_quotes_is_stored_as_text_when_it_did_not_come_back_as_it_was() -> None:
    wanted = make_properties(settings=frozenset([Setting("", "search_path", "user"), Setting("", "jit", "on")]))
    found = make_properties(settings=frozenset([Setting("", "search_path", '"user"'), Setting("", "jit", "off")]))
    assert statements_to_correct("c", wanted, found) == (StoreParameter("c", None, "search_path", "user"),)
    assert statements_to_correct("c", wanted, wanted) == ()
    assert statements_to_correct("c", wanted, make_properties()) == ()


@pytest.mark.parametrize(
    ("parameter", "one", "other"),
    [
        ("search_path", "a, b", "b, a"),
        ("search_path", "", '""'),
        ("search_path", '"$user", public', '"$user",public'),
        ("search_path", '"a, b"', "a, b"),
        ("search_path", '"Public"', "public"),
        ("app.list", "a, b", "a,b"),
        ("app.word", "Public", "public"),
    ],
)
def test_settings_that_mean_something_else_differ(parameter: str, one: str, other: str) -> None:
    wanted, found = (make_properties(settings=frozenset([Setting("", parameter, value)])) for value in (one, other))
    assert compare(wanted, found) == (Difference("settings", parameter, parameter),)


# Opening to others


CONNECT = Privilege("alice", "bob", "CONNECT", False)


@pytest.mark.parametrize(
    ("wanted", "found", "widens"),
    [
        (frozenset([CONNECT]), frozenset(), False),
        (frozenset(), frozenset([CONNECT]), True),
        (frozenset([CONNECT]), frozenset([replace(CONNECT, grantee="eve")]), True),
        (frozenset([CONNECT]), frozenset([CONNECT, replace(CONNECT, privilege="CREATE")]), True),
        (frozenset([CONNECT]), frozenset([replace(CONNECT, grantable=True)]), True),
        (frozenset([CONNECT]), None, True),
        (frozenset(), None, True),
        (None, frozenset([CONNECT]), True),
        (None, frozenset(), False),
        (frozenset([*defaults_of("alice"), CONNECT]), None, False),
    ],
)
def test_a_difference_tells_whether_somebody_has_too_much(
    wanted: frozenset[Privilege] | None, found: frozenset[Privilege] | None, widens: bool
) -> None:
    (difference,) = compare(make_properties(privileges=wanted), make_properties(privileges=found))
    assert difference.name == "privileges"
    assert difference.widens is widens


def test_only_privileges_widen() -> None:
    differences = compare(make_properties(privileges=frozenset()), replace(FULL, owner="zoe"))
    assert {each.name for each in differences if each.widens} == {"privileges"}
    assert len(differences) == 5


SET = SetParameter("c", None, "jit", ("off",))
LABEL = LabelDatabase("c", "selinux", "x")
GRANT = GrantOnDatabase("c", ("CONNECT",), ("bob",))


@pytest.mark.parametrize(
    ("refused", "name", "widens", "explained"),
    [
        (SET, "settings", False, True),
        (SET, "privileges", False, False),
        (SET, "security_labels", False, False),
        (LABEL, "security_labels", False, True),
        (LABEL, "settings", False, False),
        (GRANT, "privileges", False, True),
        (GRANT, "privileges", True, False),
        (GRANT, "settings", False, False),
        (SetRole("bob"), "privileges", False, False),
        (RevokeAllOnDatabase("c", (None,)), "privileges", False, False),
        (RevokeAllOnDatabase("c", (None,)), "privileges", True, False),
        (AlterDatabase("c", connection_limit=5), "connection_limit", False, False),
        (SET, "owner", False, False),
    ],
)
def test_a_refused_statement_accounts_only_for_what_it_would_have_set(
    refused: Statement, name: str, widens: bool, explained: bool
) -> None:
    assert explains(refused, Difference(name, "x", "y", widens)) is explained


def test_a_description_names_settings_without_their_values() -> None:
    described = dict(describe(FULL))
    assert described == {
        "Connection limit": "5",
        "Privileges": "PUBLIC: CONNECT; bob: CREATE (may grant it)",
        "Settings": "work_mem; jit for role bob",
        "Security labels": "selinux label",
    }
    assert "s3cret" not in repr(described)


def test_ordinary_properties_are_described_briefly() -> None:
    assert dict(describe(make_properties())) == {
        "Connection limit": "none",
        "Privileges": "the defaults",
        "Settings": "none",
    }
