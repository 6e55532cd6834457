"""Whether there is a backup that is new enough, as a monitor asks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from snapkit.core.durations import written_duration
from snapkit.core.inventory.entry import Entry
from snapkit.core.inventory.kinds import Kind
from snapkit.core.inventory.ordering import is_ahead
from snapkit.core.inventory.selection import usable_backups
from snapkit.core.outcome import Outcome
from snapkit.core.reporting import Caution
from snapkit.core.values import dataclass
from snapkit.errors import NotFoundError, SnapkitError


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """A source and its usable backups, newest first; ``entries`` are all of its entries."""

    source: str
    backups: tuple[Entry, ...]
    entries: tuple[Entry, ...]

    @property
    def newest(self) -> Entry | None:
        return self.backups[0] if self.backups else None

    def age(self, now: datetime) -> timedelta | None:
        """The age of the newest backup with a known age; None if there is none.

        A backup with a date in the future has no known age. If it is ahead by moments only, its age is 0.
        """
        newest = next((entry for entry in self.backups if not is_ahead(entry, now)), None)
        return max(now - newest.created_at, timedelta(0)) if newest else None

    def size(self, kind: Kind) -> int | None:
        """The bytes of all entries of a kind; None if one of them is not known."""
        sizes = [entry.size_bytes for entry in self.entries if entry.kind is kind]
        known = [size for size in sizes if size is not None]
        return sum(known) if len(known) == len(sizes) else None

    def is_too_old(self, now: datetime, max_age: timedelta) -> bool:
        """Whether there are backups, but none that is known to be new enough."""
        age = self.age(now)
        return self.newest is not None and (age is None or age > max_age)


@dataclass(frozen=True, slots=True)
class StatusReport(Outcome):
    """The state of the backups of some sources. Without ``max_age`` nothing is judged. ``sized``: sizes were asked
    for."""

    sources: tuple[SourceStatus, ...]
    max_age: timedelta | None
    now: datetime
    sized: bool = False
    cautions: tuple[Caution, ...] = ()

    @property
    def without(self) -> tuple[SourceStatus, ...]:
        """The sources that have no backup of use."""
        return tuple(each for each in self.sources if each.newest is None)

    @property
    def too_old(self) -> tuple[SourceStatus, ...]:
        """The sources whose newest backup is older than it may be."""
        return tuple(each for each in self.sources if self.max_age and each.is_too_old(self.now, self.max_age))

    @property
    def shortfall(self) -> SnapkitError | None:
        """The error that the run ends with: NotFoundError if a backup is missing, SnapkitError if one is too old."""
        if self.max_age is None:
            return None
        said = []
        if self.without or not self.sources:
            said.append(f"There is no backup of {_names(self.without)}." if self.without else "There is no backup.")
        limit = written_duration(self.max_age)
        undated = tuple(each for each in self.too_old if each.age(self.now) is None)
        too_old = tuple(each for each in self.too_old if each not in undated)
        if too_old:
            said.append(f"The newest backup of {_names(too_old)} is older than {limit} (max-age).")
        if undated:
            said.append(
                f"The age of the newest backup of {_names(undated)} is not known, because its date is in the "
                f"future. So it does not count as newer than {limit} (max-age)."
            )
        if not said:
            return None
        is_missing = bool(self.without or not self.sources)
        error = NotFoundError if is_missing else SnapkitError
        return error(" ".join(said), hint="To make a backup: snapkit backup")


def _names(sources: Sequence[SourceStatus]) -> str:
    return ", ".join(repr(each.source) for each in sources)


def judge(
    entries: Sequence[Entry],
    source: str | None,
    *,
    max_age: timedelta | None,
    now: datetime,
    sized: bool = False,
    cautions: tuple[Caution, ...] = (),
) -> StatusReport:
    """Return the state of the backups of ``source``; None: of every source that has entries.

    Unfinished clones and backups of the original script do not count.
    """
    ours = [entry for entry in entries if entry.is_managed]
    names = sorted({entry.source for entry in ours}) if source is None else [source]
    sources = []
    for name in names:
        own = tuple(entry for entry in ours if entry.source == name)
        sources.append(SourceStatus(name, usable_backups(own), own))
    return StatusReport(tuple(sources), max_age, now, sized, cautions)
