"""Hooks: commands of the user's that run before and after a backup and a rollback; what each is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import timedelta
from enum import StrEnum

from snapkit.core.durations import milliseconds
from snapkit.core.inventory.entry import Entry
from snapkit.core.values import dataclass

DEFAULT_TIMEOUT = timedelta(seconds=60)

_MESSAGE_CHARACTERS = 4000
"""Of an error's message, so many go into a variable: the kernel bounds those (128 kB on Linux)."""


class Event(StrEnum):
    """When a hook runs."""

    BEFORE_BACKUP = "before_backup"
    AFTER_BACKUP = "after_backup"
    BEFORE_ROLLBACK = "before_rollback"
    AFTER_ROLLBACK = "after_rollback"
    ON_FAILURE = "on_failure"


class Operation(StrEnum):
    """What hooks run around. An undo counts as a rollback; of a guarded command only the failure is told."""

    BACKUP = "backup"
    ROLLBACK = "rollback"
    UNDO = "undo"
    GUARD = "guard"

    @property
    def before(self) -> Event:
        return Event.BEFORE_BACKUP if self is Operation.BACKUP else Event.BEFORE_ROLLBACK

    @property
    def after(self) -> Event:
        return Event.AFTER_BACKUP if self is Operation.BACKUP else Event.AFTER_ROLLBACK


@dataclass(frozen=True, slots=True)
class Hooks:
    """The commands that the settings file names, as words, and how long each may take."""

    commands: Mapping[Event, tuple[str, ...]] = field(default_factory=dict)
    timeout: timedelta = DEFAULT_TIMEOUT


@dataclass(frozen=True, slots=True)
class Occasion:
    """What is known before an operation. ``command`` is the one that was typed; ``server`` is host and port.

    ``entry`` is what a rollback is about to swap in, ``label`` the one that a backup is about to get.
    """

    operation: Operation
    command: str
    source: str
    server: str
    entry: Entry | None = None
    label: str | None = None


def command_words(command: str | list[str]) -> tuple[str, ...]:
    """Return the words that run a command: a text is a line for the shell, a list is a program and its arguments."""
    return ("sh", "-c", command) if isinstance(command, str) else tuple(command)


def runs_hooks(environment: Mapping[str, str]) -> bool:
    """Whether hooks are run at all: not by a snapkit that a hook itself has called, which might never end."""
    return "SNAPKIT_EVENT" not in environment


def facts_before(event: Event, occasion: Occasion) -> dict[str, str]:
    """Return the variables that tell a hook what is about to be done; what is not known is an empty text."""
    return {
        "SNAPKIT_EVENT": event.value,
        "SNAPKIT_COMMAND": occasion.command,
        "SNAPKIT_OPERATION": occasion.operation.value,
        "SNAPKIT_SOURCE": occasion.source,
        "SNAPKIT_SERVER": occasion.server,
        "SNAPKIT_BACKUP": occasion.entry.name if occasion.entry else "",
        "SNAPKIT_LABEL": (occasion.entry.label if occasion.entry else occasion.label) or "",
    }


def facts_after(entry: Entry, displaced: Entry | None, outage: timedelta, duration: timedelta) -> dict[str, str]:
    """Return the variables that tell, besides, what was done: ``entry`` was made, or swapped in."""
    return {
        "SNAPKIT_BACKUP": entry.name,
        "SNAPKIT_LABEL": entry.label or "",
        "SNAPKIT_DISPLACED": displaced.name if displaced else "",
        "SNAPKIT_OUTAGE_MS": str(milliseconds(outage)),
        "SNAPKIT_DURATION_MS": str(milliseconds(duration)),
    }


def facts_of_failure(code: str, exit_code: int, message: str) -> dict[str, str]:
    """Return the variables that tell, besides, what went wrong."""
    return {
        "SNAPKIT_ERROR": code,
        "SNAPKIT_EXIT_CODE": str(exit_code),
        "SNAPKIT_ERROR_MESSAGE": message.replace("\0", "")[:_MESSAGE_CHARACTERS],
    }
