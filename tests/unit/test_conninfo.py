from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapkit.errors import UsageError
from snapkit.postgres.connection.conninfo import FOREIGN_PARAMETERS, Target, libpq_keywords, parse_url, target_of
from tests.unit.builders import words


@pytest.fixture(autouse=True, scope="module")
def _no_libpq_variables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Only what a test sets is to be seen by libpq."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("PG")]:
            patch.delenv(name)
        nowhere = tmp_path_factory.mktemp("no-service-file")
        patch.setenv("PGSYSCONFDIR", str(nowhere))
        patch.setenv("PGSERVICEFILE", str(nowhere / "pg_service.conf"))
        yield


KEEPALIVE = {
    "keepalives": "1",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "6",
    "connect_timeout": "10",
}


def given_parameters(target: Target) -> dict[str, str]:
    """Return the target's parameters without those that are snapkit's own defaults."""
    own = KEEPALIVE | {"fallback_application_name": "snapkit"}
    return {key: value for key, value in target.parameters.items() if own.get(key) != value}


def refusal(url: str | None) -> UsageError:
    with pytest.raises(UsageError) as caught:
        target_of(url)
    assert caught.value.state == "No connection was made."
    return caught.value


def said(error: UsageError) -> str:
    return f"{error.message}\n{error.state}\n{error.hint}"


# URLs


@pytest.mark.parametrize(
    "scheme",
    [
        "postgresql",
        "postgres",
        "postgis",
        "POSTGRESQL",
        "postgresql+asyncpg",
        "postgresql+psycopg",
        "postgres+psycopg2",
        "postgis+psycopg",
    ],
)
def test_the_schemes_of_the_ecosystem_are_accepted_with_a_driver_too(scheme: str) -> None:
    target = target_of(f"{scheme}://u:p@h:5433/app")
    assert target.source == "app"
    assert given_parameters(target) == {"user": "u", "password": "p", "host": "h", "port": "5433"}
    assert target.cautions == ()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "app",
        "mysql://u:s3cret@h/app",
        "postgresqlx://u:s3cret@h/app",
        "postgresql:/u:s3cret@h/app",
        "postgresql+://u:s3cret@h/app",
        "postgresql+a-b://u:s3cret@h/app",
        "jdbc:postgresql://u:s3cret@h/app",
        " postgresql://u:s3cret@h/app",
        "host=h dbname=app password=s3cret",
    ],
)
def test_anything_else_is_refused_with_how_to_write_it(url: str) -> None:
    error = refusal(url)
    assert error.message == "The URL does not begin with postgresql:// or postgres://."
    assert "s3cret" not in said(error)


@pytest.mark.parametrize(
    ("url", "source", "parameters"),
    [
        ("postgresql:///app", "app", {}),
        ("postgresql://h/app", "app", {"host": "h"}),
        ("postgresql://u@h/app", "app", {"user": "u", "host": "h"}),
        ("postgresql://h/app?", "app", {"host": "h"}),
        ("postgresql://h/app?&&", "app", {"host": "h"}),
        ("postgresql://h/?dbname=app", "app", {"host": "h"}),
        ("postgresql://h/one?dbname=two", "two", {"host": "h"}),
        ("postgresql://h/my%20app", "my app", {"host": "h"}),
        ("postgresql://[::1]:5433/app", "app", {"host": "::1", "port": "5433"}),
        ("postgresql://u:p@[2001:db8::7]/app", "app", {"user": "u", "password": "p", "host": "2001:db8::7"}),
        ("postgresql://a:1,b:2/app", "app", {"host": "a,b", "port": "1,2"}),
        ("postgresql://a,b:2/app", "app", {"host": "a,b", "port": ",2"}),
        ("postgresql://a,b/app?port=5433", "app", {"host": "a,b", "port": "5433"}),
        ("postgresql://%2Fvar%2Frun%2Fpg/app", "app", {"host": "/var/run/pg"}),
        ("postgresql:///app?host=/var/run/pg&port=5433", "app", {"host": "/var/run/pg", "port": "5433"}),
        ("postgresql://u@/app?host=/var/run/pg", "app", {"user": "u", "host": "/var/run/pg"}),
        ("postgresql:///app?user=me@corp&password=a%26b", "app", {"user": "me@corp", "password": "a&b"}),
        ("postgresql://u:p?q#r/s@h/app", None, None),
        ("postgresql://u:p?q#r@h/app", "app", {"user": "u", "password": "p?q#r", "host": "h"}),
        ("postgresql://u:a:b@h/app", "app", {"user": "u", "password": "a:b", "host": "h"}),
        ("postgresql://h/app?options=-c%20jit%3Doff", "app", {"host": "h", "options": "-c jit=off"}),
        ("postgresql://h/app?hostaddr=10.0.0.7", "app", {"host": "h", "hostaddr": "10.0.0.7"}),
        (
            "postgresql://h/app?sslmode=verify-full&sslrootcert=/ca.pem&target_session_attrs=primary",
            "app",
            {"host": "h", "sslmode": "verify-full", "sslrootcert": "/ca.pem", "target_session_attrs": "primary"},
        ),
        ("postgresql://h/app?application_name=deploy", "app", {"host": "h", "application_name": "deploy"}),
    ],
)
def test_the_parts_of_a_url_are_read_as_libpq_reads_them(
    url: str, source: str | None, parameters: dict[str, str] | None
) -> None:
    if source is None:
        assert refusal(url).message == "The URL is malformed."
        return
    target = target_of(url)
    assert target.source == source
    assert given_parameters(target) == parameters
    assert target.cautions == ()


