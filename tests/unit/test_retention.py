from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapkit.core.inventory.entry import Entry
from snapkit.core.inventory.kinds import Kind, State
from snapkit.core.inventory.ordering import in_order
from snapkit.core.inventory.retention import Policy, Verdict, decide
from tests.unit.builders import NOW, make_database, make_entry, make_metadata, utc

BACKUP_RULES = ("last", "within", "daily", "weekly", "monthly")


def backup(at: str, **changes: Any) -> Entry:
    """Return a ready backup of that moment, named by it."""
    moment = utc(at)
    return make_entry(changes.pop("name", f"app_backup_{moment:%Y%m%d_%H%M%S}"), at=moment, **changes)


def old(at: str, **changes: Any) -> Entry:
    moment = utc(at)
    return make_entry(f"app_old_{moment:%Y%m%d_%H%M%S}", kind=Kind.OLD, at=moment, **changes)


def removed(verdict: Verdict) -> set[str]:
    return {entry.name for entry in verdict.removed}


def reasons(verdict: Verdict) -> dict[str, tuple[str, ...]]:
    return {kept.entry.name: kept.reasons for kept in verdict.kept}


def stamps(entries: list[Entry], policy: Policy) -> list[str]:
    """Return what the policy keeps, newest first, as days and hours."""
    return [f"{kept.entry.created_at:%Y-%m-%d %H}" for kept in decide(entries, policy, NOW).kept]


# Tables


@pytest.mark.parametrize(
    ("policy", "kept"),
    [
        (Policy(last=1), ["2026-07-15 11"]),
        (Policy(last=2), ["2026-07-15 11", "2026-07-15 09"]),
        (Policy(last=99), ["2026-07-15 11", "2026-07-15 09", "2026-07-14 23", "2026-07-06 08", "2026-05-31 07"]),
        (Policy(within=timedelta(hours=3)), ["2026-07-15 11", "2026-07-15 09"]),
        (Policy(within=timedelta(hours=2)), ["2026-07-15 11"]),
        (Policy(within=timedelta(minutes=1)), ["2026-07-15 11"]),
        (Policy(daily=1), ["2026-07-15 11"]),
        (Policy(daily=3), ["2026-07-15 11", "2026-07-14 23", "2026-07-06 08"]),
        (Policy(weekly=2), ["2026-07-15 11", "2026-07-06 08"]),
        (Policy(monthly=2), ["2026-07-15 11", "2026-05-31 07"]),
        (Policy(last=2, monthly=2), ["2026-07-15 11", "2026-07-15 09", "2026-05-31 07"]),
    ],
)
def test_rules_keep_the_newest_and_add_up(policy: Policy, kept: list[str]) -> None:
    entries = [
        backup("2026-07-15 11:00"),
        backup("2026-07-15 09:00"),
        backup("2026-07-14 23:59"),
        backup("2026-07-06 08:00"),
        backup("2026-05-31 07:00"),
    ]
    assert stamps(entries, policy) == kept


def test_a_week_is_an_iso_week_across_the_turn_of_the_year() -> None:
    entries = [
        backup("2027-01-04 00:00"),  # Monday, 2027-W01
        backup("2027-01-03 23:59"),  # Sunday, still 2026-W53
        backup("2026-12-31 12:00"),  # 2026-W53
        backup("2026-12-28 00:00"),  # Monday, 2026-W53
        backup("2026-12-27 23:59"),  # Sunday, 2026-W52
        backup("2024-12-30 00:00"),  # Monday, 2025-W01
    ]
    verdict = decide(entries, Policy(weekly=9), utc("2027-01-05"))
    assert reasons(verdict) == {
        "app_backup_20270104_000000": ("weekly 2027-W01",),
        "app_backup_20270103_235900": ("weekly 2026-W53",),
        "app_backup_20261227_235900": ("weekly 2026-W52",),
        "app_backup_20241230_000000": ("weekly 2025-W01",),
    }


