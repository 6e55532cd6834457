"""Which file has which command: only the one that is named is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module

FILES: Mapping[str, str] = {
    "backup": "backup",
    "list": "list",
    "show": "list",
    "status": "status",
    "rollback": "rollback",
    "undo": "rollback",
    "prune": "prune",
    "delete": "prune",
    "shell": "shell",
    "pin": "label",
    "unpin": "label",
    "label": "label",
    "adopt": "adopt",
    "doctor": "doctor",
    "recover": "recover",
    "guard": "guard",
    "demo": "demo",
}
"""The file of each command, in the order of the help."""

_ALIASES = {"ls": "list"}

NAMES: Mapping[str, str] = {**{name: name for name in FILES}, **_ALIASES}
"""What can be typed, to the command that it stands for."""


def aliases_of(name: str) -> Sequence[str]:
    """Return what else can be typed for a command."""
    return [alias for alias, meant in _ALIASES.items() if meant == name]


def load(name: str) -> None:
    """Have the command of that name registered."""
    import_module(f"snapkit.cli.commands.{FILES[name]}")