secrets = words.filter(lambda text: text == text.encode().decode())


@given(secrets, secrets, secrets)
def test_percent_encoded_parts_come_back_whatever_they_hold(user: str, password: str, database: str) -> None:
    url = f"postgresql://{quote(user, safe='')}:{quote(password, safe='')}@h:5433/{quote(database, safe='')}"
    parameters, cautions = parse_url(url)
    assert parameters == {"user": user, "password": password, "host": "h", "port": "5433", "dbname": database}
    assert cautions == ()
    target = target_of(url)
    assert target.source == database
    assert given_parameters(target) == {"user": user, "password": password, "host": "h", "port": "5433"}


@given(secrets, secrets)
def test_percent_encoded_parameters_come_back_whatever_they_hold(password: str, database: str) -> None:
    target = target_of(f"postgresql:///{quote(database, safe='')}?password={quote(password, safe='')}&sslmode=require")
    assert target.source == database
    assert given_parameters(target) == {"password": password, "sslmode": "require"}


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:s3cret@x@h/app",
        "postgresql://u:s3/cret@h/app",
        "postgresql://u:5/s3cret@h/app",
        "postgresql://u:s3cret%zz@h/app",
        "postgresql://u:s3cret%00@h/app",
        "postgresql://u:s3cret%ff@h/app",
        "postgresql://u:s3cret@[::1/app",
        "postgresql://u:s3cret@[::1]x/app",
        "postgresql://u:s3cret@h:port/app",
        "postgresql://u:s3cret@h:0/app",
        "postgresql://u:s3cret@h:65536/app",
        "postgresql://u:s3cret@h:-1/app",
        pytest.param(f"postgresql://u:s3cret@h:{'9' * 5000}/app", id="port of 5000 digits"),
        "postgresql://u:s3cret@h:٣/app",
        "postgresql://u:s3cret@a:1,b:x/app",
        "postgresql://u:s3cret@h/app?port=x",
        "postgresql://u:s3cret@h/app?sslmode",
        "postgresql://u:s3cret@h/app?sslmode=require=1",
        "postgresql://u:s3cret\udcff@h/app",
    ],
)
def test_a_malformed_url_is_refused_with_how_to_encode_it(url: str) -> None:
    error = refusal(url)
    assert error.message == "The URL is malformed."
    assert error.hint is not None
    assert "@ as %40" in error.hint
    assert "s3cret" not in said(error)
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None


awkward = st.text(alphabet="@:/?#%[]&=,;+ \\'\"a1é\0\n", max_size=12)


@given(awkward, awkward, st.sampled_from(["@h/app", "@h:x/app", "@h", "@[::1/app", "/app", "@h/app?sslmode=no", ""]))
def test_no_refusal_repeats_a_password_that_was_not_encoded(before: str, after: str, rest: str) -> None:
    password = f"S3cr3t{before}T0k3n{after}"
    try:
        target = target_of(f"postgresql://u:{password}{rest}")
    except UsageError as error:
        assert "S3cr3t" not in said(error)
        assert "T0k3n" not in said(error) + repr(error.__cause__)
    else:
        assert "S3cr3t" not in repr(target)


def test_a_target_does_not_show_its_parameters() -> None:
    assert "s3cret" not in repr(target_of("postgresql://u:s3cret@h/app"))


@pytest.mark.parametrize("url", ["postgresql://", "postgresql:///", "postgresql://u:p@h", "postgresql://u:p@h:5432/"])
def test_a_url_that_names_no_database_is_refused(url: str) -> None:
    error = refusal(url)
    assert error.message == "The URL names no database."
    assert error.hint is not None
    assert "DATABASE_URL=postgresql://" in error.hint


