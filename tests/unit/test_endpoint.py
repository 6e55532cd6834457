"""What names the connection, what else does, and how that is told."""

from __future__ import annotations

import pytest

from snapkit.core.connection.endpoint import Endpoint, endpoint_of, is_another
from snapkit.settings.url_choice import choose_connection

SHOP = "postgresql://app:s3cret@db.example:5433/shop"


@pytest.mark.parametrize(
    ("url", "variables", "expected"),
    [
        (SHOP, {}, Endpoint("db.example", "5433", "shop", "app")),
        ("postgresql://db/shop", {"PGUSER": "me", "PGPORT": "6000"}, Endpoint("db", "6000", "shop", "me")),
        ("postgresql:///shop?host=/run/pg&port=1", {}, Endpoint("/run/pg", "1", "shop", None)),
        ("postgresql://u@[::1]:5432/s%20hop", {}, Endpoint("::1", "5432", "s hop", "u")),
        ("postgresql://a,b:1/shop", {}, Endpoint("a,b", ",1", "shop", None)),
        ("postgresql://h/?dbname=shop&user=u", {"PGDATABASE": "other"}, Endpoint("h", None, "shop", "u")),
        ("postgresql://h", {"PGDATABASE": "other"}, Endpoint("h", None, None, None)),
        (None, {"PGDATABASE": "shop", "PGHOSTADDR": "10.0.0.1"}, Endpoint("10.0.0.1", None, "shop", None)),
        (None, {"PGSERVICE": "shop", "PGDATABASE": "shop"}, None),
        ("postgresql:///?service=shop", {}, None),
        ("mysql://h/shop", {}, None),
    ],
)
def test_what_is_named(url: str | None, variables: dict[str, str], expected: Endpoint | None) -> None:
    assert endpoint_of(url, variables) == expected


@pytest.mark.parametrize("password", ["s3cret/?", "s3cret?/", "12/s3cret?", "12/?s3cret", "12/?s3cret=", "x/s3cret,?"])
def test_nothing_is_told_of_a_password_that_is_not_percent_encoded(password: str) -> None:
    assert endpoint_of(f"postgresql://app:{password}@db/shop", {}) is None
    choice = choose_connection(
        None, None, {"DATABASE_URL": f"postgresql://app:{password}@db/shop"}, {"PGDATABASE": "x"}
    )
    assert (choice.cautions, choice.whereabouts().host, choice.whereabouts().database) == ((), None, None)


@pytest.mark.parametrize(
    ("one", "other", "another"),
    [
        ("postgresql://localhost/shop", "postgres://127.0.0.1:5432/shop", False),
        ("postgresql:///shop", "postgres://[::1]/shop", False),
        ("postgresql://a,b:1/shop", "postgresql://a:5432,b:1/shop", False),
        ("postgresql://DB/shop", "postgresql://db/shop", False),
        ("postgresql://db/shop", "postgresql://db:5433/shop", True),
        ("postgresql://db/shop", "postgresql://db2/shop", True),
        ("postgresql://db/shop", "postgresql://db/shop2", True),
        ("postgresql://db/shop", "postgresql://db2", False),
        ("postgresql://db/shop", "nonsense", False),
    ],
)
def test_whether_it_is_another(one: str, other: str, another: bool) -> None:
    ends = endpoint_of(one, {}), endpoint_of(other, {})
    assert is_another(*ends, by_database_only=False) is another
    assert is_another(*reversed(ends), by_database_only=False) is another


def test_of_a_pooler_the_host_is_another_anyway() -> None:
    ends = endpoint_of("postgresql://db/shop", {}), endpoint_of("postgresql://pool:6432/shop", {})
    assert not is_another(*ends, by_database_only=True)


