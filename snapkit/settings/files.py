"""Read the files that hold settings: ``.env``, snapkit.toml, pyproject.toml."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import field
from pathlib import Path
from typing import Any

from snapkit.core.hooks import Event
from snapkit.core.reporting import Caution
from snapkit.core.values import dataclass
from snapkit.errors import NOTHING_CHANGED, UsageError
from snapkit.settings.fields import SETTINGS
from snapkit.settings.url_choice import URL_VARIABLES


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
    """Read the files. Raise UsageError for one that is wrong, and for a ``env_file`` that cannot be read.

    Other files that cannot be read are ignored with a warning. A run reads the files once, at its start: a guarded
    command may change them, or remove the directory.
    """
    dotenv, cautions = _read_dotenv(env_file, directory)
    name, values, hook_commands, unread = _read_file(directory)
    dotenv_name = env_file.name if env_file else ".env"
    return Files(directory, dotenv, cautions + unread, name, values, hook_commands, dotenv_name)


def dotenv_above(directory: Path) -> Path | None:
    """Return the nearest ``.env`` above a directory. It is not read. None if there is none.

    It is looked for up to the root of the repository, or the user's home directory.
    """
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - pathlib's raises where there is no home
    with suppress(OSError):  # a directory that we may not read is skipped
        for each in (directory, *directory.parents):
            if each != directory and (each / ".env").is_file():
                return each / ".env"
            if (each / ".git").exists() or each == home:
                break
    return None


def _read_dotenv(env_file: Path | None, directory: Path) -> tuple[Mapping[str, str], tuple[Caution, ...]]:
    path = env_file or directory / ".env"
    try:
        is_there = path.exists() and not path.is_dir()
    except OSError as error:  # we may not read the directory itself
        if env_file is not None:
            raise _unreadable(path, error.strerror) from None
        return {}, (_unread(path, error.strerror),)
    if not is_there:
        if env_file is not None:
            raise UsageError(f"The file {str(env_file)!r} given with --env-file does not exist.", state=NOTHING_CHANGED)
        return {}, ()
    from snapkit.settings.dotenv import read_dotenv  # without such a file, python-dotenv need not be loaded

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
    return UsageError(f"{str(path)!r} cannot be read: {reason}.", state=NOTHING_CHANGED)


def _unread(path: Path, reason: str | None) -> Caution:
    message = f"{path.name} cannot be read ({reason}), and was ignored."
    return Caution("settings", message) if path.suffix == ".toml" else Caution("dotenv", message)


def _read_file(
    directory: Path,
) -> tuple[str, Mapping[str, str | Sequence[str]], Mapping[Event, tuple[str, ...]], tuple[Caution, ...]]:
    """Return the settings file's name, its values by the names of ``Settings``, the hooks by event, and warnings.

    snapkit.toml takes precedence over pyproject.toml.
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
        raise UsageError(f"{where} is not a table.", state=NOTHING_CHANGED)
    values = {key: value for key, value in table.items() if key != "hooks"}
    if "hooks" not in table:
        return name, _checked(where, values), {}, unread
    from snapkit.settings.hook_table import read_hooks

    return name, _checked(where, values), read_hooks(where, table["hooks"]), unread


def _read_toml(path: Path) -> tuple[dict[str, Any] | None, tuple[Caution, ...]]:
    """Return what is in the file, or None if there is none; and a warning if it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None, ()
    except (IsADirectoryError, ValueError) as error:
        raise UsageError(f"{path.name} cannot be read: {error}.", state=NOTHING_CHANGED) from None
    except OSError as error:
        return None, (_unread(path, error.strerror),)
    import tomllib

    try:
        return tomllib.loads(text), ()
    except ValueError as error:
        raise UsageError(f"{path.name} cannot be read: {error}.", state=NOTHING_CHANGED) from None


def _checked(where: str, table: Mapping[str, object]) -> Mapping[str, str | Sequence[str]]:
    values: dict[str, str | Sequence[str]] = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        if name not in SETTINGS:
            hint = (
                f"The connection is named by a flag or by {', '.join(URL_VARIABLES)}, which may be in .env."
                if name in ("url", "direct_url", "database_url")
                else f"Known keys: {', '.join(sorted(known.key for known in SETTINGS.values()))}."
            )
            raise UsageError(f"{where} has an unknown key {key!r}.", state=NOTHING_CHANGED, hint=hint)
        if SETTINGS[name].is_list:
            if not isinstance(value, str) and not (
                isinstance(value, list) and all(isinstance(each, str) for each in value)
            ):
                raise UsageError(f"{where}: {key!r} must be a text or a list of texts.", state=NOTHING_CHANGED)
            values[name] = value
            continue
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise UsageError(f"{where}: {key!r} must be a text or a whole number.", state=NOTHING_CHANGED)
        values[name] = str(value)
    return values
