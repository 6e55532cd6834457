"""What libpq and the server say of a refused connection, and what is made of it."""

from __future__ import annotations

import pytest

from snapkit.core.connection.login_refusals import Attempt, Refusal, explained, refusal_of

AT = 'connection failed: connection to server at "127.0.0.1", port 5432 failed: '
FATAL = AT + "FATAL:  "
SOCKET = 'connection is bad: connection to server on socket "/run/postgresql/.s.PGSQL.5432" failed: '


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        (FATAL + "sorry, too many clients already", Refusal.SLOTS),
        (
            FATAL + "remaining connection slots are reserved for non-replication superuser connections",
            Refusal.RESERVED_SLOTS,
        ),
        (
            FATAL + "remaining connection slots are reserved for roles with the SUPERUSER attribute",
            Refusal.RESERVED_SLOTS,
        ),
        (FATAL + 'too many connections for role "app"', Refusal.ROLE_LIMIT),
        (FATAL + 'too many connections for database "shop"', Refusal.DATABASE_LIMIT),
        (FATAL + "the database system is starting up", Refusal.STARTING),
        (FATAL + "the database system is shutting down", Refusal.STOPPING),
        (FATAL + "the database system is in recovery mode", Refusal.RECOVERING),
        (
            FATAL + "the database system is not yet accepting connections\nDETAIL:  Consistent recovery state has ...",
            Refusal.NOT_YET,
        ),
        (
            FATAL + "the database system is not accepting connections\nDETAIL:  Hot standby mode is disabled.",
            Refusal.NOT_YET,
        ),
        (AT + "fe_sendauth: no password supplied", Refusal.NO_PASSWORD),
        (FATAL + 'password authentication failed for user "app"', Refusal.WRONG_PASSWORD),
        (
            FATAL + 'password authentication failed for user "app"\n' + AT.removeprefix("connection failed: ")
            + 'FATAL:  no pg_hba.conf entry for host "127.0.0.1", user "app", database "shop", no encryption',
            Refusal.WRONG_PASSWORD,
        ),
        (FATAL + 'Peer authentication failed for user "app"', Refusal.LOGIN),
        (FATAL + 'role "app" does not exist', Refusal.NO_ROLE),
        (FATAL + 'role "app" is not permitted to log in', Refusal.MAY_NOT_LOG_IN),
        (FATAL + 'database "shop" does not exist', Refusal.NO_DATABASE),
        (
            FATAL + 'database "shop" does not exist\nDETAIL:  It seems to have just been dropped or renamed.',
            Refusal.NO_DATABASE,
        ),
        (FATAL + 'database "role "x" does not exist" does not exist', Refusal.NO_DATABASE),
        (FATAL + "permission denied for database \"shop\"\nDETAIL:  User does not have CONNECT privilege.",
         Refusal.NO_CONNECT),
        (FATAL + 'database "shop" is not currently accepting connections', Refusal.CLOSED_DATABASE),
        (FATAL + 'cannot connect to invalid database "shop"', Refusal.INVALID_DATABASE),
        (AT + "server does not support SSL, but SSL was required", Refusal.NO_SSL),
        (AT + "SSL error: certificate verify failed", Refusal.CERTIFICATE),
        (AT + 'root certificate file "/ca.pem" does not exist', Refusal.CERTIFICATE),
        ("failed to resolve host 'db': [Errno -2] Name or service not known", Refusal.HOST_UNKNOWN),
        (AT + "Connection refused\n\tIs the server running on that host and accepting ...?", Refusal.PORT_CLOSED),
        (SOCKET + "No such file or directory\n\tIs the server running locally ...?", Refusal.NO_SOCKET),
        (
            SOCKET + "Connection refused\n\tIs the server running locally and accepting connections on that socket?",
            Refusal.NO_SOCKET,
        ),
        (SOCKET + "Permission denied\n\tIs the server running locally and accepting connections on that socket?",
         Refusal.SHUT_SOCKET),
        (AT + "No route to host\n\tIs the server ...?", Refusal.UNREACHABLE),
        (AT + "timeout expired", Refusal.TIMEOUT),
        ("connection timeout expired", Refusal.TIMEOUT),
        (AT + "received invalid response to SSL negotiation: H", Refusal.NOT_POSTGRESQL),
        (
            FATAL + 'no pg_hba.conf entry for host "10.1.1.1", user "app", database "shop", no encryption',
            Refusal.HBA,
        ),
        (FATAL + 'pg_hba.conf rejects connection for host "10.1.1.1", user "app"', Refusal.HBA),
        (AT + "server closed the connection unexpectedly\n\tThis probably means ...", Refusal.HUNG_UP),
        (AT + "FATAL:  server login has been failing, try again later (server_login_retry)", Refusal.UNKNOWN),
        ("", Refusal.UNKNOWN),
    ],
)  # fmt: skip
def test_the_text_tells(text: str, refusal: Refusal) -> None:
    found, said = refusal_of(text)
    assert found is refusal
    assert "failed: " not in said
    assert "FATAL" not in said
    assert "Is the server" not in said


