"""List the inventory, or show one entry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from snapkit.core.checks.disk_room import displaced_cautions
from snapkit.core.inventory.entry import Entry
from snapkit.core.inventory.recognition import recognition_cautions
from snapkit.core.inventory.selection import EVERYTHING, Order, Selection
from snapkit.core.outcome import Outcome
from snapkit.core.reporting import Caution
from snapkit.core.values import dataclass
from snapkit.errors import NOTHING_CHANGED, NotFoundError
from snapkit.postgres.connection.server import Connection, Server
from snapkit.services.entries.change import EntryReport, report_on
from snapkit.services.run.disk_room import free_bytes, room_cautions
from snapkit.services.run.survey import (
    ServerState,
    chosen,
    entry_cautions,
    gather,
    need_live,
    with_sizes,
)


def list_entries(
    server: Server, *, sizes: bool, all_sources: bool, source: str | None = None, selection: Selection = EVERYTHING
) -> Listing:
    """Return the inventory of the source, of another ``source`` or of the whole server, newest first.

    ``selection`` says which of its entries, and in which order. To sort them by size takes their ``sizes``.
    """
    with server.connect() as connection:
        gathered = gather(connection, server.source)
        if source is not None:
            gathered = _about(gathered, source)
        return _listing(connection, gathered, source or server.source, sizes, all_sources, selection=selection)


def listing_of(connection: Connection, source: str, *, sizes: bool, all_sources: bool) -> Listing:
    """Return the inventory of ``source``, or of the whole server, by a connection that is there."""
    return _listing(connection, gather(connection, source), source, sizes, all_sources, selection=EVERYTHING)


def _about(gathered: ServerState, source: str) -> ServerState:
    """Return the state with another database for the live one; raise NotFoundError if there is nothing of that name."""
    inventory = gathered.inventory
    if source not in inventory.databases and not inventory.of_source(source):
        raise NotFoundError(
            f"There is no database {source!r} on this server, and no backup of one.",
            state=NOTHING_CHANGED,
            hint="See the backups of all databases: snapkit list --all",
        )
    return replace(gathered, live=inventory.databases.get(source))


def _listing(
    connection: Connection,
    gathered: ServerState,
    source: str,
    sizes: bool,
    all_sources: bool,
    *,
    selection: Selection,
) -> Listing:
    entries = gathered.inventory.entries if all_sources else gathered.inventory.of_source(source)
    if not entries and not all_sources:
        need_live(gathered, source)  # a misspelt name must not look like a database without backups
    cautions = recognition_cautions(gathered.inventory) + entry_cautions(entries, gathered.facts.now)
    there = len(entries)
    entries = selection.of(entries, gathered.facts.now)
    if selection.order is not Order.SIZE:
        entries = selection.first(entries)
    free = None
    if sizes:
        entries = with_sizes(connection, entries)
        if len(entries) == there:  # of some of them it would not be the truth
            cautions += displaced_cautions(entries)
        cautions += room_cautions(connection, gathered.live)
        free = free_bytes(connection, gathered.live) if gathered.live else None
        entries = selection.first(entries)
    return Listing(
        source=None if all_sources else source,
        entries=entries,
        now=gathered.facts.now,
        sized=sizes,
        cautions=cautions,
        free_bytes=free,
        left_out=there - len(entries),
    )


def show_entry(server: Server, wanted: str | None) -> EntryReport:
    """Return everything known about one entry; ``wanted`` None is the newest ready backup."""
    with server.connect() as connection:
        gathered = gather(connection, server.source)
        entry = chosen(gathered, server.source, wanted)
        return report_on(connection, entry, gathered.facts.now, change=None)


@dataclass(frozen=True, slots=True)
class Listing(Outcome):
    """The inventory, newest first; ``sized`` tells unknown sizes from sizes that nobody asked for.

    ``free_bytes`` is the room left on the server's disk, where sizes were asked for and it can be known.
    """

    source: str | None
    entries: tuple[Entry, ...]
    now: datetime
    sized: bool
    cautions: tuple[Caution, ...] = ()
    free_bytes: int | None = None
    left_out: int = 0
    """How many entries there are besides, which were not asked for."""

    @property
    def leaves_stdout(self) -> bool:
        return not self.entries

    @property
    def total_bytes(self) -> int:
        """The sizes that are known."""
        return sum(entry.size_bytes or 0 for entry in self.entries)

    @property
    def totals(self) -> Mapping[str, int]:
        """The same of each source, by its name."""
        totals: dict[str, int] = {}
        for entry in self.entries:
            totals[entry.source] = totals.get(entry.source, 0) + (entry.size_bytes or 0)
        return dict(sorted(totals.items()))
