"""What is wrong with a URL at first sight. What libpq says of the others is in test_conninfo."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict

from snapkit.core.connection.connection_url import (
    UrlParts,
    check_connection,
    split_url,
    with_database,
    without_password,
)
from snapkit.errors import UsageError


@pytest.mark.parametrize(
    ("url", "place", "query"),
    [
        ("postgresql://u:p@h:5432/app", "u:p@h:5432/app", ""),
        ("postgres://h/app?sslmode=require", "h/app", "sslmode=require"),
        ("postgis+asyncpg:///app?host=/tmp", "/app", "host=/tmp"),
        ("postgresql://u:a?b@h/app?x=1", "u:a?b@h/app", "x=1"),
    ],
)
def test_a_url_is_taken_apart(url: str, place: str, query: str) -> None:
    assert split_url(url) == UrlParts(place, query)


@pytest.mark.parametrize(
    "url", ["mysql://h/app", "app", "postgresql://u:p@ss@h/app", "postgresql://u:100%@h/app", "postgresql://h/a%00"]
)
def test_what_is_malformed_at_first_sight(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_connection(url, {})
    assert url not in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize(
    "url", ["postgresql://", "postgresql://h", "postgresql://u:p@h/", "postgres://h?sslmode=require"]
)
def test_a_url_that_cannot_name_a_database(url: str) -> None:
    with pytest.raises(UsageError, match="names no database"):
        check_connection(url, {"PGDATABASE": "app"})


@pytest.mark.parametrize(
    "url", ["postgresql:///app", "postgresql://h?dbname=app", "postgres://?service=s", "postgres://h?db%6eame=app"]
)
def test_a_url_that_may_name_one(url: str) -> None:
    check_connection(url, {})


def test_without_a_url_libpqs_variables_have_to_name_it() -> None:
    check_connection(None, {"PGDATABASE": "app"})
    check_connection(None, {"PGSERVICE": "app"})
    with pytest.raises(UsageError, match="Neither a URL nor PGDATABASE"):
        check_connection(None, {"PGDATABASE": "", "PGHOST": "h"})


@given(st.text("ab:@/?%=&[]4\u00e9", max_size=20))
def test_nothing_is_refused_that_libpq_takes(rest: str) -> None:
    """Of what holds more than one "@" libpq has an opinion, and no user means it; that is refused on purpose."""
    url = "postgresql://" + rest
    try:
        split_url(url)
    except UsageError:
        if rest.count("@") <= 1 and "/" not in rest.partition("@")[0]:
            with pytest.raises(Exception):  # noqa: B017 - psycopg's own, or one of encoding
                conninfo_to_dict(url)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://u:p%40@h:1/app", "postgresql://u:p%40@h:1/a%22%20%2Fb"),
        ("postgresql+asyncpg://h/app?ssl=true&dbname=app&x=1", "postgresql+asyncpg://h/a%22%20%2Fb?ssl=true&x=1"),
        ("postgres:///app?host=/run", "postgres:///a%22%20%2Fb?host=/run"),
        ("postgres://u@h?%64bname=app", "postgres://u@h/a%22%20%2Fb"),
        ("postgis://u@[::1]:5,h/a@b", "postgis://u@[::1]:5,h/a%22%20%2Fb"),
    ],
)
def test_another_database_and_all_else_as_it_is(url: str, expected: str) -> None:
    assert with_database(url, 'a" /b') == expected


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:s3cret@h:5432/app", "postgresql://u:...@h:5432/app"),
        ("postgresql://u:s3cret@h/my@db", "postgresql://u:...@h/my@db"),
        ("postgresql://h:5432/my@db", "postgresql://h:5432/my@db"),
        ("postgresql://u:s3cret@h/app?application_name=a@b", "postgresql://u:...@h/app?application_name=a@b"),
        ("postgresql://u@h/app?password=s3cret&sslmode=require", "postgresql://u@h/app?sslmode=require"),
        ("postgresql://u@h/app?sslpassword=s3cret", "postgresql://u@h/app"),
    ],
)
def test_a_url_without_its_password_is_the_same_otherwise(url: str, shown: str) -> None:
    assert without_password(url) == shown
