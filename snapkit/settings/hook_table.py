"""The table ``hooks`` of the settings file."""

from __future__ import annotations

from collections.abc import Mapping

from snapkit.core.hooks import Event, command_words
from snapkit.errors import NOTHING_CHANGED, UsageError


def read_hooks(where: str, table: object) -> Mapping[Event, tuple[str, ...]]:
    """Return the commands by event. Raise UsageError for a table that is wrong.

    Nothing is ignored: a misspelt hook would not run when it is needed.
    """
    if not isinstance(table, dict):
        raise UsageError(f"{where}: 'hooks' is not a table.", state=NOTHING_CHANGED)
    commands = {}
    for key, command in table.items():
        name = key.replace("-", "_")
        if name not in tuple(Event):
            raise UsageError(
                f"{where} has an unknown hook {key!r}.",
                state=NOTHING_CHANGED,
                hint=f"Known hooks: {', '.join(event.replace('_', '-') for event in Event)}.",
            )
        if not _is_command(command):
            raise UsageError(
                f"{where}: the hook {key!r} must be a text, which sh runs, or a list of texts: a program and its "
                "arguments.",
                state=NOTHING_CHANGED,
            )
        commands[Event(name)] = command_words(command)
    return commands


def _is_command(command: object) -> bool:
    if isinstance(command, list):
        return bool(command) and all(isinstance(word, str) for word in command) and bool(command[0])
    return isinstance(command, str) and bool(command.strip())
