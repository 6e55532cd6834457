"""``snapkit shell``."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from snapkit.cli.arguments import Latest, ReadyName, ShowCommand, wanted_of
from snapkit.cli.ctrl_c import uninterrupted
from snapkit.cli.invocation import Invocation
from snapkit.cli.registry import registry

if TYPE_CHECKING:
    from rich.console import Console

    from snapkit.cli.envelope import Document
    from snapkit.services.shell import ShellReceipt


def _text(result: ShellReceipt, console: Console) -> None:
    """Nothing: all that is to be seen is the command's."""


def _data(result: ShellReceipt) -> Document:
    from snapkit.cli.entry_facts import entry_document

    return {
        "entry": entry_document(result.entry),
        "command": list(result.command.shown),
        "command_words": result.command.words,
        "command_exit_code": result.exit_code,
    }


@registry.command(
    "shell",
    changes=True,
    text=_text,
    data=_data,
    examples=["snapkit shell 153124", "snapkit shell 153124 -- psql -Atc 'SELECT count(*) FROM orders'"],
)
def shell(
    run: Invocation,
    *,
    name: ReadyName = None,
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="[-- COMMAND...]", help="What to run, with DATABASE_URL set. [default: psql]"),
    ] = None,
    latest: Latest = False,
    show_command: ShowCommand = False,
) -> ShellReceipt:
    """Open a backup, read-only, in psql or another program.

    It is sealed again afterwards.
    """
    if latest and name is not None:  # then the first word is the command's
        command = [name, *(command or ())]
        name = None
    wanted = wanted_of(name, latest)
    from snapkit.processes.foreground import find_command, run_command

    found = find_command(command) if command else None
    server = run.server()
    from snapkit.core.secrets import shown_command
    from snapkit.services.run.survey import altered_cautions
    from snapkit.services.shell import ShellReceipt, ShellRequest, opened_entry

    settings = run.settings()
    request = ShellRequest(wanted, found, settings.connection.url, run.urls_of_user())
    with ExitStack() as stack:
        with run.terminal.progress("Opening") as observe:
            opened = stack.enter_context(opened_entry(server, request, settings.lock_wait, observe, uninterrupted))
        run.terminal.note(f"{opened.entry.name} is open, read-only. It is sealed again when the command ends.")
        ending = run_command(opened.command, run.environment_with(opened.environment), stdout_to_stderr=run.is_json)
    run.terminal.note(f"{opened.entry.name} is sealed again.")
    entry = opened.sealed[0] if opened.sealed else opened.entry
    ran = shown_command(command or ["psql"], in_full=show_command)
    cautions = (*opened.cautions, *opened.afterwards, *altered_cautions([entry]))
    return ShellReceipt(entry, ran, ending.exit_code, cautions)
