from __future__ import annotations

import json
import os
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapkit.core.inventory.kinds import Strategy
from snapkit.errors import UsageError
from snapkit.settings.fields import SETTINGS, Settings
from snapkit.settings.files import dotenv_above, read_files
from snapkit.settings.in_force import settings_in_force
from snapkit.settings.load import load_settings
from snapkit.settings.url_choice import choose_connection

# Which connection is meant


def chosen(
    direct_url: str | None = None,
    url: str | None = None,
    env: dict[str, str] | None = None,
    dotenv: dict[str, str] | None = None,
) -> tuple[str | None, str]:
    choice = choose_connection(direct_url, url, env or {}, dotenv or {})
    return choice.url, choice.origin


ALL_URLS = {"SNAPKIT_DATABASE_URL": "own", "DIRECT_URL": "direct", "DATABASE_URL": "plain", "PGDATABASE": "app"}


@pytest.mark.parametrize(
    ("direct_url", "url", "environment", "expected"),
    [
        ("flag-direct", "flag", ALL_URLS, ("flag-direct", "--direct-url")),
        (None, "flag", ALL_URLS, ("flag", "--url")),
        ("", "flag", ALL_URLS, ("flag", "--url")),
        (None, None, ALL_URLS, ("own", "SNAPKIT_DATABASE_URL")),
        (None, "", ALL_URLS, ("own", "SNAPKIT_DATABASE_URL")),
        (None, None, ALL_URLS | {"SNAPKIT_DATABASE_URL": ""}, ("direct", "DIRECT_URL")),
        (None, None, {"DATABASE_URL": "plain", "DIRECT_URL": "direct"}, ("direct", "DIRECT_URL")),
        (None, None, {"DATABASE_URL": "plain", "PGDATABASE": "app", "PGSERVICE": "s"}, ("plain", "DATABASE_URL")),
        (None, None, {"PGDATABASE": "app"}, (None, "PG variables")),
        (None, None, {}, (None, "PG variables")),
    ],
)
@pytest.mark.parametrize("in_dotenv", [False, True])
def test_the_first_that_is_set_wins(
    direct_url: str | None,
    url: str | None,
    environment: dict[str, str],
    expected: tuple[str | None, str],
    in_dotenv: bool,
) -> None:
    if in_dotenv:
        assert chosen(direct_url, url, dotenv=environment) == expected
    else:
        assert chosen(direct_url, url, env=environment) == expected


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"DATABASE_URL": "plain"}, "plain"),
        ({"DIRECT_URL": "direct"}, "direct"),
        ({"PGDATABASE": "app"}, None),
        ({"PGSERVICE": "production"}, None),
        ({"DATABASE_URL": ""}, "dotenv"),
        ({"PGHOST": "db", "PGPASSWORD": "x", "PGUSER": "me"}, "dotenv"),
        ({"SNAPKIT_KEEP": "2"}, "dotenv"),
    ],
)
@pytest.mark.parametrize("variable", ["SNAPKIT_DATABASE_URL", "DIRECT_URL", "DATABASE_URL"])
def test_a_connection_named_in_the_environment_wins_over_one_in_dotenv(
    environment: dict[str, str], expected: str | None, variable: str
) -> None:
    assert chosen(env=environment, dotenv={variable: "dotenv"})[0] == expected


def additions(url: str | None, env: dict[str, str], dotenv: dict[str, str]) -> dict[str, str]:
    return dict(choose_connection(None, url, env, dotenv).libpq_environment)


@pytest.mark.parametrize(
    ("env", "dotenv", "expected"),
    [
        ({}, {"PGHOST": "h", "PGDATABASE": "app", "OTHER": "x"}, {"PGHOST": "h", "PGDATABASE": "app"}),
        ({"PGHOST": "env"}, {"PGHOST": "h", "PGUSER": "u"}, {"PGUSER": "u"}),
        ({"PGHOST": ""}, {"PGHOST": "h"}, {"PGHOST": "h"}),
        ({}, {"PGHOST": ""}, {}),
        (
            {"DATABASE_URL": "x"},
            {"PGPASSWORD": "p", "PGSSLMODE": "require"},
            {"PGPASSWORD": "p", "PGSSLMODE": "require"},
        ),
        ({"DATABASE_URL": "x"}, {"PGHOST": "h"}, {"PGHOST": "h"}),
        (
            {"PGDATABASE": "app"},
            {"DATABASE_URL": "y", "PGHOST": "h", "PGPORT": "1", "PGUSER": "u", "PGSSLMODE": "require"},
            {"PGSSLMODE": "require"},
        ),
        ({"PGDATABASE": "app"}, {"PGSERVICE": "s", "PGHOST": "h", "PGHOSTADDR": "1.2.3.4"}, {}),
    ],
)
def test_dotenv_supplies_the_libpq_variables_that_the_environment_lacks(
    env: dict[str, str], dotenv: dict[str, str], expected: dict[str, str]
) -> None:
    assert additions(None, env, dotenv) == expected


