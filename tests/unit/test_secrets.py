"""What is shown of a command's words."""

from __future__ import annotations

import pytest

from snapkit.core.secrets import ShownCommand, shown_command, shown_program, without_passwords, without_values

SECRETS = ("--secret-key", "s3cret", "-H", "Authorization: Bearer s3cret", '{"password": "s3cret"}', "-ps3cret")


def test_the_program_is_shown_and_the_number_of_its_words() -> None:
    assert shown_command(("deploy", *SECRETS), in_full=False) == ShownCommand(("deploy",), 7)
    assert str(shown_command(("./my deploy",), in_full=False)) == "./my..."


def test_all_of_it_is_shown_if_somebody_wants_it_so() -> None:
    words = ("psql", "postgres://a:s3cret@h/d", "-c", "SELECT 1")
    shown = shown_command(words, in_full=True)
    assert shown == ShownCommand(("psql", "postgres://a:...@h/d", "-c", "SELECT 1"), 4)
    assert str(shown) == "psql postgres://a:...@h/d -c 'SELECT 1'"


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("alembic", "alembic"),
        ("./bin/migrate.sh", "./bin/migrate.sh"),
        ("PGPASSWORD=s3cret", "PGPASSWORD..."),
        ("psql postgres://a:s3cret@h/d", "psql..."),
        ("postgres://a:s3cret@h/d", "postgres..."),
        ("", ""),
    ],
)
def test_what_is_shown_of_a_program(word: str, shown: str) -> None:
    assert shown_program(word) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("alembic upgrade head", "alembic upgrade head"),
        ("postgresql://app@db/app?sslmode=require", "postgresql://app@db/app?sslmode=require"),
        ("http://localhost:8080/health", "http://localhost:8080/health"),
        ("postgresql://app:s3cret@db:5432/app", "postgresql://app:...@db:5432/app"),
        ("postgresql://app:s3@cret/s3cret@db/app", "postgresql://app:...@db/app"),
        ("postgresql://:s3cret@db/app", "postgresql://:...@db/app"),
        ("psql 'postgresql://app:s3cret@db/app' -f x.sql", "psql 'postgresql://app:...@db/app' -f x.sql"),
        (
            "postgresql://db/app?user=app&password=s3cret&sslpassword=s3cret#x",
            "postgresql://db/app?user=app&password=...&sslpassword=...",
        ),
        ("https://s3cret@github.com/a/b", "https://...@github.com/a/b"),
    ],
)
def test_what_is_shown_of_a_url(text: str, shown: str) -> None:
    assert without_passwords(text) == shown


def test_values_are_left_out_and_names_are_not() -> None:
    assert without_values('value "4" of "5\n" is too large') == "value ..."
    assert without_values('invalid: "4') == "invalid: ..."
    assert without_values('new row for relation "t" violates "c"') == 'new row for relation "t" violates "c"'
