"""The order in which entries were made. Dates alone do not tell, because a server's clock may have been wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from snapkit.core.inventory.entry import Entry
from snapkit.core.reporting import Caution
from snapkit.core.utc import utc_text

SKEW = timedelta(seconds=5)
"""A difference of this size between the clocks of a server and its promoted standby is not reported."""

_MOST_NAMES = 5


def in_order(entries: Iterable[Entry], now: datetime) -> tuple[Entry, ...]:
    """Return the entries newest first, each with the time that it is sorted by; ``now`` is the server's clock.

    An entry is never newer than one that the server made later, nor than ``now``, whatever its date says. An entry
    with a date in the future and no number of the server may have any age: it sorts as older than all that have one.
    """
    by_source: dict[str, list[Entry]] = {}
    for entry in entries:
        by_source.setdefault(entry.source, []).append(entry)
    ordered = [entry for of_source in by_source.values() for entry in _of_source(of_source, now)]
    return tuple(sorted(ordered, key=lambda entry: entry.age_key, reverse=True))


def _of_source(entries: Sequence[Entry], now: datetime) -> Iterable[Entry]:
    def sorted_by(entry: Entry, at: datetime) -> Entry:
        return entry if at == entry.created_at else replace(entry, ordered_at=at)

    earliest = now
    numbered = sorted((each for each in entries if each.order is not None), key=lambda each: each.order or 0)
    for entry in reversed(numbered):
        earliest = min(earliest, entry.created_at)
        yield sorted_by(entry, earliest)
    for entry in entries:
        if entry.order is None:
            yield sorted_by(entry, earliest) if is_ahead(entry, now) else entry


def is_ahead(entry: Entry, now: datetime) -> bool:
    """Whether an entry is dated at a moment that is still to come by the server's clock."""
    return entry.created_at - now > SKEW  # not the other way round: the first date that there is has none before it


def ahead_cautions(entries: Iterable[Entry], now: datetime) -> tuple[Caution, ...]:
    """Warn of entries with a date in the future."""
    ahead = [entry for entry in entries if entry.is_managed and is_ahead(entry, now)]
    if not ahead:
        return ()
    listed = ", ".join(f"{each.name} ({utc_text(each.created_at)} UTC)" for each in ahead)
    if len(ahead) > _MOST_NAMES:
        listed = f"{len(ahead)} entries, {ahead[0].name} among them"
    return (
        Caution(
            "dated_ahead",
            f"These have a date in the future (the server's clock says {utc_text(now)} UTC): {listed}. The clock "
            "was wrong when they were made, or it is wrong now. So their age is not known. Their order is known "
            "if this version of snapkit made them.",
        ),
    )