def test_a_flag_does_not_reach_another_server_than_it_names_by_way_of_dotenv() -> None:
    dotenv = {"PGDATABASE": "app", "PGHOST": "production", "PGCONNECT_TIMEOUT": "3"}
    assert additions("postgresql:///app", {}, dotenv) == {"PGCONNECT_TIMEOUT": "3"}


def test_a_choice_does_not_show_its_secrets() -> None:
    choice = choose_connection("postgresql://u:s3cret@h/d", None, {}, {"PGPASSWORD": "s3cret"})
    assert "s3cret" not in repr(choice)


variables = st.dictionaries(
    st.sampled_from(["SNAPKIT_DATABASE_URL", "DIRECT_URL", "DATABASE_URL", "PGDATABASE", "PGSERVICE", "PGHOST"]),
    st.sampled_from(["", "one", "two"]),
)


@given(st.none() | st.just("") | st.just("flag"), variables, variables)
def test_dotenv_never_decides_what_a_flag_or_the_environment_decided(
    url: str | None, env: dict[str, str], dotenv: dict[str, str]
) -> None:
    without = choose_connection(None, url, env, {})
    choice = choose_connection(None, url, env, dotenv)
    if without.url or env.get("PGDATABASE") or env.get("PGSERVICE"):
        assert choice.url == without.url
        assert choice.origin == without.origin
        if url or any(env.get(name) for name in ("SNAPKIT_DATABASE_URL", "DIRECT_URL", "DATABASE_URL", "PGDATABASE")):
            assert not {"PGDATABASE", "PGSERVICE"} & choice.libpq_environment.keys()
    assert all(not env.get(name) for name in choice.libpq_environment)


# All settings


def load(
    directory: Path,
    flags: dict[str, str | None] | None = None,
    environment: dict[str, str] | None = None,
    env_file: Path | None = None,
) -> Settings:
    return load_settings(flags or {}, environment or {}, read_files(directory, env_file))


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_without_anything_the_defaults_hold(tmp_path: Path) -> None:
    settings = load(tmp_path)
    assert settings.lock_wait == timedelta(seconds=10)
    assert settings.connection.url is None
    assert [
        settings.maintenance_db,
        settings.strategy,
        settings.tablespace,
        settings.keep,
        settings.keep_within,
        settings.keep_daily,
        settings.keep_weekly,
        settings.keep_monthly,
        settings.keep_old,
    ] == [None] * 9
    assert settings.replica_url == ()
    assert settings.pgbouncer_url == ()


def test_every_setting_may_stand_in_the_file(tmp_path: Path) -> None:
    write(
        tmp_path / "snapkit.toml",
        """
        maintenance-db = "admin"
        lock_wait = "1m"
        strategy = "file-copy"
        tablespace = "fast"
        keep = 2
        keep-within = "7d"
        keep-daily = 3
        keep_weekly = "4"
        keep-monthly = 5
        keep-old = 0
        """,
    )
    settings = load(tmp_path)
    assert (settings.maintenance_db, settings.lock_wait) == ("admin", timedelta(minutes=1))
    assert (settings.strategy, settings.tablespace) == (Strategy.FILE_COPY, "fast")
    assert (settings.keep, settings.keep_within) == (2, timedelta(days=7))
    assert (settings.keep_daily, settings.keep_weekly, settings.keep_monthly, settings.keep_old) == (3, 4, 5, 0)


@pytest.mark.parametrize(
    ("flag", "environment", "dotenv", "file", "expected"),
    [
        ("1", "2", "3", "4", 1),
        (None, "2", "3", "4", 2),
        (None, None, "3", "4", 3),
        (None, "", "3", "4", 3),
        (None, None, None, "4", 4),
        (None, None, "", "4", 4),
        (None, None, None, None, None),
    ],
)
def test_a_flag_wins_over_the_environment_and_that_over_the_file(
    tmp_path: Path,
    flag: str | None,
    environment: str | None,
    dotenv: str | None,
    file: str | None,
    expected: int | None,
) -> None:
    if dotenv is not None:
        write(tmp_path / ".env", f"SNAPKIT_KEEP={dotenv}\n")
    if file is not None:
        write(tmp_path / "snapkit.toml", f"keep = {file}\n")
    env = {} if environment is None else {"SNAPKIT_KEEP": environment}
    assert load(tmp_path, {"keep": flag}, env).keep == expected


