"""``snapkit list`` and ``snapkit show``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from snapkit.cli.arguments import NAME, AllSources
from snapkit.cli.completion import names_where
from snapkit.cli.entry_facts import STATE_STYLES, entry_document, name_of_entry, print_report, report_document
from snapkit.cli.format import age_text, count_text, printable, size_text
from snapkit.cli.invocation import Invocation
from snapkit.cli.registry import registry
from snapkit.core.utc import utc_text

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from snapkit.cli.envelope import Document
    from snapkit.cli.table import Column
    from snapkit.core.inventory.entry import Entry
    from snapkit.services.entries.change import EntryReport
    from snapkit.services.list import Listing

_BAR_WIDTH = 12
_BAR_STYLE = "cyan"


def print_listing(result: Listing, console: Console) -> None:
    """Print the inventory."""
    from snapkit.cli.table import fits, print_table

    if not result.entries:
        whose = f" of {printable(result.source)}" if result.source else ""
        console.print(f"There are no backups{whose} yet. Make the first one with: snapkit backup")
        return
    columns = next(
        (c for c in (_columns(result, with_time=True), _columns(result, with_time=False)) if fits(c, console)), None
    )
    if columns is not None:
        print_table(columns, console)
    else:
        console.print(_entry_stack(result))
    if result.sized:
        unknown = sum(entry.size_bytes is None for entry in result.entries)
        note = f" (and {unknown} of unknown size)" if unknown else ""
        free = "" if result.free_bytes is None else f"; {size_text(result.free_bytes)} are free on the server's disk"
        total, number = size_text(result.total_bytes), count_text(len(result.entries), "database")
        console.print(f"Total: {total} in {number}{note}{free}")


def _columns(listing: Listing, *, with_time: bool) -> list[Column]:
    """The inventory as a table, with the columns that say something of at least one entry."""
    from snapkit.cli.table import Column
    from snapkit.core.inventory.metadata import shown_label

    entries, now = listing.entries, listing.now
    columns = [Column("NAME", [printable(entry.name) for entry in entries])]
    if listing.source is None:
        columns.append(Column("SOURCE", [printable(entry.source) for entry in entries]))
    if with_time:
        columns.append(Column("CREATED (UTC)", [utc_text(entry.created_at) for entry in entries]))
    columns.append(Column("AGE", [age_text(entry.created_at, now) for entry in entries]))
    if listing.sized:
        largest = max(entry.size_bytes or 0 for entry in entries)
        columns.append(Column("SIZE", [size_text(entry.size_bytes).rjust(7) for entry in entries]))
        columns.append(Column("", [_bar(entry.size_bytes, largest) for entry in entries], [_BAR_STYLE] * len(entries)))
    columns.append(Column("KIND", [entry.kind.value for entry in entries]))
    states = [entry.state for entry in entries]
    columns.append(Column("STATE", [_state(entry) for entry in entries], [STATE_STYLES[state] for state in states]))
    if any(entry.pinned for entry in entries):
        columns.append(Column("PINNED", ["yes" if entry.pinned else "" for entry in entries]))
    codes = [entry.deploy.short if entry.deploy else "" for entry in entries]
    if any(codes):
        columns.append(Column("CODE", [printable(code) for code in codes]))
    if any(entry.label for entry in entries):
        columns.append(Column("LABEL", [printable(shown_label(entry.label)) for entry in entries]))
    return columns


def _state(entry: Entry) -> str:
    return entry.state.value + (", open" if entry.opened else "")


def _bar(size: int | None, largest: int) -> str:
    """A bar whose length lets sizes be compared at a glance."""
    filled = round(_BAR_WIDTH * size / largest) if size and largest else 0
    return "━" * max(filled, 1 if size else 0)


def _entry_stack(listing: Listing) -> RenderableType:
    """One entry below the other, for a terminal that is too narrow for the table."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    from snapkit.core.inventory.metadata import shown_label

    largest = max((entry.size_bytes or 0 for entry in listing.entries), default=0)
    lines: list[RenderableType] = []
    for entry in listing.entries:
        lines.append(Text(printable(entry.name), style="bold", overflow="fold"))
        facts = [age_text(entry.created_at, listing.now)]
        if listing.sized:
            facts.append(size_text(entry.size_bytes))
        facts += [entry.kind.value, _state(entry)]
        if entry.pinned:
            facts.append("pinned")
        if entry.deploy and entry.deploy.short:
            facts.append(printable(entry.deploy.short))
        detail = Text(", ".join(facts))
        if listing.sized:
            detail = Text.assemble(detail, " ", (_bar(entry.size_bytes, largest), _BAR_STYLE))
        lines.append(Padding(detail, (0, 0, 0, 2), expand=False))
        if entry.label:
            lines.append(Padding(Text(printable(shown_label(entry.label)), style="italic"), (0, 0, 0, 2), expand=False))
    return Group(*lines)


def _listing_document(result: Listing) -> Document:
    return {
        "entries": [entry_document(entry) for entry in result.entries],
        "total_size_bytes": result.total_bytes if result.sized else None,
        **({"free_bytes": result.free_bytes} if result.sized else {}),
    }


def _names_of_listing(result: Listing) -> Sequence[str]:
    return tuple(entry.name for entry in result.entries)


@registry.command(
    "list",
    changes=False,
    text=print_listing,
    data=_listing_document,
    names=_names_of_listing,
    examples=["snapkit list --sizes"],
)
def list_(
    run: Invocation,
    *,
    sizes: Annotated[bool, typer.Option("--sizes", help="Show the size of each database, and the total.")] = False,
    all_sources: AllSources = False,
) -> Listing:
    """List the backups, newest first."""
    server = run.server()
    from snapkit.services.list import list_entries

    return list_entries(server, sizes=sizes, all_sources=all_sources)


@registry.command(
    "show",
    changes=False,
    text=print_report,
    data=report_document,
    names=name_of_entry,
    examples=["snapkit show 153124"],
)
def show(
    run: Invocation,
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help=NAME, autocompletion=names_where(lambda entry: True))],
) -> EntryReport:
    """Show everything known about one backup."""
    server = run.server()
    from snapkit.services.list import show_entry

    return show_entry(server, name)
