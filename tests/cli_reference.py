"""Write docs/commands.md: what each command takes, read from the commands themselves.

``python -m tests.cli_reference`` makes the page anew; tests/test_documentation.py fails where that has been forgotten.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from typer.main import get_command

from snapkit.cli.main import application_for
from snapkit.settings.fields import SETTINGS

PAGE = Path(__file__).parent.parent / "docs" / "commands.md"

_INTRODUCTION = """\
# Commands and options

<!-- Made by `python -m tests.cli_reference` from the commands themselves. Do not edit. -->

This page lists every command with its options, as `snapkit COMMAND --help` shows them. The [reference](reference.md)
explains them: what an option changes, what JSON holds, which exit codes there are.

A setting that has an environment variable can also stand in [a settings file](reference.md#settings). A flag wins over
the environment, and the environment over the file. Which variables name the database is told
[there, too](reference.md#where-the-connection-comes-from)."""

_COMMON_TITLE = "Options of every command"
_DEFAULT = re.compile(r"\s*\[default: (?P<value>[^\]]*)\]")


def visible_commands() -> Mapping[str, Any]:
    """Return the commands that ``snapkit --help`` names, in its order."""
    commands = get_command(application_for()).commands  # type: ignore[attr-defined]
    return {name: command for name, command in commands.items() if not command.hidden}


def page() -> str:
    """Return the text of the page."""
    return "\n\n".join(_blocks(visible_commands())) + "\n"


def _blocks(commands: Mapping[str, Any]) -> Iterator[str]:
    """Yield what blank lines are to stand between."""
    common = _common_options(commands.values())
    yield _INTRODUCTION
    for title, names in _by_panel(commands).items():
        links = [f"| [`{name}`](#snapkit-{name}) | {_paragraphs(commands[name].help)[0]} |" for name in names]
        yield _table(title or "command", "what it does", links)
    yield f"## {_COMMON_TITLE}"
    lacking = [f"`{name}`" for name, command in commands.items() if not set(common) <= set(_rows(_options(command)))]
    without = f", except that {' and '.join(lacking)} may lack some" if lacking else ""
    yield f"They stand after the command's name{without}."
    yield from _panels(common)
    for name, command in commands.items():
        yield from _command(name, command, common)


def _command(name: str, command: Any, common: Mapping[str, Any]) -> Iterator[str]:
    yield f"## `snapkit {name}`"
    context = command.context_class(command, info_name=f"snapkit {name}")
    yield "```\n" + " ".join([f"snapkit {name}", *command.collect_usage_pieces(context)]) + "\n```"
    yield from _paragraphs(command.help)
    yield "```\n" + "\n".join(re.findall(r"(?m)^  (.*)", command.epilog)) + "\n```"
    arguments = [each for each in command.params if each.param_type_name == "argument" and each.help]
    if arguments:
        rows = [f"| `{each.metavar or each.name.upper()}` | {_meaning(each)} |" for each in arguments]
        yield _table("argument", "meaning", rows)
    yield from _panels({row: each for row, each in _rows(_options(command)).items() if row not in common})


def _panels(options: Mapping[str, Any]) -> Iterator[str]:
    """Yield a table for each panel of the help that the options, by row, stand in."""
    for title, rows in _by_panel(options).items():
        yield _table(title or "option", "meaning", rows)


def _by_panel(items: Mapping[str, Any]) -> Mapping[str, list[str]]:
    """Return the keys of commands or options by the panel of the help that they stand in; "" is none."""
    panels: dict[str, list[str]] = {}
    for key, item in items.items():
        title = item.rich_help_panel
        panels.setdefault(title.lower() if isinstance(title, str) else "", []).append(key)
    return panels


def _table(left: str, right: str, rows: Iterable[str]) -> str:
    return "\n".join([f"| {left} | {right} |", "|---|---|", *rows])


def _options(command: Any) -> Sequence[Any]:
    return [each for each in command.params if each.param_type_name == "option" and not each.hidden]


def _rows(options: Iterable[Any]) -> Mapping[str, Any]:
    """Return the table's row of each option: where that is the same in two commands, they mean the same."""
    return {f"| {_spelling(each)} | {_meaning(each)} |": each for each in options}


def _common_options(commands: Iterable[Any]) -> Mapping[str, Any]:
    """Return, by row, the options that all commands have, or all but two."""
    rows = [_rows(_options(command)) for command in commands]
    found = Counter(row for each in rows for row in each)
    everywhere = {row for row, number in found.items() if number >= len(rows) - 2}
    return {row: option for each in rows for row, option in each.items() if row in everywhere}


def _spelling(option: Any) -> str:
    names = ", ".join(f"`{each}`" for each in [*option.opts, *option.secondary_opts])
    return names if option.is_flag else f"{names} {option.metavar or option.name.upper()}"


def _meaning(parameter: Any) -> str:
    text = parameter.help or ""
    parts = [_prose(_DEFAULT.sub("", text))]
    if default := _DEFAULT.search(text):
        parts.append(f"Default: {_prose(default['value'])}.")
    if variable := _variable(parameter):
        parts.append(f"Environment: `{variable}`")
    return " ".join(parts)


def _variable(parameter: Any) -> str | None:
    """Return the environment variable that says the same, if there is one."""
    if parameter.envvar:
        return str(parameter.envvar)
    is_setting = parameter.param_type_name == "option" and parameter.name in SETTINGS
    return SETTINGS[parameter.name].variable if is_setting and not parameter.is_flag else None


def _paragraphs(text: str | None) -> list[str]:
    paragraphs = (text or "").partition("\f")[0].replace("\b", "").split("\n\n")
    return [_prose(" ".join(each.split())) for each in paragraphs if each.strip()]


def _prose(text: str) -> str:
    """Return ``text`` for Markdown: options and URLs as code, nothing taken for HTML or for the edge of a cell."""
    escaped = text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")
    return re.sub(r"(?<![\w`-])(--[a-z][a-z-]*[a-z]|[a-z]+://[\w:@/]+)", r"`\1`", escaped)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