@pytest.mark.parametrize(
    ("flags", "environment", "dotenv", "named_by"),
    [
        (("", SHOP), {}, {}, "--url"),
        ((SHOP, ""), {"DATABASE_URL": SHOP}, {}, "--direct-url"),
        (("", ""), {"DATABASE_URL": SHOP}, {"DATABASE_URL": SHOP}, "DATABASE_URL"),
        (("", ""), {}, {"DIRECT_URL": SHOP}, ".env DIRECT_URL"),
        (("", ""), {"PGDATABASE": "shop"}, {}, "libpq"),
        (("", ""), {}, {"PGDATABASE": "shop"}, "libpq"),
    ],
)
def test_what_names_it(
    flags: tuple[str, str], environment: dict[str, str], dotenv: dict[str, str], named_by: str
) -> None:
    choice = choose_connection(*flags, environment, dotenv)
    assert (choice.named_by, choice.cautions) == (named_by, ())
    assert choice.names_something
    assert choice.whereabouts().database == "shop"


OTHER = "postgresql://app:s3cret@staging/shop"
THIRD = "postgresql://app:s3cret@db.example:5433/third"


@pytest.mark.parametrize(
    ("flags", "environment", "dotenv", "said"),
    [
        (("", SHOP), {}, {"DATABASE_URL": OTHER}, "--url names shop at db.example:5433"),
        (("", ""), {"DATABASE_URL": SHOP}, {"DATABASE_URL": OTHER}, ".env (DATABASE_URL) names shop at staging:5432"),
        (("", ""), {"DATABASE_URL": SHOP}, {"PGHOST": "x", "PGDATABASE": "y"}, ".env (PG variables) names y at x:5432"),
        (("", ""), {"PGDATABASE": "y"}, {"DATABASE_URL": OTHER}, "libpq's variables name y at localhost:5432"),
        (("", ""), {"DIRECT_URL": SHOP, "DATABASE_URL": THIRD}, {}, "DATABASE_URL names third at db.example:5433"),
        (("", ""), {}, {"DIRECT_URL": SHOP, "DATABASE_URL": THIRD}, "DIRECT_URL names shop at db.example:5433"),
        (("", ""), {"DIRECT_URL": SHOP}, {"DATABASE_URL": THIRD}, ".env (DATABASE_URL) names third"),
    ],
)
def test_two_databases_are_warned_of(
    flags: tuple[str, str], environment: dict[str, str], dotenv: dict[str, str], said: str
) -> None:
    (caution,) = choose_connection(*flags, environment, dotenv).cautions
    assert caution.code == "two_databases"
    assert said in caution.message
    assert "s3cret" not in caution.message


@pytest.mark.parametrize(
    ("flags", "environment", "dotenv"),
    [
        (("", ""), {"DIRECT_URL": SHOP, "DATABASE_URL": OTHER}, {}),
        (("", ""), {"DIRECT_URL": SHOP}, {"DATABASE_URL": OTHER}),
        (("", ""), {"SNAPKIT_DATABASE_URL": SHOP, "DIRECT_URL": SHOP, "DATABASE_URL": THIRD}, {}),
        (("", SHOP), {"DATABASE_URL": OTHER}, {}),
        (("", SHOP), {}, {"PGHOST": "elsewhere"}),
        (("", SHOP), {}, {"SNAPKIT_KEEP": "2"}),
    ],
)
def test_one_database_by_two_ways_is_no_cause_for_a_warning(
    flags: tuple[str, str], environment: dict[str, str], dotenv: dict[str, str]
) -> None:
    assert choose_connection(*flags, environment, dotenv).cautions == ()


def test_nothing_is_named() -> None:
    assert not choose_connection(None, None, {}, {}).names_something
    assert choose_connection(None, None, {"PGSERVICE": "x"}, {}).names_something


def test_it_is_said_in_a_line() -> None:
    choice = choose_connection(None, SHOP, {}, {})
    assert str(choice.whereabouts()) == "db.example:5433, database shop, as app (--url)"
    assert str(choose_connection(None, "postgresql://a,b:1/shop", {}, {}).whereabouts()) == "a,b, database shop (--url)"
