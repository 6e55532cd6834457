"""Hooks: commands of the user's that run before and after a backup and a rollback; what each is told, and what its end
means. ``snapkit.hooks`` runs them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import timedelta
from enum import StrEnum

from snapkit.core.durations import milliseconds, written_duration
from snapkit.core.inventory.entry import Entry
from snapkit.core.values import dataclass

DEFAULT_TIMEOUT = timedelta(seconds=60)

KEPT_BYTES = 4096
"""Of what a hook says, the last so many are kept for the error."""

_QUOTED_LINES = 10
_QUOTED_CHARACTERS = 1000
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


@dataclass(frozen=True, slots=True)
class Ending:
    """How a hook ended: its exit code, negative for a signal; None if it had to be ended, or could not be started."""

    code: int | None
    said: bytes = b""
    """The end of its output."""
    not_started: str | None = None
    """Why it could not be started."""


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


def complaint(event: Event, ending: Ending, timeout: timedelta) -> str | None:
    """Say what went wrong with a hook, and what it said at its end; None if nothing did."""
    return what_went_wrong(f"The {event} hook", ending, timeout, "hook-timeout")


def what_went_wrong(who: str, ending: Ending, timeout: timedelta, setting: str) -> str | None:
    """Say it of any command that ran in the background; ``setting`` is what bounds its time."""
    if ending.not_started is not None:
        return f"{who} could not be started: {ending.not_started}."
    if ending.code == 0:
        return None
    if ending.code is None:
        what = f"was still running after {written_duration(timeout)} ({setting}), and was ended"
    elif ending.code < 0:
        what = f"was ended by signal {-ending.code}"
    else:
        what = f"ended with exit code {ending.code}"
    said = _quoted(ending.said)
    return f"{who} {what}" + (f"; it said:\n{said}" if said else ", and said nothing.")


def _quoted(said: bytes) -> str:
    """Return the last lines of an output, indented."""
    text = said.decode("utf-8", errors="replace")[-_QUOTED_CHARACTERS:]
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    return "\n".join(f"  {line}" for line in lines[-_QUOTED_LINES:])