def test_pgdatabase_does_not_complete_a_url_that_was_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGDATABASE", "another")
    assert refusal("postgresql://u:p@h/").message == "The URL names no database."


# Query parameters


@pytest.mark.parametrize("name", sorted(FOREIGN_PARAMETERS))
def test_parameters_of_other_programs_pass_in_silence(name: str) -> None:
    target = target_of(f"postgresql://h/app?{name}=5&sslmode=require")
    assert given_parameters(target) == {"host": "h", "sslmode": "require"}
    assert target.cautions == ()


def test_no_parameter_of_libpq_is_taken_for_one_of_another_program() -> None:
    assert not FOREIGN_PARAMETERS & set(libpq_keywords())


def test_an_unknown_parameter_is_passed_over_with_a_caution() -> None:
    target = target_of("postgresql://h/app?sslmod=require&schema=public&wei%20rd")
    assert given_parameters(target) == {"host": "h"}
    assert [caution.code for caution in target.cautions] == ["ignored_parameter"] * 2
    assert "'sslmod'" in target.cautions[0].message
    assert "libpq does not know the URL's parameter with an unusual name" in target.cautions[1].message


@pytest.mark.parametrize("name", ["s3cret%20word", "s3cret%0Aword", "s3cret" * 7, "s3cret%C3%A9", "s3cret!"])
def test_a_parameter_that_may_be_the_rest_of_a_password_is_not_repeated(name: str) -> None:
    (caution,) = target_of(f"postgresql://h/app?{name}=1").cautions
    assert "s3cret" not in caution.message


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:5/wörd?s3cret@h/app",
        "postgresql://me:5/w?s3cret@h",
        "postgresql://h/app?s3cret@h/other",
        "postgresql://h/app?s3cret%40h/other=1",
        "postgresql://u:p@h/app?sslmode=require&s3cret@x=1",
        "postgresql://h/app?user@s3cret",
    ],
)
def test_a_password_that_is_taken_for_a_query_is_refused_unseen(url: str) -> None:
    error = refusal(url)
    assert error.message == "The URL is malformed."
    assert "s3cret" not in said(error)


@pytest.mark.parametrize("url", ["postgresql:///app?user=me@corp", "postgresql://u:p@h/app?user=me@corp&schema=a@b"])
def test_an_at_sign_in_a_parameters_value_is_in_order(url: str) -> None:
    target = target_of(url)
    assert (target.source, target.parameters["user"]) == ("app", "me@corp")
    assert target.cautions == ()


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"])
def test_sslmode_is_kept_and_the_ssl_of_other_drivers_is_understood(mode: str) -> None:
    for name in ("sslmode", "ssl"):
        assert given_parameters(target_of(f"postgresql://h/app?{name}={mode}")) == {"host": "h", "sslmode": mode}


@pytest.mark.parametrize("value", ["true", "True", "1"])
def test_ssl_that_is_merely_on_means_require(value: str) -> None:
    assert given_parameters(target_of(f"postgresql://h/app?ssl={value}"))["sslmode"] == "require"


@pytest.mark.parametrize("value", ["false", "False", "0"])
def test_ssl_that_is_off_means_disable(value: str) -> None:
    assert given_parameters(target_of(f"postgresql://h/app?ssl={value}"))["sslmode"] == "disable"


@pytest.mark.parametrize("ssl", ["true", "false", "require", "nonsense", ""])
@pytest.mark.parametrize(
    "query", ["ssl={}&sslmode=verify-full", "sslmode=verify-full&ssl={}", "ssl={}&sslm%6Fde=verify-full"]
)
def test_sslmode_wins_over_the_ssl_of_other_drivers(ssl: str, query: str) -> None:
    target = target_of(f"postgresql://h/app?{query.format(ssl)}")
    assert given_parameters(target) == {"host": "h", "sslmode": "verify-full"}
    assert target.cautions == ()


@pytest.mark.parametrize("mode", ["disable", "prefer", "require"])
def test_every_gssencmode_passes_though_the_probe_could_not_have_it(mode: str) -> None:
    if "gssencmode" not in libpq_keywords():
        pytest.skip("this libpq knows no gssencmode")
    assert given_parameters(target_of(f"postgresql://h/app?gssencmode={mode}")) == {"host": "h", "gssencmode": mode}


def test_gssencmode_in_the_environment_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGGSSENCMODE", "require")
    assert target_of("postgresql://h/app").source == "app"


