"""Which file has which command: only the one that is named is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module

GROUPS: Mapping[str, Mapping[str, str]] = {
    "Make and use": {
        "backup": "backup",
        "rollback": "rollback",
        "undo": "rollback",
        "restore": "restore",
    },
    "Look": {
        "list": "list",
        "show": "list",
        "diff": "diff",
        "shell": "shell",
        "status": "status",
    },
    "Keep house": {
        "prune": "prune",
        "delete": "prune",
        "pin": "label",
        "unpin": "label",
        "label": "label",
        "adopt": "adopt",
        "recover": "recover",
    },
    "Deploy": {
        "guard": "guard",
    },
    "More": {
        "doctor": "doctor",
        "config": "config",
        "demo": "demo",
    },
}
"""The file of each command, in the groups and the order of the help."""

FILES: Mapping[str, str] = {name: file for group in GROUPS.values() for name, file in group.items()}

_ALIASES = {"ls": "list"}

NAMES: Mapping[str, str] = {**{name: name for name in FILES}, **_ALIASES}
"""What can be typed, to the command that it stands for."""


def aliases_of(name: str) -> Sequence[str]:
    """Return what else can be typed for a command."""
    return [alias for alias, meant in _ALIASES.items() if meant == name]


def load(name: str) -> None:
    """Have the command of that name registered."""
    import_module(f"snapkit.cli.commands.{FILES[name]}")
