"""What may have been meant by words that are no command and no option: only what one could have mistyped, and what
other tools call it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import typer

from snapkit.errors import UsageError

if TYPE_CHECKING:
    from snapkit.cli.invocation import Call

_GUESS = re.compile(r"(No such command '(.*)')\. Did you mean (.*)\?")
_ARGUMENT = re.compile(r"Got unexpected extra argument(?:\(s\)|s)? \((.*)\)")

_ELSEWHERE: Mapping[str, str] = {
    "revert": "To put a backup in the place of the live database: snapkit rollback --latest",
    "create": "To make a backup: snapkit backup",
    "snapshot": "To make a backup: snapkit backup",
    "save": "To make a backup: snapkit backup",
    "clone": "To make a backup: snapkit backup",
    "dump": "To make a backup: snapkit backup",
    "pg_dump": "To make a backup: snapkit backup",
    "checkout": "To put a backup in the place of the live database: snapkit rollback --latest",
    "reset": "To put a backup in the place of the live database: snapkit rollback --latest",
    "compare": "To see what changed since a backup: snapkit diff",
    "snapshots": "To see the backups: snapkit list",
    "log": "To see the backups: snapkit list",
    "psql": "To look into a backup with psql: snapkit shell NAME",
    "clean": "To drop the backups that no rule keeps: snapkit prune --keep 2",
    "rm": "To drop a backup: snapkit delete NAME",
    "remove": "To drop a backup: snapkit delete NAME",
    "drop": "To drop a backup: snapkit delete NAME",
    "forget": "To drop a backup: snapkit delete NAME. To drop what no rule keeps: snapkit prune --keep 2",
    "rename": "To give a backup another label: snapkit label NAME TEXT",
    "info": "To see all that is known about a backup: snapkit show NAME",
    "check": "To check everything that a backup and a rollback need: snapkit doctor",
    "completion": "To complete commands and names in your shell: snapkit --install-completion. "
    "To see the script: snapkit --show-completion",
}
"""What other tools call it, and where it leads here."""

_OPTIONS_ELSEWHERE: Mapping[str, str] = {"--keep-last": "--keep", "-d": "--url", "--dbname": "--url"}
_LABEL_ELSEWHERE: Mapping[str, str] = dict.fromkeys(("-m", "--message", "--name", "--tag"), "--label")
"""What other tools call an option; the second of the commands that make a backup."""


def translated(words: Sequence[str]) -> Sequence[str]:
    """Return the words for ``snapkit help``, ``snapkit help COMMAND`` and ``snapkit version``, as others have them."""
    match words:
        case ["help", command, *_] if not command.startswith("-"):
            return [command, "--help"]
        case ["help", *_]:
            return ["--help"]
        case ["version", *_]:
            return ["--version"]
    return words


def usage_error(error: typer.TyperException, call: Call, words: Sequence[str]) -> UsageError:
    """Return the error for words that could not be parsed, with what to type instead."""
    message = message_of(error)
    hint = f"snapkit {call.command} --help" if call.command else "snapkit --help"
    if call.option_before_command:
        message = f"{message.removesuffix('.')}. Options come after the command:"
        message += f" snapkit {call.command} {call.option_before_command} ..."
    elif call.command is None and words[0] in _ELSEWHERE:
        message, hint = f"No such command {words[0]!r}.", _ELSEWHERE[words[0]]
    elif call.command is not None and (option := _option_instead(call.command, error)):
        message, hint = f"{message.partition('. Did')[0].removesuffix('.')}.", f"The option is {option}. {hint}"
    elif call.command is not None and (instead := _instead(call.command, message, words)):
        message, hint = instead
    return UsageError(message, hint=hint)


def _option_instead(command: str, error: typer.TyperException) -> str | None:
    """Return the option that is meant by what another tool calls it."""
    option = str(getattr(error, "option_name", ""))
    if command in ("backup", "guard") and option in _LABEL_ELSEWHERE:
        return _LABEL_ELSEWHERE[option]
    if option == "--keep-last" and command not in ("prune", "guard"):
        return None
    return _OPTIONS_ELSEWHERE.get(option)


def _instead(command: str, message: str, words: Sequence[str]) -> tuple[str, str] | None:
    """Return message and hint for words that another tool would take, where the parser's own do not help."""
    extra = _ARGUMENT.match(message)
    name = next((word for word in words[1:] if extra and extra[1].startswith(word)), "")
    typed = shlex.quote(name)
    match command:
        case "backup" if extra:
            hint = f"With a label: snapkit backup --label {typed}. Of another database: snapkit backup --url URL"
            return f"{name!r} is one word too many: a backup gets its name by itself.", hint
        case "list" if extra:
            hint = f"One backup: snapkit show {typed}. Those of another database: snapkit list --source {typed}"
            return f"{name!r} is one word too many: the connection names the database.", hint
        case "status" if extra:
            hint = "Another database: snapkit status --url URL. All of the server: snapkit status --all"
            return f"{name!r} is one word too many: the connection names the database.", hint
        case "undo" if extra:
            hint = f"To put another database in the place of the live one: snapkit rollback {typed}"
            return f"{name!r} is one word too many: undo takes back the last rollback.", hint
        case "config" if extra:
            return f"{name!r} is one word too many: config shows every setting.", "snapkit config"
        case "shell" if message.startswith("No such option"):
            return message, f"The command goes behind two dashes: {_with_dashes(words)}"
    return None


def _with_dashes(words: Sequence[str]) -> str:
    """Return a call of ``shell`` as it is to be typed, if it begins with a name and a command."""
    if len(words) > 2 and not any(word.startswith("-") for word in words[1:3]):
        return "snapkit " + shlex.join([*words[:2], "--", *words[2:]])
    return "snapkit shell NAME -- COMMAND..."


def message_of(error: typer.TyperException) -> str:
    """Return what the parser says, without suggestions that are far off (``list --sort``: ``--json``)."""
    possibilities = getattr(error, "possibilities", None)
    if possibilities:
        word = str(getattr(error, "option_name", ""))
        near = sorted(meant(word, possibilities))
        message: str = error.message
        return f"{message.removesuffix('.')}. Did you mean {', '.join(near)}?" if near else message
    message = error.format_message()
    guess = _GUESS.fullmatch(message)
    if guess is None:
        return message
    near = sorted(meant(guess[2], re.findall(r"'([^']*)'", guess[3])))
    return f"{guess[1]}. Did you mean {', '.join(map(repr, near))}?" if near else f"{guess[1]}."


def meant(word: str, known: Iterable[str]) -> list[str]:
    """Return those of ``known`` that ``word`` may stand for: a beginning of them, or a slip or two away."""
    word = word.lstrip("-")
    allowed = 1 if len(word) < 6 else 2
    found = ((each, each.lstrip("-")) for each in known)
    return [each for each, bare in found if bare.startswith(word) or _slips(word, bare) <= allowed]


def _slips(one: str, other: str) -> int:
    """How many letters are wrong, missing, too many or swapped."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        earlier, before, row = before, row, [i]
        for j, b in enumerate(other, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b))
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                cost = min(cost, earlier[j - 2] + 1)
            row.append(cost)
    return row[-1]
