"""What is said of the room that entries take, and of what is left on the disk."""

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
    """A source, and what a further backup of it takes where the file system shares no blocks."""

    source: str
    size: int


def displaced_cautions(entries: Iterable[Entry]) -> tuple[Caution, ...]:
    """Tell of databases that rollbacks have put aside and that pile up, source by source; sizes where they are known.

    No rule but ``--keep-old`` is for them, and nothing else drops them.
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
    """Say that a further backup has no room, unless the file system shares blocks; None if it has, or if ``free`` is.

    ``free`` are the bytes on the server's disk; None: they are not known.
    """
    if free is None or free >= need.size:
        return None
    return (
        f"Only {size_text(free)} are free on the server's disk. A backup of {need.source} takes "
        f"{size_text(need.size)}, unless the file system shares blocks."
    )


def low_disk(need: Need, free: int | None) -> tuple[Caution, ...]:
    """Warn where a further backup has no room; see ``no_room``."""
    said = no_room(need, free)
    return () if said is None else (Caution("disk_low", f"{said} {MAKE_ROOM}"),)
