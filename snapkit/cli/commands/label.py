"""``snapkit pin``, ``unpin`` and ``label``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from snapkit.cli.arguments import NAME, Latest, ReadyName, wanted_of
from snapkit.cli.completion import names_where
from snapkit.cli.entry_facts import name_of_entry, print_report, report_document
from snapkit.cli.invocation import Invocation
from snapkit.cli.registry import registry
from snapkit.errors import NOTHING_CHANGED, UsageError

if TYPE_CHECKING:
    from snapkit.services.entries.change import EntryReport


@registry.command(
    "pin",
    changes=True,
    text=print_report,
    data=report_document,
    names=name_of_entry,
    examples=["snapkit pin 153124 --reason 'until the audit'"],
)
def pin(
    run: Invocation,
    *,
    name: ReadyName = None,
    latest: Latest = False,
    reason: Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Why.")] = None,
) -> EntryReport:
    """Protect a backup from being dropped or used up."""
    wanted = wanted_of(name, latest)
    server = run.server()
    from snapkit.services.label import pin_entry

    with run.terminal.progress("Pinning") as observe:
        return pin_entry(server, wanted, reason, run.settings().lock_wait, observe)


@registry.command(
    "unpin",
    changes=True,
    text=print_report,
    data=report_document,
    names=name_of_entry,
    examples=["snapkit unpin 153124"],
)
def unpin(
    run: Invocation,
    *,
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help=NAME, autocompletion=names_where(lambda entry: entry.pinned)),
    ] = None,
    latest: Latest = False,
) -> EntryReport:
    """Remove the protection of a pinned backup."""
    wanted = wanted_of(name, latest)
    server = run.server()
    from snapkit.services.label import unpin_entry

    with run.terminal.progress("Unpinning") as observe:
        return unpin_entry(server, wanted, run.settings().lock_wait, observe)


@registry.command(
    "label",
    changes=True,
    text=print_report,
    data=report_document,
    names=name_of_entry,
    examples=["snapkit label 153124 'before 0042'"],
)
def label(
    run: Invocation,
    *,
    name: ReadyName = None,
    latest: Latest = False,
    text: Annotated[str | None, typer.Argument(metavar="TEXT", help="The label; an empty text removes it.")] = None,
) -> EntryReport:
    """Give a backup a label."""
    from snapkit.core.inventory.metadata import checked_label

    if latest and text is None:  # then the one word is the label
        name, text = None, name
    wanted = wanted_of(name, latest)
    if text is None:
        raise UsageError("Say which label: snapkit label NAME TEXT", state=NOTHING_CHANGED)
    text = checked_label(text) or ""
    server = run.server()
    from snapkit.services.label import label_entry

    with run.terminal.progress("Labelling") as observe:
        return label_entry(server, wanted, text, run.settings().lock_wait, observe)