@pytest.mark.parametrize("value", ["", "maybe", "2"])
def test_an_ssl_that_cannot_be_understood_is_refused_rather_than_passed_over(value: str) -> None:
    error = refusal(f"postgresql://u:s3cret@h/app?ssl={value}")
    assert "cannot be understood" in error.message
    assert "s3cret" not in said(error)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("sslmode=bogus", 'invalid sslmode value: "bogus"'),
        ("channel_binding=bogus", 'invalid channel_binding value: "bogus"'),
        ("target_session_attrs=bogus", 'invalid target_session_attrs value: "bogus"'),
        ("service=missing", "missing"),
    ],
)
def test_options_that_libpq_refuses_are_refused_before_connecting(query: str, message: str) -> None:
    error = refusal(f"postgresql://u:s3cret@h/app?{query}")
    assert error.message.startswith("libpq refuses the connection's options: ")
    assert message in error.message
    assert "s3cret" not in said(error)


# Keepalives


def test_a_long_silence_is_kept_alive_and_a_dead_server_noticed() -> None:
    parameters = target_of("postgresql://h/app").parameters
    assert dict(parameters) == {"host": "h", "fallback_application_name": "snapkit"} | KEEPALIVE


@pytest.mark.parametrize("name", sorted(KEEPALIVE))
def test_a_keepalive_in_the_url_is_the_users(name: str) -> None:
    parameters = target_of(f"postgresql://h/app?{name}=77").parameters
    assert {key: parameters[key] for key in KEEPALIVE} == KEEPALIVE | {name: "77"}


def test_a_connect_timeout_in_the_environment_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGCONNECT_TIMEOUT", "3")
    assert "connect_timeout" not in target_of("postgresql://h/app").parameters


# libpq's own variables


def test_without_a_url_libpqs_variables_name_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGDATABASE", "app")
    monkeypatch.setenv("PGHOST", "db.example")
    monkeypatch.setenv("PGUSER", "me")
    target = target_of(None)
    assert target.source == "app"
    assert given_parameters(target) == {}, "libpq reads them itself"


def test_without_a_url_and_variables_there_is_no_database(monkeypatch: pytest.MonkeyPatch) -> None:
    assert refusal(None).message == "Neither a URL nor PGDATABASE names a database."
    monkeypatch.setenv("PGUSER", "app")
    monkeypatch.setenv("PGHOST", "db.example")
    assert refusal(None).message == "Neither a URL nor PGDATABASE names a database."


def test_a_variable_that_is_not_utf8_does_not_upset_the_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGAPPNAME", "caf\udce9")
    assert target_of("postgresql://h/app").source == "app"


def test_a_variable_that_libpq_refuses_is_refused_before_connecting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGDATABASE", "app")
    monkeypatch.setenv("PGSSLMODE", "bogus")
    assert 'invalid sslmode value: "bogus"' in refusal(None).message


SERVICES = """\
[with-database]
host=db.example
dbname=app
user=me
password=s3cret
connect_timeout=3

[without-database]
host=db.example
user=me
"""


@pytest.fixture
def service_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "pg_service.conf"
    path.write_text(SERVICES, encoding="utf-8")
    monkeypatch.setenv("PGSERVICEFILE", str(path))
    return path


def test_a_service_names_the_database(service_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSERVICE", "with-database")
    target = target_of(None)
    assert target.source == "app"
    assert given_parameters(target) == {}, "libpq reads them itself"
    assert "connect_timeout" not in target.parameters, "the service sets it"


def test_a_service_in_the_url_names_the_database(service_file: Path) -> None:
    target = target_of("postgresql://?service=with-database")
    assert target.source == "app"
    assert given_parameters(target) == {"service": "with-database"}
    assert target_of("postgresql:///other?service=with-database").source == "other"


def test_a_service_wins_over_pgdatabase_as_in_libpq(service_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSERVICE", "with-database")
    monkeypatch.setenv("PGDATABASE", "other")
    assert target_of(None).source == "app"


def test_a_service_without_a_database_leaves_it_to_pgdatabase(
    service_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGSERVICE", "without-database")
    assert refusal(None).message == "Neither a URL nor PGDATABASE names a database."
    monkeypatch.setenv("PGDATABASE", "app")
    assert target_of(None).source == "app"


def test_a_service_in_a_url_without_a_database_names_none(service_file: Path) -> None:
    assert refusal("postgresql://?service=without-database").message == "The URL names no database."


def test_a_service_in_the_environment_does_not_complete_a_url(
    service_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGSERVICE", "with-database")
    assert refusal("postgresql://u:p@h/").message == "The URL names no database."


def test_a_service_that_does_not_exist_is_refused(service_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSERVICE", "missing")
    assert 'definition of service "missing" not found' in refusal(None).message
