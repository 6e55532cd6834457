"""The settings of a run. Each is declared once, as a field: its type, its default, how a text is read and shown.

The names by which users give a setting follow from the name of its field: ``keep_within`` is the option
``--keep-within``, the variable ``SNAPKIT_KEEP_WITHIN`` and the key ``keep-within`` of the settings file.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from datetime import timedelta
from pathlib import Path
from typing import Any

from snapkit.core.connection.endpoint import is_malformed
from snapkit.core.durations import parse_duration
from snapkit.core.guarding import OnFailure
from snapkit.core.hooks import DEFAULT_TIMEOUT, Event, Hooks
from snapkit.core.inventory.kinds import Strategy
from snapkit.core.outage.hold_rules import DEFAULT_GRACE, HoldRules
from snapkit.core.reporting import Caution
from snapkit.core.secrets import shown_program, without_passwords
from snapkit.core.values import dataclass
from snapkit.settings.url_choice import ConnectionChoice


@dataclass(frozen=True, slots=True)
class Setting:
    """How a setting is given. For a wrong text ``read`` raises ValueError, with a sentence that users can read."""

    name: str
    read: Callable[[Any], object]
    default: object
    unset: str | None
    """How users write that it is not set; None if they cannot."""
    hide: Callable[[str], str]
    """Returns a value without the parts that may be secret."""
    is_list: bool
    """Whether there may be several values: a list in the file, separated by white space in a variable."""
    empty_is_none: bool
    """Whether an empty variable takes away what the file says. For all others an empty variable says nothing."""

    @property
    def flag(self) -> str:
        return f"--{self.key}"

    @property
    def variable(self) -> str:
        return f"SNAPKIT_{self.name.upper()}"

    @property
    def key(self) -> str:
        return self.name.replace("_", "-")


def _setting(
    read: Callable[[Any], object],
    default: object = None,
    *,
    unset: str | None = None,
    hide: Callable[[str], str] | None = None,
    is_list: bool = False,
    empty_is_none: bool = False,
) -> Any:
    """Declare a field of ``Settings`` that users give."""
    how = {
        "read": read,
        "default": default,
        "unset": unset,
        "hide": hide or str,
        "is_list": is_list,
        "empty_is_none": empty_is_none,
    }
    return field(default=default, repr=hide is None, metadata={"setting": how})


HIDDEN = "***"


def hide_password(url: str) -> str:
    """Return the URL of a database without its password. Nothing of a malformed URL is shown."""
    return HIDDEN if is_malformed(url) else without_passwords(url, HIDDEN)


def hide_arguments(command: str) -> str:
    """Return the program of a command without its arguments, which may be secret."""
    program, *arguments = command.split(maxsplit=1) or [""]
    return f"{shown_program(program)} {HIDDEN}" if arguments else shown_program(program)


def _hide_query(url: str) -> str:
    """Return the URL of a health check without password, token and query."""
    address, mark, _ = url.partition("?")
    return without_passwords(address, HIDDEN) + (mark and mark + HIDDEN)


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
        raise ValueError("it must be longer than 0")
    return duration


def _whole_number(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{text!r} is not a whole number")
    return int(text)


def _several(given: str | Sequence[str]) -> tuple[str, ...]:
    values = given.split() if isinstance(given, str) else given
    return tuple(value for value in values if value)


@dataclass(frozen=True, slots=True)
class Settings:
    """All that a run needs to know; None is unset."""

    connection: ConnectionChoice
    cautions: tuple[Caution, ...] = ()
    hook_commands: Mapping[Event, tuple[str, ...]] = field(default_factory=dict)

    maintenance_db: str | None = _setting(str)
    lock_wait: timedelta = _setting(parse_duration, timedelta(seconds=10))
    drop_wait: timedelta = _setting(_some_duration, timedelta(seconds=60))
    grace: timedelta = _setting(parse_duration, DEFAULT_GRACE)
    max_outage: timedelta | None = _setting(_some_duration)
    strategy: Strategy | None = _setting(_strategy, unset="auto")
    tablespace: str | None = _setting(str)
    keep: int | None = _setting(_whole_number)
    keep_within: timedelta | None = _setting(parse_duration)
    keep_daily: int | None = _setting(_whole_number)
    keep_weekly: int | None = _setting(_whole_number)
    keep_monthly: int | None = _setting(_whole_number)
    keep_old: int | None = _setting(_whole_number)
    replica_url: tuple[str, ...] = _setting(_several, (), hide=hide_password, is_list=True)
    pgbouncer_url: tuple[str, ...] = _setting(_several, (), hide=hide_password, is_list=True, empty_is_none=True)
    health_command: str | None = _setting(str, hide=hide_arguments)
    health_url: str | None = _setting(str, hide=_hide_query)
    health_timeout: timedelta = _setting(_some_duration, timedelta(seconds=60))
    on_failure: OnFailure = _setting(_on_failure, OnFailure.ROLLBACK)
    rollback_wait: timedelta = _setting(parse_duration, timedelta(minutes=10))
    max_age: timedelta | None = _setting(_some_duration)
    audit_log: Path | None = _setting(Path)
    hook_timeout: timedelta = _setting(_some_duration, DEFAULT_TIMEOUT)

    @property
    def hooks(self) -> Hooks:
        return Hooks(self.hook_commands, self.hook_timeout)

    def hold(self, *, disconnect: bool) -> HoldRules:
        """Return how clients may be held."""
        return HoldRules(disconnect, self.grace, self.max_outage)


SETTINGS: Mapping[str, Setting] = {
    each.name: Setting(each.name, **each.metadata["setting"])
    for each in dataclasses.fields(Settings)
    if "setting" in each.metadata
}
"""The fields of ``Settings`` that users give, by name."""