def test_periods_are_those_that_hold_backups_however_far_apart() -> None:
    entries = [backup("2026-07-01"), backup("2025-03-01"), backup("2020-02-29"), backup("2019-01-01")]
    assert stamps(entries, Policy(monthly=3)) == ["2026-07-01 00", "2025-03-01 00", "2020-02-29 00"]


def test_every_reason_is_given() -> None:
    verdict = decide(
        [backup("2026-07-15 11:00", pinned=True, pin_reason="audit"), backup("2026-07-15 10:00"), old("2026-07-15")],
        Policy(last=3, within=timedelta(days=1), daily=1, weekly=1, monthly=1, old=1),
        NOW,
    )
    assert reasons(verdict) == {
        "app_backup_20260715_110000": ("pinned: audit", "within the given time"),
        "app_backup_20260715_100000": (
            "last 3",
            "within the given time",
            "daily 2026-07-15",
            "weekly 2026-W29",
            "monthly 2026-07",
        ),
        "app_old_20260715_000000": ("last 1 displaced",),
    }


@pytest.mark.parametrize("policy", [Policy(last=1), Policy(daily=1), Policy(weekly=1), Policy(monthly=1)])
def test_a_pinned_backup_uses_up_no_place(policy: Policy) -> None:
    entries = [backup("2026-07-15 11:00", pinned=True), backup("2026-07-15 10:00"), backup("2026-07-15 09:00")]
    assert stamps(entries, policy) == ["2026-07-15 11", "2026-07-15 10"]


def test_a_pinned_displaced_database_uses_up_no_place() -> None:
    entries = [old("2026-07-15 11:00", pinned=True), old("2026-07-15 10:00"), old("2026-07-15 09:00")]
    assert stamps(entries, Policy(old=1)) == ["2026-07-15 11", "2026-07-15 10"]


def test_an_invalid_backup_counts_for_nothing_and_goes() -> None:
    entries = [backup("2026-07-15 11:00", state=State.INVALID), backup("2026-07-15 10:00"), backup("2026-07-15 09:00")]
    verdict = decide(entries, Policy(last=1), NOW)
    assert removed(verdict) == {"app_backup_20260715_110000", "app_backup_20260715_090000"}


def test_an_invalid_displaced_database_goes_only_with_a_rule_for_these() -> None:
    entries = [old("2026-07-15 11:00", state=State.INVALID), old("2026-07-15 10:00")]
    assert removed(decide(entries, Policy(last=1), NOW)) == set()
    assert removed(decide(entries, Policy(old=1), NOW)) == {"app_old_20260715_110000"}


def test_all_displaced_databases_may_go() -> None:
    assert removed(decide([old("2026-07-15 11:00"), backup("2026-07-15 10:00")], Policy(old=0), NOW)) == {
        "app_old_20260715_110000"
    }


def test_what_is_not_proven_to_be_ours_stays_and_uses_up_no_place() -> None:
    entries = [
        backup("2026-07-15 11:00", managed=False, state=State.UNMANAGED),
        backup("2026-07-15 10:00", managed=False, state=State.INVALID),
        make_entry("app_partial_20260715_113000", kind=Kind.PARTIAL, state=State.INCOMPLETE, managed=False, at=NOW),
        backup("2026-07-15 09:00"),
        backup("2026-07-15 08:00"),
    ]
    verdict = decide(entries, Policy(last=1, old=0), NOW)
    assert reasons(verdict) == {
        "app_partial_20260715_113000": ("under construction",),
        "app_backup_20260715_110000": ("not made by snapkit",),
        "app_backup_20260715_100000": ("not made by snapkit",),
        "app_backup_20260715_090000": ("last 1",),
    }


def test_the_last_ready_backup_says_why_it_stays() -> None:
    verdict = decide([backup("2020-01-01"), backup("2019-01-01")], Policy(within=timedelta(days=1)), NOW)
    assert reasons(verdict) == {"app_backup_20200101_000000": ("the last ready backup",)}
    assert removed(verdict) == {"app_backup_20190101_000000"}