def test_pyproject_may_hold_the_settings(tmp_path: Path) -> None:
    write(tmp_path / "pyproject.toml", '[project]\nname = "x"\n[tool.snapkit]\nkeep = 3\nmaintenance-db = "admin"\n')
    settings = load(tmp_path)
    assert (settings.keep, settings.maintenance_db) == (3, "admin")


def test_snapkits_own_file_wins_over_pyproject(tmp_path: Path) -> None:
    write(tmp_path / "pyproject.toml", "[tool.snapkit]\nkeep = 3\nkeep-old = 1\n")
    write(tmp_path / "snapkit.toml", "keep = 5\n")
    settings = load(tmp_path)
    assert (settings.keep, settings.keep_old) == (5, None)


@pytest.mark.parametrize("text", ["", "[project]\nname = 'x'\n", "[tool.ruff]\n", "tool = 5\n", "[tool.snapkit]\n"])
def test_a_pyproject_of_others_is_no_concern(tmp_path: Path, text: str) -> None:
    write(tmp_path / "pyproject.toml", text)
    assert load(tmp_path).keep is None


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("snapkit.toml", "kepe = 1", "snapkit.toml has an unknown key 'kepe'"),
        ("snapkit.toml", "connection = 'x'", "snapkit.toml has an unknown key 'connection'"),
        ("pyproject.toml", "[tool.snapkit]\nkepe = 1", "pyproject.toml has an unknown key 'kepe'"),
        ("snapkit.toml", "keep = true", "snapkit.toml: 'keep' must be a text or a whole number"),
        ("snapkit.toml", "keep = 1.5", "snapkit.toml: 'keep' must be a text or a whole number"),
        ("snapkit.toml", "keep = [1]", "snapkit.toml: 'keep' must be a text or a whole number"),
        ("snapkit.toml", "keep = 'two'", "keep in snapkit.toml: 'two' is not a whole number."),
        ("snapkit.toml", "keep = -1", "keep in snapkit.toml: '-1' is not a whole number."),
        ("snapkit.toml", "keep-within = 7", "keep-within in snapkit.toml: '7' is not a duration"),
        ("pyproject.toml", "[tool.snapkit]\nkeep = ''", "keep in pyproject.toml: '' is not a whole number."),
        ("pyproject.toml", "[tool]\nsnapkit = 5", "[tool.snapkit] of pyproject.toml is not a table."),
        ("snapkit.toml", "replica-url = 5", "snapkit.toml: 'replica-url' must be a text or a list of texts."),
        ("snapkit.toml", "replica-url = ['a', 5]", "snapkit.toml: 'replica-url' must be a text or a list of texts."),
        ("snapkit.toml", "keep =", "snapkit.toml cannot be read"),
        ("pyproject.toml", "[tool", "pyproject.toml cannot be read"),
    ],
)
def test_a_mistake_in_the_file_is_a_usage_error(tmp_path: Path, file: str, text: str, message: str) -> None:
    write(tmp_path / file, text + "\n")
    with pytest.raises(UsageError) as caught:
        load(tmp_path)
    assert message in caught.value.message
    assert caught.value.state == "Nothing was changed."


def test_an_unknown_key_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    write(tmp_path / "snapkit.toml", "kepe = 1\n")
    with pytest.raises(UsageError) as caught:
        load(tmp_path)
    assert caught.value.hint is not None
    assert "keep-within" in caught.value.hint
    assert "connection" not in caught.value.hint


@pytest.mark.parametrize("key", ["url", "direct-url", "database_url"])
def test_a_connection_in_the_file_is_refused_with_where_it_belongs(tmp_path: Path, key: str) -> None:
    write(tmp_path / "snapkit.toml", f'{key} = "postgresql://u:s3cret@h/d"\n')
    with pytest.raises(UsageError) as caught:
        load(tmp_path)
    assert caught.value.hint is not None
    assert "SNAPKIT_DATABASE_URL" in caught.value.hint
    assert "s3cret" not in caught.value.message + caught.value.hint


