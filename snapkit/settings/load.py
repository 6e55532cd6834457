"""Put flags, environment and files together. A flag takes precedence over the environment, that over the files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from snapkit.core.values import dataclass
from snapkit.errors import NOTHING_CHANGED, UsageError
from snapkit.settings.fields import SETTINGS, Setting, Settings
from snapkit.settings.files import Files
from snapkit.settings.url_choice import choose_connection

Flags = Mapping[str, str | Sequence[str] | None]
"""What was given on the command line, by the names of ``Settings``. A list if the option may be repeated."""


@dataclass(frozen=True, slots=True)
class Given:
    """What was given for a setting: the text, the name of the option, variable or key, and the file that it is in."""

    text: str | Sequence[str]
    name: str
    file: str | None = None

    def __str__(self) -> str:
        return f"{self.name} in {self.file}" if self.file else self.name


def load_settings(
    flags: Flags,
    environment: Mapping[str, str],
    files: Files,
    *,
    direct_url: str | None = None,
    url: str | None = None,
) -> Settings:
    """Return the settings. Raise UsageError for a value that is wrong."""
    connection = choose_connection(direct_url, url, environment, files.dotenv, files.dotenv_name)
    values: dict[str, Any] = {}
    for setting in SETTINGS.values():
        given = given_for(setting, flags, environment, files)
        if given is not None:
            values[setting.name] = _value(setting, given, files.directory)
    return Settings(connection, files.cautions + connection.cautions, files.hook_commands, **values)


def given_for(setting: Setting, flags: Flags, environment: Mapping[str, str], files: Files) -> Given | None:
    """Return what takes precedence of all that was given for a setting. None if nothing was: its default holds."""
    return next(_all_given_for(setting, flags, environment, files), None)


def _all_given_for(setting: Setting, flags: Flags, environment: Mapping[str, str], files: Files) -> Iterator[Given]:
    if (flag := flags.get(setting.name)) is not None:
        yield Given(flag, setting.flag)
    for variables, file in ((environment, None), (files.dotenv, files.dotenv_name)):
        text = variables.get(setting.variable)
        if text or (text is not None and setting.empty_is_none):
            yield Given(text, setting.variable, file)
    if (value := files.values.get(setting.name)) is not None:
        yield Given(value, setting.key, files.name)


def _value(setting: Setting, given: Given, directory: Path) -> object:
    try:
        value = setting.read(given.text)
    except ValueError as error:
        raise UsageError(f"{given}: {error}.", state=NOTHING_CHANGED) from None
    return directory / value if isinstance(value, Path) else value