def test_a_pinned_ready_backup_is_a_last_one() -> None:
    entries = [backup("2020-01-01"), backup("2019-01-01", pinned=True)]
    assert removed(decide(entries, Policy(within=timedelta(days=1)), NOW)) == {"app_backup_20200101_000000"}


def test_a_span_longer_than_the_calendar_keeps_everything() -> None:
    entries = [backup("2026-07-15 11:00"), make_entry("ancient", at=datetime.min.replace(tzinfo=UTC))]
    for span in (timedelta.max, timedelta(weeks=142_000_000)):
        assert removed(decide(entries, Policy(within=span), NOW)) == set()


def test_the_given_time_includes_its_first_moment_and_the_future() -> None:
    entries = [backup("2026-07-15 13:00"), backup("2026-07-15 11:00"), backup("2026-07-15 10:59:59")]
    assert stamps(entries, Policy(within=timedelta(hours=1))) == ["2026-07-15 13", "2026-07-15 11"]


def test_within_one_second_the_higher_number_is_kept() -> None:
    names = ["app_backup_20260715_110000", "app_backup_20260715_110000_2", "app_backup_20260715_110000_10"]
    entries = [backup("2026-07-15 11:00", name=name) for name in names]
    for policy in (Policy(last=1), Policy(daily=1)):
        assert removed(decide(entries, policy, NOW)) == set(names[:2])


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({}, "No rule says what to keep. Give at least one, such as --keep 2"),
        ({"last": 0}, "--keep must be at least 1"),
        ({"last": -1}, "--keep must be at least 1"),
        ({"daily": 0}, "--keep-daily must be at least 1"),
        ({"weekly": 0}, "--keep-weekly must be at least 1"),
        ({"monthly": 0}, "--keep-monthly must be at least 1"),
        ({"last": 1, "monthly": -3}, "--keep-monthly must be at least 1"),
        ({"within": timedelta(0)}, "--keep-within must be longer than 0"),
        ({"within": -timedelta(days=1)}, "--keep-within must be longer than 0"),
        ({"old": -1}, "--keep-old must be 0 or more"),
    ],
)
def test_a_policy_that_says_or_asks_for_nothing_is_refused(rules: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        Policy(**rules)


# Properties


@st.composite
def entries_of(draw: st.DrawFn, source: str) -> list[Entry]:
    moments = draw(st.lists(st.integers(0, 24 * 800), max_size=12))
    entries = []
    for number, hours in enumerate(moments, start=1):
        at = NOW - timedelta(hours=hours)
        kind, state, managed = draw(
            st.sampled_from(
                [
                    (Kind.BACKUP, State.READY, True),
                    (Kind.BACKUP, State.READY, True),
                    (Kind.BACKUP, State.READY, True),
                    (Kind.BACKUP, State.INVALID, True),
                    (Kind.BACKUP, State.UNMANAGED, False),
                    (Kind.BACKUP, State.INVALID, False),
                    (Kind.OLD, State.READY, True),
                    (Kind.OLD, State.READY, True),
                    (Kind.OLD, State.INVALID, True),
                    (Kind.PARTIAL, State.INCOMPLETE, False),
                    (Kind.PARTIAL, State.INVALID, False),
                ]
            )
        )
        pinned = draw(st.sampled_from([False, False, True]))
        entries.append(
            make_entry(
                source=source,
                kind=kind,
                state=state,
                at=at,
                managed=managed,
                metadata=make_metadata(source, kind, at, pinned=pinned) if managed else None,
                database=make_database(f"{source}_{kind}_{at:%Y%m%d_%H%M%S}_{number}"),
            )
        )
    return entries


inventories = st.tuples(entries_of("app"), entries_of("shop")).map(lambda both: both[0] + both[1])
numbers = st.none() | st.integers(1, 6)
spans = st.none() | st.integers(1, 24 * 800).map(lambda hours: timedelta(hours=hours))
policies = (
    st.tuples(numbers, spans, numbers, numbers, numbers, st.none() | st.integers(0, 4))
    .filter(lambda rules: any(rule is not None for rule in rules))
    .map(lambda rules: Policy(*rules))
)


@given(inventories, policies)
def test_every_entry_is_either_kept_for_a_reason_or_removed(entries: list[Entry], policy: Policy) -> None:
    verdict = decide(entries, policy, NOW)
    kept = [kept.entry for kept in verdict.kept]
    assert sorted(entry.name for entry in [*kept, *verdict.removed]) == sorted(entry.name for entry in entries)
    assert all(kept.reasons and all(kept.reasons) for kept in verdict.kept)
    for ordered in (kept, list(verdict.removed)):
        assert ordered == sorted(ordered, key=lambda entry: entry.age_key, reverse=True)


@given(inventories, policies)
def test_what_must_never_go_never_goes(entries: list[Entry], policy: Policy) -> None:
    for entry in decide(entries, policy, NOW).removed:
        assert not entry.pinned
        assert entry.metadata is not None
        assert entry.kind is not Kind.PARTIAL
        assert entry.state in (State.READY, State.INVALID)


@given(inventories, policies)
def test_a_source_with_a_ready_backup_keeps_one(entries: list[Entry], policy: Policy) -> None:
    def sources_with_backup(among: list[Entry]) -> set[str]:
        return {entry.source for entry in among if (entry.kind, entry.state) == (Kind.BACKUP, State.READY)}

    kept = [kept.entry for kept in decide(entries, policy, NOW).kept]
    assert sources_with_backup(kept) == sources_with_backup(entries)


@given(inventories, policies, st.sampled_from(BACKUP_RULES), st.integers(1, 12))
def test_adding_or_widening_a_rule_for_backups_removes_no_more(
    entries: list[Entry], policy: Policy, rule: str, number: int
) -> None:
    if not policy.has_backup_rule:
        return
    before = getattr(policy, rule)
    if rule == "within":
        wider: Any = timedelta(days=number) + (before or timedelta(0))
    else:
        wider = number + (before or 0)
    more = replace(policy, **{rule: wider})
    assert removed(decide(entries, more, NOW)) <= removed(decide(entries, policy, NOW))


@given(inventories, policies, st.integers(0, 9))
def test_keeping_more_displaced_databases_removes_no_more(entries: list[Entry], policy: Policy, number: int) -> None:
    if policy.old is not None:
        more = replace(policy, old=policy.old + number)
        assert removed(decide(entries, more, NOW)) <= removed(decide(entries, policy, NOW))


@given(inventories, policies)
def test_displaced_databases_and_backups_are_touched_only_by_rules_of_their_own(
    entries: list[Entry], policy: Policy
) -> None:
    gone = {entry.kind for entry in decide(entries, policy, NOW).removed}
    assert policy.old is not None or Kind.OLD not in gone
    assert policy.has_backup_rule or Kind.BACKUP not in gone


@given(inventories, policies, st.randoms(use_true_random=False))
def test_the_order_of_the_entries_does_not_matter(entries: list[Entry], policy: Policy, random: Any) -> None:
    shuffled = list(entries)
    random.shuffle(shuffled)
    assert decide(shuffled, policy, NOW) == decide(entries, policy, NOW)


@given(inventories, policies)
def test_sources_do_not_matter_to_one_another(entries: list[Entry], policy: Policy) -> None:
    apart = [
        removed(decide([entry for entry in entries if entry.source == source], policy, NOW))
        for source in ("app", "shop")
    ]
    assert removed(decide(entries, policy, NOW)) == apart[0] | apart[1]


@given(inventories, policies)
def test_pruning_twice_removes_nothing_the_second_time(entries: list[Entry], policy: Policy) -> None:
    kept = [kept.entry for kept in decide(entries, policy, NOW).kept]
    assert decide(kept, policy, NOW).removed == ()


def day(at: datetime) -> object:
    return at.date()


def week(at: datetime) -> object:
    return (at.date() - timedelta(days=at.weekday()),)


def month(at: datetime) -> object:
    return at.year, at.month


@pytest.mark.parametrize(("rule", "period_of"), [("daily", day), ("weekly", week), ("monthly", month)])
@given(entries=entries_of("app"), number=st.integers(1, 6))
def test_a_periodic_rule_keeps_the_newest_of_each_of_the_last_periods(
    rule: str, period_of: Any, entries: list[Entry], number: int
) -> None:
    verdict = decide(entries, Policy(**{rule: number}), NOW)  # type: ignore[arg-type]
    counted = [e for e in entries if (e.kind, e.state) == (Kind.BACKUP, State.READY) and not e.pinned]
    expected = set()
    for entry in counted:
        newer = [other for other in counted if other.age_key > entry.age_key]
        later_periods = {period_of(other.created_at) for other in newer}
        if period_of(entry.created_at) not in later_periods and len(later_periods) < number:
            expected.add(entry.name)
    assert {name for name, why in reasons(verdict).items() if any(text.startswith(rule) for text in why)} == expected


def test_a_backup_that_was_renamed_by_hand_is_never_removed() -> None:
    renamed = replace(make_entry("app_keep_this", at=NOW - timedelta(days=9)), bears_its_name=False)
    verdict = decide([renamed, make_entry("app_backup_20260715_110000", at=NOW)], Policy(last=1), NOW)
    assert verdict.removed == ()
    assert ("renamed by hand",) in [each.reasons for each in verdict.kept]


def _altered(at: str, **changes: Any) -> Entry:
    make = old if changes.pop("displaced", False) else backup
    return replace(make(at), state=State.ALTERED, altered="accepts connections")


def test_what_was_altered_takes_no_place_and_goes_when_it_would_go_if_it_were_ready() -> None:
    newest, ready = _altered("2026-07-15 11:00"), backup("2026-07-15 10:00")
    older, oldest = _altered("2026-07-15 09:00"), _altered("2026-07-15 08:00")
    put_aside, gone = _altered("2026-07-14", displaced=True), old("2026-07-13")
    verdict = decide([newest, ready, older, oldest, put_aside, gone], Policy(last=2, old=1), NOW)
    assert reasons(verdict) == {
        newest.name: ("altered; last 2",),
        ready.name: ("last 2",),
        put_aside.name: ("altered; last 1 displaced",),
        gone.name: ("last 1 displaced",),
    }
    assert removed(decide([newest, ready], Policy(last=1), NOW)) == set()
    assert reasons(decide([newest, ready], Policy(last=1), NOW))[ready.name] == ("last 1",)


def test_what_was_renamed_by_hand_takes_no_place_and_is_not_the_last_backup() -> None:
    renamed = replace(make_entry("app_keep_this", at=NOW), bears_its_name=False)
    usable = backup("2026-07-01")
    for policy in (Policy(last=1), Policy(within=timedelta(days=1)), Policy(daily=1)):
        assert removed(decide([renamed, usable], policy, NOW)) == set()


def test_what_the_run_itself_has_made_stays_whatever_the_rules_say() -> None:
    own, newer = backup("2026-07-14"), backup("2026-07-15")
    verdict = decide([own, newer], Policy(last=1), NOW, (own.database.oid,))
    assert reasons(verdict) == {own.name: ("made by this run",), newer.name: ("last 1",)}


def test_a_backup_that_was_made_when_the_clock_was_behind_makes_none_before_it_old() -> None:
    def made(at: str, order: int) -> Entry:
        return backup(at, metadata=replace(make_metadata("app", at=utc(at)), order=order))

    before = [made(f"2026-07-{day}", day) for day in (10, 11, 12, 13)]
    behind, newest = made("1970-01-02", 20), made("2026-07-15 11:00", 21)
    entries = in_order([*before, behind, newest], NOW)
    assert entries[:2] == (newest, behind)
    assert removed(decide(entries, Policy(within=timedelta(days=30)), NOW)) == {behind.name}
    assert removed(decide(entries, Policy(daily=6), NOW)) == set()
    ahead = made("2099-01-01", 5)
    within = decide(in_order([*entries, ahead], NOW), Policy(within=timedelta(days=30)), NOW)
    assert removed(within) == {behind.name, ahead.name}
