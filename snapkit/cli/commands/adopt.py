"""``snapkit adopt``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from snapkit.cli.arguments import NAME, Latest, wanted_of
from snapkit.cli.completion import names_where
from snapkit.cli.entry_facts import name_of_entry, print_report, report_document
from snapkit.cli.invocation import Invocation
from snapkit.cli.registry import registry

if TYPE_CHECKING:
    from snapkit.services.entries.change import EntryReport


@registry.command(
    "adopt",
    changes=True,
    text=print_report,
    data=report_document,
    names=name_of_entry,
    examples=["snapkit adopt shop_backup_20260110_103045"],
)
def adopt(
    run: Invocation,
    *,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]",
            help=NAME,
            autocompletion=names_where(lambda entry: entry.state in ("unmanaged", "altered")),
        ),
    ] = None,
    latest: Latest = False,
) -> EntryReport:
    """Seal an altered entry again, or adopt one of the original script."""
    wanted = wanted_of(name, latest)
    server = run.server()
    from snapkit.services.adopt import adopt_entry

    with run.terminal.progress("Adopting") as observe:
        return adopt_entry(server, wanted, run.settings().lock_wait, observe)