def test_a_file_that_is_not_text_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "snapkit.toml").write_bytes(b"keep = '\xff'")
    with pytest.raises(UsageError, match=r"snapkit\.toml cannot be read"):
        load(tmp_path)


def test_a_file_that_is_a_directory_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "snapkit.toml").mkdir()
    with pytest.raises(UsageError, match=r"snapkit\.toml cannot be read"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("flags", "environment", "message"),
    [
        ({"keep": "two"}, {}, "--keep: 'two' is not a whole number."),
        ({"keep": "٢"}, {}, "--keep: '٢' is not a whole number."),
        ({"keep_within": "soon"}, {}, "--keep-within: 'soon' is not a duration"),
        ({"on_failure": "hide"}, {}, "--on-failure: 'hide' is not one of rollback, keep"),
        ({"max_outage": "0s"}, {}, "--max-outage: it must be longer than 0"),
        ({"strategy": "fast"}, {}, "--strategy: 'fast' is not one of auto, clone, file-copy, wal-log"),
        ({}, {"SNAPKIT_LOCK_WAIT": "10"}, "SNAPKIT_LOCK_WAIT: '10' is not a duration"),
        ({}, {"SNAPKIT_KEEP_OLD": "-1"}, "SNAPKIT_KEEP_OLD: '-1' is not a whole number."),
    ],
)
def test_a_value_that_cannot_be_read_is_a_usage_error_that_names_its_origin(
    tmp_path: Path, flags: dict[str, str | None], environment: dict[str, str], message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        load(tmp_path, flags, environment)
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("text", "strategy"),
    [
        ("auto", None),
        ("clone", Strategy.CLONE),
        ("file-copy", Strategy.FILE_COPY),
        ("wal-log", Strategy.WAL_LOG),
    ],
)
def test_a_strategy_is_named_in_words(tmp_path: Path, text: str, strategy: Strategy | None) -> None:
    assert load(tmp_path, {"strategy": text}).strategy is strategy


def test_auto_on_the_command_line_overrules_the_file(tmp_path: Path) -> None:
    write(tmp_path / "snapkit.toml", 'strategy = "wal-log"\n')
    assert load(tmp_path, {"strategy": "auto"}).strategy is None


@pytest.mark.parametrize(
    ("flag", "environment", "file", "expected"),
    [
        (["one", "two"], "three", "'four'", ("one", "two")),
        (None, "three\tfour\n five ", "'six'", ("three", "four", "five")),
        (None, None, "'four five'", ("four", "five")),
        (None, "", "['four', 'five']", ("four", "five")),
        (None, " ", "'four'", ()),
        ([""], "three", "'four'", ()),
        (None, None, "[]", ()),
    ],
)
def test_several_replicas(
    tmp_path: Path, flag: list[str] | None, environment: str | None, file: str, expected: tuple[str, ...]
) -> None:
    write(tmp_path / "snapkit.toml", f"replica-url = {file}\n")
    variables = {} if environment is None else {"SNAPKIT_REPLICA_URL": environment}
    settings = load_settings({"replica_url": flag}, variables, read_files(tmp_path))
    assert settings.replica_url == expected
    assert "three" not in repr(settings)


@pytest.mark.parametrize(
    ("environment", "dotenv", "expected"),
    [(None, None, ("file",)), ("", None, ()), (None, "", ()), ("one", "", ("one",)), ("", "two", ())],
)
def test_an_empty_variable_takes_the_poolers_of_the_file_away(
    tmp_path: Path, environment: str | None, dotenv: str | None, expected: tuple[str, ...]
) -> None:
    write(tmp_path / "snapkit.toml", "pgbouncer-url = 'file'\n")
    if dotenv is not None:
        write(tmp_path / ".env", f"SNAPKIT_PGBOUNCER_URL={dotenv}\n")
    variables = {} if environment is None else {"SNAPKIT_PGBOUNCER_URL": environment}
    assert load_settings({}, variables, read_files(tmp_path)).pgbouncer_url == expected
    assert load_settings({"pgbouncer_url": ()}, variables, read_files(tmp_path)).pgbouncer_url == ()


def test_no_waiting_for_the_lock_can_be_asked_for(tmp_path: Path) -> None:
    assert load(tmp_path, {"lock_wait": "0s"}).lock_wait == timedelta(0)


# .env


def test_dotenv_in_the_working_directory_is_read(tmp_path: Path) -> None:
    write(tmp_path / ".env", "export DATABASE_URL='postgresql://u:p#w@h/d'\nPGSSLMODE=require\nEMPTY\n# x\n")
    connection = load(tmp_path).connection
    assert (connection.url, connection.origin) == ("postgresql://u:p#w@h/d", "DATABASE_URL")
    assert connection.libpq_environment == {"PGSSLMODE": "require"}


