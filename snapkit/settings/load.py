"""Read the files, and put flags, environment and files together: flag > environment > file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from datetime import timedelta
from pathlib import Path
from typing import Any

from snapkit.core.durations import parse_duration
from snapkit.core.guarding import OnFailure
from snapkit.core.hooks import DEFAULT_TIMEOUT, Event, Hooks
from snapkit.core.inventory.kinds import Strategy
from snapkit.core.outage.hold_rules import DEFAULT_GRACE, HoldRules
from snapkit.core.reporting import Caution
from snapkit.core.values import dataclass
from snapkit.errors import UsageError
from snapkit.settings.url_choice import URL_VARIABLES, ConnectionChoice, choose_connection

DEFAULT_LOCK_WAIT = timedelta(seconds=10)
DEFAULT_DROP_WAIT = timedelta(seconds=60)
DEFAULT_HEALTH_TIMEOUT = timedelta(seconds=60)
DEFAULT_ROLLBACK_WAIT = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Settings:
    """All that a run needs to know; None is unset."""

    cautions: tuple[Caution, ...]
    connection: ConnectionChoice
    maintenance_db: str | None
    lock_wait: timedelta
    drop_wait: timedelta
    grace: timedelta
    max_outage: timedelta | None
    strategy: Strategy | None
    tablespace: str | None
    keep: int | None
    keep_within: timedelta | None
    keep_daily: int | None
    keep_weekly: int | None
    keep_monthly: int | None
    keep_old: int | None
    replica_url: tuple[str, ...] = field(repr=False)  # they may hold passwords
    pgbouncer_url: tuple[str, ...] = field(repr=False)
    health_command: str | None = field(repr=False)
    health_url: str | None = field(repr=False)
    health_timeout: timedelta
    on_failure: OnFailure
    rollback_wait: timedelta
    max_age: timedelta | None
    audit_log: Path | None
    hook_timeout: timedelta
    hook_commands: Mapping[Event, tuple[str, ...]]

    @property
    def hooks(self) -> Hooks:
        return Hooks(self.hook_commands, self.hook_timeout)

    def hold(self, *, disconnect: bool) -> HoldRules:
        """Return how clients may be held."""
        return HoldRules(disconnect, self.grace, self.max_outage)


@dataclass(frozen=True, slots=True)
class Files:
    """What the files of a directory hold: ``.env``, and ``name``, which is snapkit.toml or pyproject.toml."""

    directory: Path
    dotenv: Mapping[str, str] = field(repr=False)  # it may hold passwords
    cautions: tuple[Caution, ...]
    name: str
    values: Mapping[str, str | Sequence[str]] = field(repr=False)
    hook_commands: Mapping[Event, tuple[str, ...]]
    dotenv_name: str = ".env"


def read_files(directory: Path, env_file: Path | None = None) -> Files:
    """Read the files; raise UsageError for one that is wrong, or that was named and cannot be read.

    What lies in the directory without anybody's having named it, and cannot be read, is warned of and passed over. A
    run reads them once, at its start: a command that it guards may change them, and remove the directory.
    """
    dotenv, cautions = _read_dotenv(env_file, directory)
    name, values, hook_commands, unread = _read_file(directory)
    dotenv_name = env_file.name if env_file else ".env"
    return Files(directory, dotenv, cautions + unread, name, values, hook_commands, dotenv_name)


def load_settings(
    flags: Mapping[str, str | Sequence[str] | None],
    environment: Mapping[str, str],
    files: Files,
    *,
    direct_url: str | None = None,
    url: str | None = None,
) -> Settings:
    """Return the settings; raise UsageError for a value that cannot be read.

    ``flags`` are those that were given on the command line, by the names of ``Settings``; one that may be repeated is
    a list.
    """

    def value_of(name: str, convert: Callable[..., Any]) -> Any:
        variable = f"SNAPKIT_{name.upper()}"
        candidates = (
            (f"--{name.replace('_', '-')}", flags.get(name)),
            (variable, _told(name, environment.get(variable))),
            (variable, _told(name, files.dotenv.get(variable))),
            (f"{name.replace('_', '-')} in {files.name}", files.values.get(name)),
        )
        origin, text = next(((where, text) for where, text in candidates if text is not None), ("", None))
        if text is None:
            return None
        try:
            return convert(text)
        except ValueError as error:
            raise UsageError(f"{origin}: {error}.", state="Nothing was changed.") from None

    connection = choose_connection(direct_url, url, environment, files.dotenv, files.dotenv_name)
    rollback_wait = value_of("rollback_wait", parse_duration)
    lock_wait, grace = value_of("lock_wait", parse_duration), value_of("grace", parse_duration)
    audit_log = value_of("audit_log", Path)
    return Settings(
        cautions=files.cautions + connection.cautions,
        connection=connection,
        maintenance_db=value_of("maintenance_db", str),
        lock_wait=DEFAULT_LOCK_WAIT if lock_wait is None else lock_wait,
        drop_wait=value_of("drop_wait", _some_duration) or DEFAULT_DROP_WAIT,
        grace=DEFAULT_GRACE if grace is None else grace,
        max_outage=value_of("max_outage", _some_duration),
        strategy=value_of("strategy", _strategy),
        tablespace=value_of("tablespace", str),
        keep=value_of("keep", _whole_number),
        keep_within=value_of("keep_within", parse_duration),
        keep_daily=value_of("keep_daily", _whole_number),
        keep_weekly=value_of("keep_weekly", _whole_number),
        keep_monthly=value_of("keep_monthly", _whole_number),
        keep_old=value_of("keep_old", _whole_number),
        replica_url=value_of("replica_url", _several) or (),
        pgbouncer_url=value_of("pgbouncer_url", _several) or (),
        health_command=value_of("health_command", str),
        health_url=value_of("health_url", str),
        health_timeout=value_of("health_timeout", _some_duration) or DEFAULT_HEALTH_TIMEOUT,
        on_failure=value_of("on_failure", _on_failure) or OnFailure.ROLLBACK,
        rollback_wait=DEFAULT_ROLLBACK_WAIT if rollback_wait is None else rollback_wait,
        max_age=value_of("max_age", _some_duration),
        audit_log=None if audit_log is None else files.directory / audit_log,
        hook_timeout=value_of("hook_timeout", _some_duration) or DEFAULT_TIMEOUT,
        hook_commands=files.hook_commands,
    )


_LISTS = frozenset(("replica_url", "pgbouncer_url"))
"""The settings that may have several values: lists in the file, separated by white space elsewhere."""


def _told(name: str, value: str | None) -> str | None:
    """Return what a variable says: an empty one says nothing, but of those that it can take away."""
    return value if value or name in _TAKEN_AWAY else None


_TAKEN_AWAY = frozenset(("pgbouncer_url",))
"""The settings of which an empty variable says that there is to be none, whatever the file says."""

_FILE_KEYS = frozenset(Settings.__dataclass_fields__) - {"connection", "cautions", "hook_commands"}


def _strategy(text: str) -> Strategy | None:
    if text == "auto":
        return None
    try:
        return Strategy(text)
    except ValueError:
        raise ValueError(f"{text!r} is not one of auto, {', '.join(Strategy)}") from None


def _on_failure(text: str) -> OnFailure:
    try:
        return OnFailure(text)
    except ValueError:
        raise ValueError(f"{text!r} is not one of {', '.join(OnFailure)}") from None


def _some_duration(text: str) -> timedelta:
    duration = parse_duration(text)
    if not duration:
        raise ValueError("it must be longer than nothing")
    return duration


def _whole_number(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{text!r} is not a whole number")
    return int(text)


def _several(given: str | Sequence[str]) -> tuple[str, ...]:
    values = given.split() if isinstance(given, str) else given
    return tuple(value for value in values if value)


def _read_dotenv(env_file: Path | None, directory: Path) -> tuple[Mapping[str, str], tuple[Caution, ...]]:
    path = env_file or directory / ".env"
    try:
        is_there = path.exists() and not path.is_dir()
    except OSError as error:  # the directory itself may not be looked into
        if env_file is not None:
            raise _unreadable(path, error.strerror) from None
        return {}, (_unread(path, error.strerror),)
    if not is_there:
        if env_file is not None:
            raise UsageError(
                f"The file {str(env_file)!r} given with --env-file does not exist.", state="Nothing was changed."
            )
        return {}, ()
    from snapkit.settings.dotenv import read_dotenv  # where there is no such file, python-dotenv is not needed

    try:
        values, complaints = read_dotenv(path)
    except UnicodeDecodeError:
        raise _unreadable(path, "it is not UTF-8 text") from None
    except OSError as error:
        if env_file is not None:
            raise _unreadable(path, error.strerror) from None
        return {}, (_unread(path, error.strerror),)
    return values, tuple(Caution("dotenv", f"{path.name}: {text}") for text in complaints)


def _unreadable(path: Path, reason: str | None) -> UsageError:
    return UsageError(f"{str(path)!r} cannot be read: {reason}.", state="Nothing was changed.")


def _unread(path: Path, reason: str | None) -> Caution:
    message = f"{path.name} cannot be read ({reason}), and was passed over."
    return Caution("settings", message) if path.suffix == ".toml" else Caution("dotenv", message)


def _read_file(
    directory: Path,
) -> tuple[str, Mapping[str, str | Sequence[str]], Mapping[Event, tuple[str, ...]], tuple[Caution, ...]]:
    """Return the settings file's name, its values by the names of ``Settings``, the hooks by event, what to warn of.

    snapkit.toml goes before pyproject.toml.
    """
    name = where = "snapkit.toml"
    table: object
    table, unread = _read_toml(directory / name)
    if table is None and not unread:
        name, where = "pyproject.toml", "[tool.snapkit] of pyproject.toml"
        project, unread = _read_toml(directory / name)
        tools = (project or {}).get("tool", {})
        table = tools.get("snapkit", {}) if isinstance(tools, dict) else {}
    table = {} if table is None else table
    if not isinstance(table, dict):
        raise UsageError(f"{where} is not a table.", state="Nothing was changed.")
    values = {key: value for key, value in table.items() if key != "hooks"}
    if "hooks" not in table:
        return name, _checked(where, values), {}, unread
    from snapkit.settings.hook_table import read_hooks

    return name, _checked(where, values), read_hooks(where, table["hooks"]), unread


def _read_toml(path: Path) -> tuple[dict[str, Any] | None, tuple[Caution, ...]]:
    """Return what is in the file, None if there is none; and a warning if it is not to be read by us."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None, ()
    except (IsADirectoryError, ValueError) as error:
        raise UsageError(f"{path.name} cannot be read: {error}.", state="Nothing was changed.") from None
    except OSError as error:
        return None, (_unread(path, error.strerror),)
    import tomllib

    try:
        return tomllib.loads(text), ()
    except ValueError as error:
        raise UsageError(f"{path.name} cannot be read: {error}.", state="Nothing was changed.") from None


def _checked(where: str, table: Mapping[str, object]) -> Mapping[str, str | Sequence[str]]:
    values: dict[str, str | Sequence[str]] = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        if name not in _FILE_KEYS:
            hint = (
                f"The connection is named by a flag or by {', '.join(URL_VARIABLES)}, which may stand in .env."
                if name in ("url", "direct_url", "database_url")
                else f"Known keys: {', '.join(sorted(known.replace('_', '-') for known in _FILE_KEYS))}."
            )
            raise UsageError(f"{where} has an unknown key {key!r}.", state="Nothing was changed.", hint=hint)
        if name in _LISTS:
            if not isinstance(value, str) and not (
                isinstance(value, list) and all(isinstance(each, str) for each in value)
            ):
                raise UsageError(f"{where}: {key!r} must be a text or a list of texts.", state="Nothing was changed.")
            values[name] = value
            continue
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise UsageError(f"{where}: {key!r} must be a text or a whole number.", state="Nothing was changed.")
        values[name] = str(value)
    return values
