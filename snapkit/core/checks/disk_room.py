"""Warnings about disk space: displaced databases that pile up, and a disk that is nearly full."""

from __future__ import annotations

from collections.abc import Iterable

from snapkit.core.inventory.entry import Entry
from snapkit.core.inventory.kinds import Kind, State
from snapkit.core.reporting import Caution
from snapkit.core.sizes import size_text
from snapkit.core.values import dataclass

MAKE_ROOM = "Make room: snapkit prune --keep 1 --keep-old 1"

_SEVERAL = 2
"""One that was put aside is what an undo takes."""


@dataclass(frozen=True, slots=True)
class Need:
    """A source, and the bytes that another backup of it takes if the file system shares no blocks."""

    source: str
    size: int


def displaced_cautions(entries: Iterable[Entry]) -> tuple[Caution, ...]:
    """Warn of displaced databases that pile up, one warning for each source, with their size where it is known.

    Only ``--keep-old`` drops them.
    """
    piles: dict[str, list[Entry]] = {}
    for entry in entries:
        counts = entry.is_managed and entry.kind is Kind.OLD and not entry.pinned and entry.bears_its_name
        if counts and entry.state in (State.READY, State.ALTERED):
            piles.setdefault(entry.source, []).append(entry)
    return tuple(_pile(source, pile) for source, pile in piles.items() if len(pile) >= _SEVERAL)


def _pile(source: str, pile: list[Entry]) -> Caution:
    sizes = [entry.size_bytes for entry in pile if entry.size_bytes is not None]
    take = f", which take {size_text(sum(sizes))}" if len(sizes) == len(pile) else ""
    return Caution(
        "displaced_pile_up",
        f"Rollbacks of {source} have left {len(pile)} displaced databases{take}. Only --keep-old drops them. To "
        "keep only the newest: snapkit prune --keep-old 1",
    )


def no_room(need: Need, free: int | None) -> str | None:
    """Return a sentence if the disk has no room for another backup; None if it has.

    ``free`` is in bytes; None means that it is not known, and then the result is None, too. A file system that shares
    blocks needs less room.
    """
    if free is None or free >= need.size:
        return None
    return (
        f"Only {size_text(free)} are free on the server's disk. A backup of {need.source} takes "
        f"{size_text(need.size)}, unless the file system shares blocks."
    )


def low_disk(need: Need, free: int | None) -> tuple[Caution, ...]:
    """Warn if the disk has no room for another backup; see ``no_room``."""
    said = no_room(need, free)
    return () if said is None else (Caution("disk_low", f"{said} {MAKE_ROOM}"),)