def test_an_env_file_takes_the_place_of_dotenv(tmp_path: Path) -> None:
    write(tmp_path / ".env", "DATABASE_URL=postgresql:///one\nSNAPKIT_KEEP=1\n")
    other = write(tmp_path / "staging.env", "DATABASE_URL=postgresql:///two\n")
    settings = load(tmp_path, env_file=other)
    assert settings.connection.url == "postgresql:///two"
    assert settings.keep is None


@pytest.mark.parametrize("name", ["missing.env", "a-directory"])
def test_an_env_file_that_is_missing_is_a_usage_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "a-directory").mkdir()
    with pytest.raises(UsageError, match="given with --env-file does not exist") as caught:
        load(tmp_path, env_file=tmp_path / name)
    assert name in caught.value.message


def test_an_env_file_may_be_a_pipe(tmp_path: Path) -> None:
    """As the shell's ``<(...)`` makes one."""
    pipe = tmp_path / "secrets"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("DATABASE_URL=postgresql:///piped\n",), daemon=True)
    writer.start()
    assert load(tmp_path, env_file=pipe).connection.url == "postgresql:///piped"
    writer.join(10)


def test_a_missing_dotenv_is_nothing(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    assert load(tmp_path).connection.url is None


def test_a_dotenv_that_is_not_text_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"DATABASE_URL=\xff\n")
    with pytest.raises(UsageError, match="it is not UTF-8 text"):
        load(tmp_path)


def test_the_flags_reach_the_choice(tmp_path: Path) -> None:
    settings = load_settings({}, {"DATABASE_URL": "plain"}, read_files(tmp_path), direct_url="direct", url="url")
    assert settings.connection.url == "direct"


# What is in force, and where it comes from


def shown(
    directory: Path,
    flags: dict[str, str | list[str] | None] | None = None,
    environment: dict[str, str] | None = None,
    **urls: str | None,
) -> dict[str, tuple[str | None, str]]:
    found = settings_in_force(flags or {}, environment or {}, read_files(directory), **urls)
    assert len({each.name for each in found}) == len(found)
    return {each.name: (each.value, each.origin) for each in found}


def test_every_setting_is_shown_with_its_default(tmp_path: Path) -> None:
    found = shown(tmp_path)
    assert list(found) == ["url", *(setting.key for setting in SETTINGS.values())]
    assert {origin for _, origin in found.values()} == {"default"}
    assert (found["url"][0], found["keep"][0], found["replica-url"][0]) == (None, None, None)
    assert (found["lock-wait"][0], found["rollback-wait"][0]) == ("10s", "10m")
    assert (found["strategy"][0], found["on-failure"][0]) == ("auto", "rollback")


def test_a_setting_says_where_it_comes_from(tmp_path: Path) -> None:
    write(tmp_path / ".env", "SNAPKIT_KEEP_DAILY=3\nDATABASE_URL=postgresql://u:s3cret@h:5433/d\n")
    write(tmp_path / "pyproject.toml", '[tool.snapkit]\nkeep-weekly = 4\naudit-log = "log/snapkit"\nkeep = 9\n')
    found = shown(tmp_path, {"keep": "2"}, {"SNAPKIT_GRACE": "1500ms", "SNAPKIT_STRATEGY": "auto"})
    assert found["url"] == ("postgresql://u:***@h:5433/d", ".env DATABASE_URL")
    assert found["keep"] == ("2", "--keep")
    assert found["grace"] == ("1500ms", "SNAPKIT_GRACE")
    assert found["strategy"] == ("auto", "SNAPKIT_STRATEGY")
    assert found["keep-daily"] == ("3", ".env")
    assert found["keep-weekly"] == ("4", "pyproject.toml")
    assert found["audit-log"] == (str(tmp_path / "log/snapkit"), "pyproject.toml")


