"""Which settings are in force, and where each comes from: what ``snapkit config`` shows."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from snapkit.core.durations import written_duration
from snapkit.core.hooks import Event
from snapkit.core.values import dataclass
from snapkit.settings.fields import SETTINGS, Setting, Settings, hide_arguments, hide_password
from snapkit.settings.files import Files
from snapkit.settings.load import Flags, given_for, load_settings
from snapkit.settings.url_choice import ConnectionChoice

DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class SettingInForce:
    """A setting as it is shown: ``value`` is written as users write it, with ``***`` for what may be secret.

    None: it is not set. ``origin`` is an option (``--keep``), a variable (``SNAPKIT_KEEP``), the name of a file
    (``.env``, ``snapkit.toml``), ``libpq`` for libpq's own variables, or ``default``.
    """

    name: str
    value: str | None
    origin: str


def settings_in_force(
    flags: Flags,
    environment: Mapping[str, str],
    files: Files,
    *,
    direct_url: str | None = None,
    url: str | None = None,
) -> list[SettingInForce]:
    """Return every setting, the connection first. Parameters and errors are those of ``load_settings``."""
    settings = load_settings(flags, environment, files, direct_url=direct_url, url=url)
    return [
        _connection(settings.connection, environment),
        *(_shown(each, settings, flags, environment, files) for each in SETTINGS.values()),
        *(_hook(event, words, files) for event, words in settings.hook_commands.items()),
    ]


def _connection(chosen: ConnectionChoice, environment: Mapping[str, str]) -> SettingInForce:
    if chosen.url is not None:
        return SettingInForce("url", hide_password(chosen.url), chosen.named_by)
    if not chosen.names_something:
        return SettingInForce("url", None, DEFAULT)
    service = environment.get("PGSERVICE") or chosen.libpq_environment.get("PGSERVICE")
    return SettingInForce("url", f"service {service}" if service else str(chosen.named), chosen.named_by)


def _shown(
    setting: Setting, settings: Settings, flags: Flags, environment: Mapping[str, str], files: Files
) -> SettingInForce:
    given = given_for(setting, flags, environment, files)
    origin = DEFAULT if given is None else given.file or given.name
    return SettingInForce(setting.key, _written(setting, getattr(settings, setting.name)), origin)


def _written(setting: Setting, value: Any) -> str | None:
    if value is None or value == ():
        return setting.unset
    if isinstance(value, timedelta):
        return written_duration(value)
    return " ".join(setting.hide(str(each)) for each in (value if setting.is_list else (value,)))


def _hook(event: Event, words: tuple[str, ...], files: Files) -> SettingInForce:
    command = words[-1] if words[:2] == ("sh", "-c") else shlex.join(words)
    return SettingInForce(f"hooks.{event.replace('_', '-')}", hide_arguments(command), files.name)
