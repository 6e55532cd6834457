"""How long a copy will take, estimated from earlier copies on this server, and from what a file takes on any disk."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from datetime import timedelta

from snapkit.core.durations import duration_text
from snapkit.core.inventory.entry import Entry
from snapkit.core.inventory.kinds import Strategy
from snapkit.core.inventory.metadata import Metadata
from snapkit.core.reporting import Caution
from snapkit.core.values import dataclass

_TELLING = 1 << 24
"""Bytes below which a copy's time says little about that of a larger one."""

_BRIEF = timedelta(seconds=10)
_SURELY_BRIEF = 1 << 30
"""Bytes that any disk copies in about that time."""

_FILE = timedelta(milliseconds=0.15)
"""What a fast disk takes for a file, however small it is: to make it, and to have it written safely.

Measured with fsync, for 12,000 to 85,000 files on disks that were quiet or busy: 0.2 to 2 ms on ext4, 0.3 to 1.5 on XFS
that shares blocks; 0.03 in memory, where nobody keeps a database. ``python -m benchmarks.small_files`` measures it."""
_MEBIBYTE = timedelta(milliseconds=0.5)
"""What a fast disk takes to copy 2**20 bytes."""
_LONG = timedelta(seconds=1)
"""A shorter estimate is not given: it depends too much on the machine."""


@dataclass(frozen=True, slots=True)
class Extent:
    """What will be copied: its ``size`` in bytes, and its number of ``files``; None: not known.

    ``shares``: the file system may share blocks, so that the bytes take no time.
    """

    size: int | None
    files: int | None = None
    shares: bool = False

    @property
    def time_by_files(self) -> timedelta:
        """What a fast disk takes for so many files."""
        return _FILE * (self.files or 0)

    @property
    def time_by_bytes(self) -> timedelta:
        """What a fast disk takes for so many bytes."""
        return timedelta(0) if self.shares else _MEBIBYTE * ((self.size or 0) / (1 << 20))

    @property
    def is_many_files(self) -> bool:
        """Whether the number of files makes a clone a long one, more than their size does."""
        return self.time_by_files >= max(_LONG, self.time_by_bytes)


@dataclass(frozen=True, slots=True)
class Forecast:
    """How long a copy will take.

    ``at_least``: there is no earlier copy to judge by, and even a fast disk takes this long. ``is_own``: it is judged
    by an earlier backup of the same source.
    """

    duration: timedelta
    at_least: bool = False
    is_own: bool = False

    @property
    def text(self) -> str:
        """The duration, as a phrase."""
        told = duration_text(self.duration)
        return f"{told} or more" if self.at_least else f"about {told}"

    @property
    def grounds(self) -> str:
        """What it goes by, as the beginning of a sentence."""
        return "Going by the number and the size of its files" if self.at_least else "Going by earlier backups"


def is_brief(forecast: Forecast | None, size: int | None) -> bool:
    """Whether copying ``size`` bytes will be a matter of seconds."""
    if forecast is None or forecast.at_least:
        known_as_long = forecast is not None and forecast.duration > _BRIEF
        return not known_as_long and size is not None and size <= _SURELY_BRIEF
    return forecast.duration <= _BRIEF


def foretell(entries: Iterable[Entry], source: str, strategy: Strategy, extent: Extent) -> Forecast | None:
    """Return how long copying ``source`` will take; None if there is nothing to judge by.

    ``entries`` are all entries of the server. The newest backup of this source that was made in the same way counts.
    If there is none, the newest of another source that is not too small counts; if there is none, what a fast disk
    takes.
    """
    least = _least(strategy, extent)
    newest = _newest_telling(entries, source, strategy, extent.size)
    if newest is None or newest.metadata is None:
        return least
    scaled = _scaled(newest.metadata, extent)
    says_nothing_of_files = newest.source != source and newest.metadata.clone_files is None
    if says_nothing_of_files and least is not None and least.duration > scaled:
        return least
    return Forecast(scaled, is_own=newest.source == source)