@pytest.mark.parametrize("value", ["0s", "1.5s", "90s", "7d", "1ms"])
def test_a_duration_is_shown_as_one_may_write_it(tmp_path: Path, value: str) -> None:
    text, _ = shown(tmp_path, {"grace": value})["grace"]
    assert text is not None
    assert load(tmp_path, {"grace": text}).grace == load(tmp_path, {"grace": value}).grace


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"PGDATABASE": "app", "PGHOST": "h"}, ("app at h:5432", "libpq")),
        ({"PGSERVICE": "production"}, ("service production", "libpq")),
    ],
)
@pytest.mark.parametrize("in_dotenv", [False, True])
def test_a_connection_that_libpqs_variables_name(
    tmp_path: Path, variables: dict[str, str], expected: tuple[str, str], in_dotenv: bool
) -> None:
    if in_dotenv:
        write(tmp_path / ".env", "".join(f"{name}={value}\n" for name, value in variables.items()))
    assert shown(tmp_path, environment={} if in_dotenv else variables)["url"] == expected


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("replica-url", "postgresql://u:s3cret@h/d postgresql://i", "postgresql://u:***@h/d postgresql://i"),
        ("replica-url", "host=h password=s3cret", "*** ***"),
        ("pgbouncer-url", "postgresql://u:s3/cret@h/d", "***"),
        ("pgbouncer-url", "postgresql://h/d?sslpassword=s3cret", "postgresql://h/d?sslpassword=***"),
        ("replica-url", "postgresql://h/d?oauth_client_secret=s3cret", "postgresql://h/d?oauth_client_secret=***"),
        ("replica-url", "postgresql://h/d?scram_client_key=s3cret", "postgresql://h/d?scram_client_key=***"),
        ("health-url", "https://s3cret@h/health?token=s3cret&key=s3cret", "https://***@h/health?***"),
        ("health-url", "http://h/health", "http://h/health"),
        ("health-command", "curl -u me:s3cret h", "curl ***"),
        ("health-command", "TOKEN=s3cret curl h", "TOKEN... ***"),
        ("health-command", " ./check ", "./check"),
        ("health-command", "./check\t-ps3cret", "./check ***"),
    ],
)
@pytest.mark.parametrize("where", ["flag", "environment", "dotenv", "file"])
def test_what_may_be_secret_is_not_shown(tmp_path: Path, where: str, name: str, given: str, value: str) -> None:
    key = name.replace("-", "_")
    variable = f"SNAPKIT_{key.upper()}"
    if where == "dotenv":
        write(tmp_path / ".env", f"{variable}='{given}'\n")
    if where == "file":
        write(tmp_path / "snapkit.toml", f"{name} = {json.dumps(given)}\n")
    flags: dict[str, str | list[str] | None] = {key: given.split() if name.endswith("r-url") else given}
    found = shown(tmp_path, flags if where == "flag" else {}, {variable: given} if where == "environment" else {})
    assert found[name][0] == value


def test_a_connection_url_that_is_malformed_is_not_shown(tmp_path: Path) -> None:
    assert shown(tmp_path, url="postgresql://u:s3/cret@h/d")["url"] == ("***", "--url")


def test_hooks_are_shown_without_their_arguments(tmp_path: Path) -> None:
    write(
        tmp_path / "snapkit.toml",
        '[hooks]\nbefore-backup = "notify --token s3cret | tee"\n'
        'on-failure = ["page", "s3cret"]\nafter-backup = "sync"\n',
    )
    found = shown(tmp_path)
    assert found["hooks.before-backup"] == ("notify ***", "snapkit.toml")
    assert found["hooks.on-failure"] == ("page ***", "snapkit.toml")
    assert found["hooks.after-backup"] == ("sync", "snapkit.toml")


# A .env that is not read


@pytest.mark.parametrize(
    ("dotenvs", "repository", "home", "expected"),
    [
        ([""], None, None, ".env"),
        (["", "a"], None, None, "a/.env"),
        (["a/b"], None, None, None),
        ([""], "a", None, None),
        (["a"], "a", None, "a/.env"),
        ([""], "a/b", None, None),
        ([""], None, "a", None),
        (["a"], None, "a", "a/.env"),
        ([], None, "", None),
    ],
)
def test_a_dotenv_above_is_found_within_the_repository_and_the_home_directory(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    dotenvs: list[str],
    repository: str | None,
    home: str | None,
    expected: str | None,
) -> None:
    here = tmp_path / "a" / "b"
    here.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / (home or "")))
    for each in dotenvs:
        write(tmp_path / each / ".env", "DATABASE_URL=postgresql:///app\n")
    if repository is not None:
        write(tmp_path / repository / ".git", "gitdir: elsewhere\n")
    assert dotenv_above(here) == (None if expected is None else tmp_path / expected)


def test_a_directory_above_is_no_dotenv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".env").mkdir()
    (tmp_path / "a").mkdir()
    assert dotenv_above(tmp_path / "a") is None
