"""Retention: one pure function from (entries, policy, now) to what is kept, with reasons, and what is removed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

from snapkit.core.inventory.entry import Entry
from snapkit.core.inventory.kinds import Kind, State
from snapkit.core.inventory.ordering import is_ahead
from snapkit.core.inventory.selection import usable_backups
from snapkit.core.values import dataclass


@dataclass(frozen=True, slots=True)
class Policy:
    """Which backups to keep. Rules add up: an entry stays if any rule keeps it. None is no rule.

    ``last`` to ``monthly`` are for backups; ``old`` is for displaced databases, which no other rule touches.
    """

    last: int | None = None
    within: timedelta | None = None
    daily: int | None = None
    weekly: int | None = None
    monthly: int | None = None
    old: int | None = None

    def __post_init__(self) -> None:
        """Raise ValueError, with a sentence fit for users, for a policy that says nothing or asks for nothing."""
        if not self.has_backup_rule and self.old is None:
            raise ValueError("No rule says what to keep. Give at least one, such as --keep 2")
        for name, number in (
            ("", self.last),
            ("-daily", self.daily),
            ("-weekly", self.weekly),
            ("-monthly", self.monthly),
        ):
            if number is not None and number < 1:
                raise ValueError(f"--keep{name} must be at least 1")
        if self.within is not None and self.within <= timedelta(0):
            raise ValueError("--keep-within must be longer than 0")
        if self.old is not None and self.old < 0:
            raise ValueError("--keep-old must be 0 or more")

    @property
    def has_backup_rule(self) -> bool:
        return any(rule is not None for rule in (self.last, self.within, self.daily, self.weekly, self.monthly))


@dataclass(frozen=True, slots=True)
class Kept:
    """An entry that stays, and every reason why."""

    entry: Entry
    reasons: tuple[str, ...]
    is_unruled: bool = False
    """Whether it is a displaced database, and no rule for those was given."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What stays and what goes, each newest first."""

    kept: tuple[Kept, ...]
    removed: tuple[Entry, ...]


def decide(entries: Iterable[Entry], policy: Policy, now: datetime, spared: Collection[int] = ()) -> Verdict:
    """Apply the policy to each source.

    Only backups that a rollback could use count for the rules, and as the last backup. Some entries are never removed:
    pinned ones, the last usable backup of a source, renamed ones, unfinished clones, databases that are not proven to
    be snapkit's, and what the run itself has made (``spared``, by OID). An altered entry stays as long as it would if
    it were ready. An invalid backup is removed as soon as there is a rule for backups, an invalid displaced database
    as soon as there is one for displaced databases.
    """
    newest_first = _newest_first(entries)
    by_source: dict[str, list[Entry]] = {}
    for entry in newest_first:
        by_source.setdefault(entry.source, []).append(entry)
    reasons: dict[int, list[str]] = {}
    for of_source in by_source.values():
        reasons |= _reasons_of_source(of_source, policy, now, spared)
    return Verdict(
        kept=tuple(
            Kept(e, tuple(why), _is_unruled(e, policy)) for e in newest_first if (why := reasons[e.database.oid])
        ),
        removed=tuple(e for e in newest_first if not reasons[e.database.oid]),
    )


def _reasons_of_source(
    entries: Sequence[Entry], policy: Policy, now: datetime, spared: Collection[int]
) -> dict[int, list[str]]:
    reasons: dict[int, list[str]] = {entry.database.oid: _standing_reasons(entry, policy) for entry in entries}

    def keep(which: Iterable[Entry], reason: str) -> None:
        for entry in which:
            reasons[entry.database.oid].append(reason)

    keep((entry for entry in entries if entry.database.oid in spared), "made by this run")
    backups = usable_backups(entries)
    displaced = [e for e in entries if e.kind is Kind.OLD and e.state is State.READY and e.bears_its_name]
    for entry, reason in _kept_by_rules(backups, displaced, policy, now):
        keep([entry], reason)
    altered = [entry for entry in entries if entry.state is State.ALTERED]
    if altered:
        all_backups = _newest_first([*backups, *(e for e in altered if e.kind is Kind.BACKUP)])
        all_displaced = _newest_first([*displaced, *(e for e in altered if e.kind is Kind.OLD)])
        for entry, reason in _kept_by_rules(all_backups, all_displaced, policy, now):
            if entry.state is State.ALTERED:
                keep([entry], f"altered; {reason}")
    if backups and not any(reasons[entry.database.oid] for entry in backups):
        keep(backups[:1], "the last ready backup")
    return reasons


def _newest_first(entries: Iterable[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda entry: entry.age_key, reverse=True)


def _kept_by_rules(
    backups: Sequence[Entry], displaced: Sequence[Entry], policy: Policy, now: datetime
) -> Iterator[tuple[Entry, str]]:
    """Yield what the rules keep of entries that are given newest first, and by which rule."""

    def keep(which: Iterable[Entry], reason: str) -> Iterator[tuple[Entry, str]]:
        return ((entry, reason) for entry in which)

    counted = [entry for entry in backups if not entry.pinned]
    if policy.last is not None:
        yield from keep(counted[: policy.last], f"last {policy.last}")
    if policy.within is not None:
        within = (entry for entry in backups if now - _latest_date(entry, now) <= policy.within)
        yield from keep(within, "within the given time")
    periods: tuple[tuple[int | None, str, Callable[[datetime], str]], ...] = (
        (policy.daily, "daily", lambda at: at.strftime("%Y-%m-%d")),
        (policy.weekly, "weekly", lambda at: f"{at.isocalendar().year}-W{at.isocalendar().week:02}"),
        (policy.monthly, "monthly", lambda at: at.strftime("%Y-%m")),
    )
    for number, rule, period_of in periods:
        if number is not None:
            for period, newest in _newest_by_period(counted, period_of, now)[:number]:
                yield newest, f"{rule} {period}"
    if policy.old is not None:
        yield from keep([e for e in displaced if not e.pinned][: policy.old], f"last {policy.old} displaced")


def _is_unruled(entry: Entry, policy: Policy) -> bool:
    return entry.is_managed and entry.kind is Kind.OLD and policy.old is None


def _standing_reasons(entry: Entry, policy: Policy) -> list[str]:
    """Why an entry stays whatever the numbers in the policy."""
    if not entry.is_managed:
        return ["under construction" if entry.kind is Kind.PARTIAL else "not made by snapkit"]
    reasons = ["pinned" + (f": {entry.pin_reason}" if entry.pin_reason else "")] if entry.pinned else []
    if not entry.bears_its_name:
        reasons.append("renamed by hand")
    if _is_unruled(entry, policy):
        reasons.append("displaced by a rollback")
    if entry.kind is Kind.BACKUP and not policy.has_backup_rule:
        reasons.append("no rule for backups was given")
    return reasons


def _newest_by_period(
    newest_first: Sequence[Entry], period_of: Callable[[datetime], str], now: datetime
) -> list[tuple[str, Entry]]:
    newest: dict[str, Entry] = {}
    for entry in newest_first:
        newest.setdefault(period_of(_latest_date(entry, now).astimezone(UTC)), entry)
    return list(newest.items())


def _latest_date(entry: Entry, now: datetime) -> datetime:
    """Return the latest moment at which an entry may have been made: what is kept too long does no harm.

    One whose date is later than that of what the server made after it need not have been made when the clock was ahead:
    that one may have been made when it was behind. Nothing but a date that is still to come is certainly wrong.
    """
    return entry.dated if is_ahead(entry, now) else entry.created_at