def many_files(source: str, extent: Extent, duration: timedelta, said: str) -> tuple[Caution, ...]:
    """Warn of a clone that takes long because of the number of its files; ``said`` is how long, as a clause."""
    if not extent.is_many_files or duration < _LONG:
        return ()
    return (
        Caution(
            "many_files",
            f"{source} has about {extent.files} files, and PostgreSQL needs time for each of them, however small: "
            f"{said}. --strategy online holds nobody. With --max-outage, snapkit chooses it if clients would be "
            "held longer",
        ),
    )


def _least(strategy: Strategy, extent: Extent) -> Forecast | None:
    """What a fast disk takes, for those methods that make a file for each file."""
    if strategy not in (Strategy.CLONE, Strategy.FILE_COPY) or extent.files is None:
        return None
    duration = extent.time_by_files + extent.time_by_bytes
    return Forecast(duration, at_least=True) if duration >= _LONG else None


def _newest_telling(entries: Iterable[Entry], source: str, strategy: Strategy, size: int | None) -> Entry | None:
    if size is None:
        return None
    telling = [
        entry
        for entry in entries
        if (own := entry.metadata) and own.strategy is strategy and own.clone_bytes and own.clone_ms is not None
        if entry.source == source or own.clone_bytes >= min(size, _TELLING)
    ]
    return max(telling, key=lambda entry: (entry.source == source, entry.age_key), default=None)


def _scaled(before: Metadata, extent: Extent) -> timedelta:
    """Scale the time that an earlier copy took to the present number of files and bytes.

    How much of that time was for files is not known. Files get as much as a fast disk takes for them. Bytes get the
    rest, but no more than a fast disk takes for them, because a slow disk is slow for both.
    """
    took = timedelta(milliseconds=before.clone_ms or 0)
    then = Extent(before.clone_bytes, before.clone_files)
    growth = (extent.size or 0) / (before.clone_bytes or 1)
    if not then.files or extent.files is None:
        return took * growth
    by_files = then.time_by_files
    by_bytes = min(then.time_by_bytes, max(took - by_files, timedelta(0)))
    return took * ((by_files * (extent.files / then.files) + by_bytes * growth) / (by_files + by_bytes))


_RECENT = 3.0
"""Seconds; of a longer copy, its last third counts."""


class Pace:
    """The recent pace of a copy: a disk takes the first bytes into memory, and then goes at its own pace.

    While nothing moves, the pace stays the same. Otherwise the remaining time would count upwards.
    """

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def see(self, elapsed: timedelta, done: int) -> float | None:
        """Note how much is done; return the recent units a second, None at first."""
        now = elapsed.total_seconds()
        if not self._seen or done > self._seen[-1][1]:
            self._seen.append((now, done))
        since = now - max(_RECENT, now / 3)
        while len(self._seen) > 2 and self._seen[1][0] <= since:
            self._seen.popleft()
        (first, had), (last, has) = self._seen[0], self._seen[-1]
        return (has - had) / (last - first) if last > first else None


def share_done(elapsed: timedelta, expected: timedelta) -> tuple[float, bool]:
    """Return the share that is done if it takes as long as last time (never quite 1), and whether it takes longer
    already."""
    share = elapsed / expected if expected else 1.0
    return min(share, 0.99), share > 0.99


_SURELY_SHARED = 4e9

_SURELY_COPIED = 1e9

_TOO_SMALL = 1 << 26

_BESIDES = 1.0
"""Seconds that a busy server may take for what does not go by the size: checkpoints, directories, waiting its turn."""

_FILE_AT_MOST = 0.003
"""Seconds that a file may take in a busy disk's worst hour, however small it is; see ``estimates``."""


def blocks_were_shared(strategy: Strategy, size: int | None, files: int | None, copying: timedelta) -> bool | None:
    """Judge by the time that a clone took whether the file system shared blocks.

    PostgreSQL does not say whether it did, and copies silently where it cannot. None if the time does not tell: it is
    in between, or the number of files may explain it.
    https://www.postgresql.org/docs/current/runtime-config-resource.html#GUC-FILE-COPY-METHOD
    """
    seconds = copying.total_seconds()
    if strategy is not Strategy.CLONE or size is None or size < _TOO_SMALL or seconds <= 0:
        return None
    if size / seconds >= _SURELY_SHARED:
        return True
    if files is None:
        return None
    return False if size <= _SURELY_COPIED * (seconds - _BESIDES - _FILE_AT_MOST * files) else None
