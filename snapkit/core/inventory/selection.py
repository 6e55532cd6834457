"""Which entry is meant: the one that a user names, the newest backup, what the last rollback put aside."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from snapkit.core.inventory import naming
from snapkit.core.inventory.database import Database
from snapkit.core.inventory.entry import Entry
from snapkit.core.inventory.kinds import Kind, State
from snapkit.core.values import dataclass
from snapkit.errors import NOTHING_CHANGED, NotFoundError, UsageError


def is_leftover(entry: Entry) -> bool:
    """Whether nothing but dropping it can be done: a clone that was never completed, an interrupted drop of ours."""
    return entry.kind is Kind.PARTIAL or (entry.state is State.INVALID and entry.is_managed)


class Order(StrEnum):
    """By what a list is sorted; of times and sizes the greatest comes first."""

    CREATED = "created"
    SIZE = "size"
    NAME = "name"


@dataclass(frozen=True, slots=True)
class Selection:
    """Which entries a list is to have, and in which order."""

    kind: Kind | None = None
    since: timedelta | None = None
    """How old they may be."""
    label: str | None = None
    """What their label contains."""
    order: Order = Order.CREATED
    limit: int | None = None

    def of(self, entries: Iterable[Entry], now: datetime) -> tuple[Entry, ...]:
        """Return those of ``entries`` that fit, in the order in which they came."""
        return tuple(
            entry
            for entry in entries
            if self.kind in (None, entry.kind)
            and (self.since is None or now - entry.created_at <= self.since)
            and (self.label is None or self.label in (entry.label or ""))
        )

    def first(self, entries: Sequence[Entry]) -> tuple[Entry, ...]:
        """Return as many of ``entries``, newest first, as there are to be, in their order; unknown sizes come last."""
        if self.order is Order.SIZE:
            entries = sorted(
                entries, key=lambda entry: -1 if entry.size_bytes is None else entry.size_bytes, reverse=True
            )
        elif self.order is Order.NAME:
            entries = sorted(entries, key=lambda entry: entry.name)
        return tuple(entries[: self.limit])


EVERYTHING = Selection()


def lenders(entries: Iterable[Entry]) -> tuple[Database, ...]:
    """Return the databases that may lend themselves for a gate (``postgres.gate``), for which they seem renamed awhile.

    Only what nobody can be inside of; the oldest first, which the fewest want at this moment.
    """
    sealed = [
        entry
        for entry in entries
        if entry.is_managed
        and entry.state is State.READY
        and entry.opened is None
        and not entry.database.allow_connections
        and entry.database.is_mine
    ]
    return tuple(entry.database for entry in sorted(sealed, key=lambda entry: entry.age_key))


LEAST_DIGITS = 4
"""Of the end of a timestamp that is to tell an entry."""


def select_one(entries: Sequence[Entry], wanted: str, source: str, others: Iterable[Entry] = ()) -> Entry:
    """Return the entry that ``wanted`` names: its whole name, its label, its timestamp part, or an end of that.

    An end has four digits at least. Of these the first that fits something counts.
    Raises NotFoundError where nothing fits, and UsageError, with a list, where several do. ``others`` are entries that
    may be those of other sources: the error says whose it is if ``wanted`` is the whole name of one.
    """
    for entry in entries:
        if entry.name == wanted:
            return entry
    fitting = [entry for entry in entries if wanted in (naming.stamp_of(entry.name), entry.label, _former_name(entry))]
    if not fitting and sum(map(str.isdecimal, wanted)) >= LEAST_DIGITS:
        fitting = [entry for entry in entries if (naming.stamp_of(entry.name) or "").endswith(wanted)]
    if not fitting:
        message, hint = _why_nothing_fits(wanted, source, others)
        raise NotFoundError(message, state=NOTHING_CHANGED, hint=hint)
    if len(fitting) > 1:
        names = "\n".join(f"  {entry.name}" for entry in fitting)
        raise UsageError(
            f"{wanted!r} fits several entries:\n{names}", state=NOTHING_CHANGED, hint="Give one of these names."
        )
    return fitting[0]


def _why_nothing_fits(wanted: str, source: str, others: Iterable[Entry]) -> tuple[str, str]:
    """Return message and hint for a name that fits no entry of the source."""
    if wanted == source:
        return f"{wanted!r} is the name of the live database, not of a backup.", "See its backups: snapkit list"
    for entry in others:
        if entry.name == wanted:
            return (
                f"{wanted!r} is there, but it belongs to {entry.source!r}, not to {source!r}.",
                f"Run the same command with the URL of {entry.source!r}: --url URL",
            )
    hint = "See what there is: snapkit list"
    if wanted == "latest":
        hint = "For the newest backup: --latest"
    elif wanted.isdecimal() and len(wanted) < LEAST_DIGITS:
        hint = f"Give at least four digits of the end of a timestamp. {hint}"
    return f"There is no backup {wanted!r} of {source!r}.", hint


def select_among(
    entries: Sequence[Entry],
    wanted: str | None,
    source: str,
    distrusted: Sequence[Entry] = (),
    others: Iterable[Entry] = (),
) -> Entry:
    """Return the entry that ``wanted`` names; None: the newest ready backup. Raises as those two do."""
    return latest_backup(entries, source, distrusted) if wanted is None else select_one(entries, wanted, source, others)


def _former_name(entry: Entry) -> str | None:
    """The name of an entry before a run began to drop it."""
    return entry.metadata.dropping if entry.metadata and entry.state is State.INVALID else None


def latest_backup(entries: Sequence[Entry], source: str, distrusted: Sequence[Entry] = ()) -> Entry:
    """Return the newest ready backup; raise NotFoundError if there is none, naming those that are not trusted."""
    usable = usable_backups(entries)
    if not usable:
        raise NotFoundError(
            f"There is no backup of {source!r} to roll back to.",
            state=NOTHING_CHANGED,
            hint=_not_considered(distrusted) or _instead(entries),
        )
    return usable[0]


def usable_backups(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """Return the backups that a rollback would take by itself, newest first."""
    ready = [entry for entry in entries if entry.kind is Kind.BACKUP and entry.state is State.READY]
    return tuple(sorted((each for each in ready if each.bears_its_name), key=lambda each: each.age_key, reverse=True))


def ready_backups(entries: Iterable[Entry], *, without: Entry | None = None) -> int:
    """Return how many backups there are to roll back to, or would be if one were used up."""
    return sum(without is None or each.database.oid != without.database.oid for each in usable_backups(entries))


def _instead(entries: Sequence[Entry]) -> str:
    if any(entry.kind is Kind.OLD for entry in entries):
        return "A rollback uses its backup up. To take back the last rollback: snapkit undo"
    return "To make a backup: snapkit backup"


def _not_considered(distrusted: Sequence[Entry]) -> str:
    """How to use what was passed over for its owner."""
    if not distrusted:
        return ""
    names = ", ".join(f"{entry.name} (owner {entry.database.owner})" for entry in distrusted)
    return (
        f"These were ignored, because their owner is not the owner of the database: {names}. If you trust one: if "
        "the database exists, run ALTER DATABASE ... OWNER TO its owner. If it does not, run snapkit rollback "
        "with the whole name."
    )


def latest_displaced(entries: Iterable[Entry], source: str, live: Database | None) -> Entry:
    """Return the database that the last rollback or undo put aside: the one that gave way to what is ``live``.

    Raises NotFoundError where that one is gone, rather than to take what an earlier rollback put aside. The newest is
    believed where it does not say what it gave way to, or where nothing is live. One that was altered is returned, too:
    to take another in its place would be wrong, and who plans to use it is told what about it was altered.
    """
    ready = [entry for entry in entries if _was_live(entry) and entry.state in (State.READY, State.ALTERED)]
    newest = max(ready, key=_put_aside, default=None)
    if newest is None:
        raise NotFoundError(
            f"There is nothing to undo: {source!r} has not been rolled back.",
            state=NOTHING_CHANGED,
            hint="See what there is: snapkit list",
        )
    if live is None or _gave_way_to(newest) in (None, live.oid):
        return newest
    # A server's clock that was set back makes the last one look older than it is.
    those = [entry for entry in ready if _gave_way_to(entry) == live.oid]
    if not those:
        raise NotFoundError(
            f"There is nothing to undo: {source!r} has been replaced again since {newest.name} was displaced, and "
            "the database that was live in between is gone.",
            state=NOTHING_CHANGED,
            hint=f"To go back to {newest.name} anyway: snapkit rollback {newest.name}",
        )
    return max(those, key=_put_aside)


def _was_live(entry: Entry) -> bool:
    """Whether it was put aside: a displaced database, or one that was given back by an undo what it was before."""
    return entry.kind is Kind.OLD or _gave_way_at(entry) is not None


def _put_aside(entry: Entry) -> tuple[int, tuple[datetime, int, int, str]]:
    """Sorts by when it was put aside; those of which the server's order is not known come first."""
    at = _gave_way_at(entry)
    return (entry.order or 0) if at is None else at, entry.age_key


def _gave_way_at(entry: Entry) -> int | None:
    return entry.metadata.gave_way_at if entry.metadata else None


def _gave_way_to(entry: Entry) -> int | None:
    return entry.metadata.gave_way_to_oid if entry.metadata else None
