"""``snapkit list`` and ``snapkit show``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from snapkit.cli.arguments import NAME, AllSources, Latest, duration_of, one_of, wanted_of, whole_number
from snapkit.cli.completion import names_where
from snapkit.cli.entry_facts import (
    ENTRY_KEYS,
    STATE_STYLES,
    entry_document,
    name_of_entry,
    print_report,
    report_document,
)
from snapkit.cli.format import age_text, count_text, printable, size_text
from snapkit.cli.invocation import Invocation
from snapkit.cli.registry import registry
from snapkit.core.inventory.kinds import Kind
from snapkit.core.outcome import Outcome
from snapkit.core.utc import utc_text
from snapkit.core.values import dataclass
from snapkit.errors import NOTHING_CHANGED, UsageError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from snapkit.cli.envelope import Document
    from snapkit.cli.table import Column
    from snapkit.core.inventory.entry import Entry
    from snapkit.core.reporting import Caution
    from snapkit.services.entries.change import EntryReport
    from snapkit.services.list import Listing

_FORMS = ("table", "csv", "json")
_ORDERS = ("created", "size", "name")
_KINDS = ("backup", "old", "partial")

_BAR_WIDTH = 12
_BAR_STYLE = "cyan"
_LABEL_RANK = 3
_NARROWEST = 50
"""Columns of a terminal that a table takes; on a narrower one the entries stand below one another."""


@dataclass(frozen=True, slots=True)
class CsvListing(Outcome):
    """The inventory for a program that reads CSV."""

    listing: Listing
    tells_where: ClassVar[bool] = False

    @property
    def cautions(self) -> tuple[Caution, ...]:
        return self.listing.cautions


@dataclass(frozen=True, slots=True)
class WideListing(Outcome):
    """The inventory with nothing left out or cut off, however narrow the terminal is."""

    listing: Listing

    @property
    def leaves_stdout(self) -> bool:
        return self.listing.leaves_stdout

    @property
    def cautions(self) -> tuple[Caution, ...]:
        return self.listing.cautions


def _text(result: Listing | CsvListing | WideListing, console: Console) -> None:
    if isinstance(result, CsvListing):
        _print_csv(result.listing, console)
    elif isinstance(result, WideListing):
        _print_inventory(result.listing, console, wide=True)
    else:
        print_listing(result, console)


def print_listing(result: Listing, console: Console) -> None:
    """Print the inventory, in as many columns as there is room for."""
    _print_inventory(result, console, wide=False)


def _print_inventory(listing: Listing, console: Console, *, wide: bool) -> None:
    from snapkit.cli.table import print_table

    if not listing.entries:
        _print_none(listing, console)
        return
    columns = _columns(listing, whole=True) if wide else _fitted(listing, console.width)
    if columns is not None:
        print_table(columns, console)
    else:
        console.print(_entry_stack(listing))
    if listing.left_out:
        there = len(listing.entries) + listing.left_out
        console.print(f"Shown: {len(listing.entries)} of {count_text(there, 'database')}.")
    if listing.sized:
        _print_totals(listing, console)


def _print_none(listing: Listing, console: Console) -> None:
    whose = f" of {printable(listing.source)}" if listing.source else ""
    if listing.left_out:
        console.print(f"None of the {count_text(listing.left_out, 'database')}{whose} matches.")
    else:
        console.print(f"There are no backups{whose} yet. Make the first one with: snapkit backup")


def _print_totals(listing: Listing, console: Console) -> None:
    unknown = sum(entry.size_bytes is None for entry in listing.entries)
    note = f" (and {unknown} of unknown size)" if unknown else ""
    free = "" if listing.free_bytes is None else f"; {size_text(listing.free_bytes)} are free on the server's disk"
    total, number = size_text(listing.total_bytes), count_text(len(listing.entries), "database")
    console.print(f"Total: {total} in {number}{note}{free}")
    if len(listing.totals) > 1:
        for source, size in listing.totals.items():
            console.print(f"  {printable(source)}: {size_text(size)}", soft_wrap=True)


def _fitted(listing: Listing, width: int) -> Sequence[Column] | None:
    """The columns that there is room for; None where the terminal is too narrow for a table.

    Before states and labels are left out, names give way to their timestamp part, which can be typed as well.
    """
    from snapkit.cli.table import fitted

    columns = _columns(listing)
    if width < _NARROWEST:
        return fitted(columns, width, keep=max(column.rank for column in columns))
    return fitted(columns, width, keep=_LABEL_RANK) or fitted(_columns(listing, short=True), width)


def _columns(listing: Listing, *, short: bool = False, whole: bool = False) -> list[Column]:
    """The inventory as a table, with the columns that say something of at least one entry."""
    from snapkit.cli.table import Column
    from snapkit.core.inventory.metadata import shown_label
    from snapkit.core.inventory.naming import stamp_of

    entries, now = listing.entries, listing.now
    names = [(stamp_of(entry.name) if short else None) or entry.name for entry in entries]
    columns = [Column("NAME", list(map(printable, names)))]
    if listing.source is None:
        columns.append(Column("SOURCE", [printable(entry.source) for entry in entries], rank=1, least=8))
    columns.append(Column("CREATED (UTC)", [utc_text(entry.created_at) for entry in entries], rank=7))
    ages = [age_text(entry.created_at, now) for entry in entries]
    columns.append(Column("AGE", ages, rank=3 if short else 0))  # which the timestamp tells as well, but not the kind
    if listing.sized:
        largest = max(entry.size_bytes or 0 for entry in entries)
        columns.append(Column("SIZE", [size_text(entry.size_bytes).rjust(7) for entry in entries]))
        bars = [_bar(entry.size_bytes, largest) for entry in entries]
        columns.append(Column("", bars, [_BAR_STYLE] * len(entries), rank=8))
    columns.append(Column("KIND", [entry.kind.value for entry in entries], rank=2 if short else 4))
    styles = [STATE_STYLES[entry.state] for entry in entries]
    columns.append(Column("STATE", [_state(entry) for entry in entries], styles, rank=1 if short else 2))
    if any(entry.pinned for entry in entries):
        columns.append(Column("PINNED", ["yes" if entry.pinned else "" for entry in entries], rank=5))
    codes = [entry.deploy.short if entry.deploy else "" for entry in entries]
    if any(codes):
        columns.append(Column("CODE", [printable(code) for code in codes], rank=6))
    if any(entry.label for entry in entries):
        labels = [printable(entry.label or "" if whole else shown_label(entry.label)) for entry in entries]
        columns.append(Column("LABEL", labels, rank=_LABEL_RANK, least=16))
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


def _print_csv(listing: Listing, console: Console) -> None:
    """A line for each entry as JSON has it: what is nested as JSON, and null as an empty cell."""
    import csv
    import io
    import json

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(ENTRY_KEYS)
    for entry in listing.entries:
        document = entry_document(entry)
        values = (document[key] for key in ENTRY_KEYS)
        writer.writerow("" if each is None else each if isinstance(each, str) else json.dumps(each) for each in values)
    console.file.write(text.getvalue())


def _listing_in(result: Listing | CsvListing | WideListing) -> Listing:
    return result.listing if isinstance(result, CsvListing | WideListing) else result


def _data(result: Listing | CsvListing | WideListing) -> Document:
    listing = _listing_in(result)
    totals = [{"source": source, "size_bytes": size} for source, size in listing.totals.items()]
    return {
        "entries": [entry_document(entry) for entry in listing.entries],
        "total_size_bytes": listing.total_bytes if listing.sized else None,
        **({"totals": totals, "free_bytes": listing.free_bytes} if listing.sized else {}),
    }


def _names(result: Listing | CsvListing | WideListing) -> Sequence[str] | None:
    return None if isinstance(result, CsvListing) else tuple(entry.name for entry in _listing_in(result).entries)


@registry.command(
    "list",
    changes=False,
    text=_text,
    data=_data,
    names=_names,
    examples=["snapkit list --sizes", "snapkit list --all --since 7d --sort size --limit 10"],
)
def list_(
    run: Invocation,
    *,
    sizes: Annotated[bool, typer.Option("--sizes", help="Show the size of each database, and the totals.")] = False,
    all_sources: AllSources = False,
    source: Annotated[
        str | None,
        typer.Option("--source", metavar="NAME", help="The backups of this database, not of the one in the URL."),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            "--kind",
            metavar="KIND",
            help="Only entries of this kind: backup, old or partial.",
            autocompletion=lambda: list(_KINDS),
        ),
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="DURATION", help="Only what is younger than this, such as 7d.")
    ] = None,
    label: Annotated[
        str | None, typer.Option("--label", metavar="TEXT", help="Only those whose label contains this.")
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(
            "--sort",
            metavar="BY",
            help="created or size, greatest first, or name. [default: created]",
            autocompletion=lambda: list(_ORDERS),
        ),
    ] = None,
    limit: Annotated[str | None, typer.Option("--limit", metavar="N", help="No more than the first N.")] = None,
    wide: Annotated[
        bool, typer.Option("--wide", help="Leave no column out and cut no label, however narrow the terminal is.")
    ] = False,
    form: Annotated[
        str | None,
        typer.Option(
            "--format", metavar="FORM", help="table, csv or json. [default: table]", autocompletion=lambda: list(_FORMS)
        ),
    ] = None,
) -> Listing | CsvListing | WideListing:
    """List the backups, newest first."""
    form = one_of("--format", form, _FORMS)
    order = one_of("--sort", sort, _ORDERS)
    chosen_kind = one_of("--kind", kind, _KINDS)
    number, age = whole_number("--limit", limit), duration_of("--since", since)
    if form == "json":
        run.answer_as_json()
    elif form is not None and run.is_json:
        raise UsageError(f"Give either --json or --format {form}.", state=NOTHING_CHANGED)
    server = run.server()
    from snapkit.core.inventory.selection import Order, Selection
    from snapkit.services.list import list_entries

    selection = Selection(
        kind=Kind(chosen_kind) if chosen_kind else None,
        since=age,
        label=label,
        order=Order(order or Order.CREATED),
        limit=number,
    )
    listing = list_entries(
        server,
        sizes=sizes or order == "size",
        all_sources=all_sources and source is None,
        source=source,
        selection=selection,
    )
    return CsvListing(listing) if form == "csv" else WideListing(listing) if wide else listing


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
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help=NAME, autocompletion=names_where(lambda entry: True)),
    ] = None,
    latest: Latest = False,
) -> EntryReport:
    """Show everything known about one backup."""
    wanted = wanted_of(name, latest)
    server = run.server()
    from snapkit.services.list import show_entry

    return show_entry(server, wanted)
