"""What is shown of a command's words."""

from __future__ import annotations

import pytest

from snapkit.core.secrets import cut_secrets, without_secrets


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("alembic upgrade head", "alembic upgrade head"),
        ("postgresql://app@db/app?sslmode=require", "postgresql://app@db/app?sslmode=require"),
        ("x --password s3cret --token 's3 cret' y", "x --password ... --token ... y"),
        ('x "--password=s3 cret" y', 'x "--password=..." y'),
        ("psql --no-password -c 1", "psql --no-password -c 1"),
        ("http://localhost:8080/health", "http://localhost:8080/health"),
        ("postgresql://app:s3cret@db:5432/app", "postgresql://app:...@db:5432/app"),
        ("postgresql://app:s3@cret/s3cret@db/app", "postgresql://app:...@db/app"),
        ("postgresql://:s3cret@db/app", "postgresql://:...@db/app"),
        ("psql 'postgresql://app:s3cret@db/app' -f x.sql", "psql 'postgresql://app:...@db/app' -f x.sql"),
        (
            "postgresql://db/app?user=app&password=s3cret&sslmode=require",
            "postgresql://db/app?user=app&password=...&sslmode=require",
        ),
        ("https://s3cret@github.com/a/b", "https://...@github.com/a/b"),
        ("https://x.example/health?token=s3cret", "https://x.example/health?token=..."),
        ("host=db password=s3cret user=app", "host=db password=... user=app"),
        ("host=db password = 's3 c\\'ret' user=app", "host=db password = ... user=app"),
        ("sslpassword=s3cret", "sslpassword=..."),
        ("PGPASSWORD=s3cret psql", "PGPASSWORD=... psql"),
        ('PGPASSWORD="s3 cret" psql', "PGPASSWORD=... psql"),
        ("--password=s3cret", "--password=..."),
        ("ALTER ROLE app PASSWORD 's3''cret' LOGIN", "ALTER ROLE app PASSWORD ... LOGIN"),
        ("API_KEY=s3cret ./deploy", "API_KEY=... ./deploy"),
    ],
)
def test_what_is_shown_of_a_text(text: str, shown: str) -> None:
    assert cut_secrets(text) == shown


def test_what_is_shown_of_words() -> None:
    assert without_secrets(["flyway", "--password", "s3cret", "migrate"]) == ("flyway", "--password", "...", "migrate")
    assert without_secrets(["psql", "--password", "-f", "x.sql"]) == ("psql", "--password", "-f", "x.sql")
    assert without_secrets(["psql", "postgres://a:s3cret@h/d"]) == ("psql", "postgres://a:...@h/d")