def test_of_several_hosts_the_one_that_said_most_is_told_of() -> None:
    several = (
        f"{AT}Connection refused\n\tIs the server running ...?\n"
        "Multiple connection attempts failed. All failures were:\n"
        f"- host: 'a', port: '5432', hostaddr: '10.0.0.1': {FATAL}database \"shop\" does not exist\n"
        f"- host: 'b', port: '5432', hostaddr: '10.0.0.2': {AT}Connection refused\n\tIs the server running ...?"
    )
    assert refusal_of(several) == (Refusal.NO_DATABASE, 'database "shop" does not exist')


GERMAN = AT + "FATAL:  Datenbank »shop« existiert nicht"


@pytest.mark.parametrize(
    ("sqlstate", "refusal"),
    [
        ("3D000", Refusal.NO_DATABASE),
        ("53300", Refusal.SOME_LIMIT),
        ("57P03", Refusal.NOT_YET),
        ("28P01", Refusal.WRONG_PASSWORD),
        ("42501", Refusal.NO_CONNECT),
        ("XX000", Refusal.UNKNOWN),
        (None, Refusal.UNKNOWN),
    ],
)
def test_in_another_language_the_sqlstate_tells(sqlstate: str | None, refusal: Refusal) -> None:
    assert refusal_of(GERMAN, sqlstate) == (refusal, "Datenbank »shop« existiert nicht")


def test_libpq_knows_whether_a_password_was_wanted() -> None:
    assert refusal_of(GERMAN, needs_password=True)[0] is Refusal.NO_PASSWORD


@pytest.mark.parametrize("refusal", Refusal)
def test_each_has_a_message_and_a_remedy(refusal: Refusal) -> None:
    attempts = (
        Attempt("db:5432", "app", "shop"),
        Attempt("db:5432", "", 'a "b"'),
        Attempt("db:5432", "app", "postgres", is_workplace=True),
        Attempt("db:5432", "app", "template1", is_workplace=True),
        Attempt("db:5432", "app", "work", is_workplace=True, was_named=True),
    )
    for attempt in attempts:
        message, hint = explained(refusal, "the server's words.", attempt)
        assert message.endswith("The message was: the server's words.")
        assert hint.endswith((".", ";", ")"))
        assert "{" not in message + hint
        assert ("--maintenance-db" in hint) is (
            attempt.is_workplace and (refusal.is_of_database or refusal is Refusal.TIMEOUT)
        )


def test_what_passes_by_itself_is_worth_another_try() -> None:
    passing = {refusal for refusal in Refusal if refusal.is_passing}
    assert {Refusal.SLOTS, Refusal.ROLE_LIMIT, Refusal.STARTING, Refusal.HUNG_UP} <= passing
    assert not passing & {Refusal.WRONG_PASSWORD, Refusal.NO_DATABASE, Refusal.HBA, Refusal.UNKNOWN}


def test_names_are_quoted_in_statements() -> None:
    _, hint = explained(Refusal.NO_CONNECT, "no", Attempt("db:5432", 'o"r', "shop"))
    assert 'GRANT CONNECT ON DATABASE "shop" TO "o""r";' in hint
