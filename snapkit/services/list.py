"""Look at the inventory: all entries of a source, or one of them."""

from __future__ import annotations

from datetime import datetime

from snapkit.core.checks.disk_room import displaced_cautions
from snapkit.core.inventory.entry import Entry
from snapkit.core.inventory.recognition import recognition_cautions
from snapkit.core.inventory.selection import select_one
from snapkit.core.outcome import Outcome
from snapkit.core.reporting import Caution
from snapkit.core.values import dataclass
from snapkit.postgres.connection.server import Connection, Server
from snapkit.services.entries.change import EntryReport, report_on
from snapkit.services.run.disk_room import free_bytes, room_cautions
from snapkit.services.run.survey import entry_cautions, gather, need_known, need_live, with_sizes


def list_entries(server: Server, *, sizes: bool, all_sources: bool) -> Listing:
    """Return the inventory of the source, or of the whole server, newest first."""
    with server.connect() as connection:
        return listing_of(connection, server.source, sizes=sizes, all_sources=all_sources)


def listing_of(connection: Connection, source: str, *, sizes: bool, all_sources: bool) -> Listing:
    gathered = gather(connection, source)
    entries = gathered.inventory.entries if all_sources else gathered.inventory.of_source(source)
    if not entries and not all_sources:
        need_live(gathered, source)  # a misspelt name must not look like a database without backups
    cautions = recognition_cautions(gathered.inventory) + entry_cautions(entries, gathered.facts.now)
    free = None
    if sizes:
        entries = with_sizes(connection, entries)
        cautions += displaced_cautions(entries) + room_cautions(connection, gathered.live)
        free = free_bytes(connection, gathered.live) if gathered.live else None
    return Listing(
        source=None if all_sources else source,
        entries=entries,
        now=gathered.facts.now,
        sized=sizes,
        cautions=cautions,
        free_bytes=free,
    )


def show_entry(server: Server, name: str) -> EntryReport:
    """Return everything known about one entry."""
    with server.connect() as connection:
        gathered = gather(connection, server.source)
        need_known(gathered, server.source)
        entry = select_one(gathered.inventory.of_source(server.source), name, server.source)
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

    @property
    def leaves_stdout(self) -> bool:
        return not self.entries

    @property
    def total_bytes(self) -> int:
        return sum(entry.size_bytes or 0 for entry in self.entries)
