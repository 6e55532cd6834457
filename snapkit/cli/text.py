"""Results as text for people: tables and short receipts."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import singledispatch

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from snapkit.cli.deploy_facts import cost_facts, deploy_facts, fits_facts, migrations_now_facts
from snapkit.cli.dry_run import DemoOutcome, DryRun, Exposition, Script
from snapkit.cli.format import age_text, count_text, printable, printable_lines, size_text, time_text
from snapkit.cli.table import Column, fits, print_table
from snapkit.core.checks.facts import Status
from snapkit.core.client_session import ClientSession
from snapkit.core.durations import duration_text
from snapkit.core.guarding import Health
from snapkit.core.inventory.entry import Entry, how_to_trust
from snapkit.core.inventory.freshness import StatusReport
from snapkit.core.inventory.kinds import Kind, State
from snapkit.core.inventory.metadata import shown_label
from snapkit.core.inventory.retention import Kept
from snapkit.core.outage.hold_rules import Phase
from snapkit.core.outage.standbys import listed_standbys
from snapkit.core.outcome import (
    BackupPreview,
    BackupReceipt,
    Choice,
    Diagnosis,
    EntryReport,
    GuardReceipt,
    Listing,
    PoolerReceipt,
    Recovery,
    Removal,
    RemovalPreview,
    ReplicaReceipt,
    ShellReceipt,
    SwapPreview,
    SwapReceipt,
    each_error_once,
)
from snapkit.core.plans.properties import describe

_CHOICES = {
    Choice.OUTAGE_EXPECTED: ", since a clone would have held clients longer than --max-outage allows, by earlier ones",
    Choice.OUTAGE_REACHED: ", since a clone held clients for as long as --max-outage allows, and was given up",
}
"""What has to be said of a way that nobody would have expected."""

_BAR_WIDTH = 12
_BAR_STYLE = "cyan"
_STATE_STYLES = {
    State.READY: "green",
    State.INVALID: "red",
    State.INCOMPLETE: "yellow",
    State.UNMANAGED: "yellow",
    State.ALTERED: "yellow",
}


@singledispatch
def render(result: object, console: Console) -> None:
    """Print a result to ``console``."""
    raise NotImplementedError(type(result))


@singledispatch
def names_of(result: object) -> Sequence[str]:
    """Return what --quiet leaves of a result: the names of the databases that it is about."""
    return ()


def tells_where(result: object) -> bool:
    """Whether a line about the server belongs to a result: not where all that is printed is for another program."""
    return not isinstance(result, Script | Exposition | ShellReceipt | DemoOutcome)


def _facts(rows: Iterable[tuple[str, str | Text]]) -> RenderableType:
    """Two columns: what, and how it is."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, value if isinstance(value, Text) else printable(value))
    return Padding(table, (0, 0, 0, 2), expand=False)


# --- backup ---------------------------------------------------------------------------------------------------------


@render.register
def _(result: BackupReceipt, console: Console) -> None:
    address, backup = result.address, result.backup
    rows = [
        ("Source database", backup.source),
        ("Backup database", backup.name),
        ("Server version", f"PostgreSQL {_version(address.server_version)}"),
        ("Size", size_text(backup.size_bytes)),
        ("Strategy", _strategy(result)),
        ("Clients held", duration_text(result.outage)),
        *_disconnected(result.disconnected),
        *[("Replica", _place(replica)) for replica in result.replicas],
        *[("PgBouncer", _paused(pooler)) for pooler in result.poolers],
        ("Total time", _times(result.duration, result.phases)),
    ]
    if backup.label:
        rows.insert(2, ("Label", backup.label))
    console.print("Backup completed.", style="bold green")
    console.print(_facts(rows))


def _strategy(result: BackupReceipt) -> str:
    """The method, whether it could do what it is chosen for, and at what speed it went."""
    text = result.backup.strategy.value if result.backup.strategy else "unknown"
    copy = result.copy
    if copy.blocks_shared:
        text += ", blocks shared"
    elif copy.blocks_shared is False:
        text += ", but the file system seems to share no blocks"
    text += _CHOICES.get(result.choice, "")
    return text + (f" ({size_text(copy.size)}, {size_text(round(copy.rate))}/s)" if copy.rate is not None else "")


def _version(number: int) -> str:
    return f"{number // 10000}.{number % 10000}"


def _disconnected(sessions: Sequence[ClientSession]) -> list[tuple[str, str]]:
    """Who was sent out, and whose transaction was ended with that."""
    amid = [session for session in sessions if session.state not in (None, "idle")]
    at_work = f"; at work {'was' if len(amid) == 1 else 'were'} {len(amid)} of them:" if amid else ""
    rows = [("Disconnected", _sessions(sessions) + at_work)]
    rows += [("", f"{session.describe()}: {session.doing()}") for session in amid[:5]]
    return rows + ([("", f"and {len(amid) - 5} more that were at work")] if len(amid) > 5 else [])


def _times(duration: timedelta, phases: Sequence[Phase]) -> str:
    """How long it took, and in which parts; those that a person would not notice are left out."""
    noticeable = [phase for phase in phases if phase.duration >= timedelta(milliseconds=10)]
    parts = ", ".join(f"{phase.name} {duration_text(phase.duration)}" for phase in noticeable)
    return duration_text(duration) + (f" ({parts})" if parts else "")


def _sessions(sessions: Sequence[ClientSession]) -> str:
    if not sessions:
        return "nobody"
    return f"{count_text(len(sessions), 'session')} ({_who(sessions)})"


def _leaving(sessions: Sequence[ClientSession]) -> str:
    return _sessions(sessions) + (", will be disconnected" if sessions else "")


def _place(replica: ReplicaReceipt) -> str:
    return f"{replica.host}:{replica.port}"


def _paused(pooler: PoolerReceipt, when: str = "paused") -> str:
    return f"{pooler.host}:{pooler.port} ({when} {', '.join(pooler.databases)})"


def _who(sessions: Sequence[ClientSession]) -> str:
    """Sessions by application, or by user where an application gave no name; the most frequent first."""
    counts: dict[str, int] = {}
    for session in sessions:
        name = session.application or session.user or "unknown"
        counts[name] = counts.get(name, 0) + 1
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = [name if number == 1 else f"{number} × {name}" for name, number in ordered[:4]]
    return ", ".join(shown + (["…"] if len(ordered) > 4 else []))


@render.register
def _(result: BackupPreview, console: Console) -> None:
    if not result.is_held:
        console.print("Clients would not be held.")
    elif result.forecast is None:
        console.print("Clients would be held while the database is cloned; the first such backup will tell how long.")
    else:
        console.print(f"{result.forecast.grounds}, clients would be held for {result.forecast.text}.")


@names_of.register
def _(result: BackupReceipt) -> Sequence[str]:
    return (result.backup.name,)


# --- list and show --------------------------------------------------------------------------------------------------


@render.register
def _(result: Listing, console: Console) -> None:
    if not result.entries:
        whose = f" of {printable(result.source)}" if result.source else ""
        console.print(f"There are no backups{whose} yet. Make the first one with: snapkit backup")
        return
    columns = next(
        (c for c in (_columns(result, with_time=True), _columns(result, with_time=False)) if fits(c, console)), None
    )
    if columns is not None:
        print_table(columns, console)
    else:
        console.print(_entry_stack(result))
    if result.sized:
        unknown = sum(entry.size_bytes is None for entry in result.entries)
        note = f" (and {unknown} of unknown size)" if unknown else ""
        free = "" if result.free_bytes is None else f"; {size_text(result.free_bytes)} are free on the server's disk"
        total, number = size_text(result.total_bytes), count_text(len(result.entries), "database")
        console.print(f"Total: {total} in {number}{note}{free}")


def _columns(listing: Listing, *, with_time: bool) -> list[Column]:
    """The inventory as a table, with the columns that say something of at least one entry."""
    entries, now = listing.entries, listing.now
    columns = [Column("NAME", [printable(entry.name) for entry in entries])]
    if listing.source is None:
        columns.append(Column("SOURCE", [printable(entry.source) for entry in entries]))
    if with_time:
        columns.append(Column("CREATED (UTC)", [time_text(entry.created_at) for entry in entries]))
    columns.append(Column("AGE", [age_text(entry.created_at, now) for entry in entries]))
    if listing.sized:
        largest = max(entry.size_bytes or 0 for entry in entries)
        columns.append(Column("SIZE", [size_text(entry.size_bytes).rjust(7) for entry in entries]))
        columns.append(Column("", [_bar(entry.size_bytes, largest) for entry in entries], [_BAR_STYLE] * len(entries)))
    columns.append(Column("KIND", [entry.kind.value for entry in entries]))
    states = [entry.state for entry in entries]
    columns.append(Column("STATE", [_state(entry) for entry in entries], [_STATE_STYLES[state] for state in states]))
    if any(entry.pinned for entry in entries):
        columns.append(Column("PINNED", ["yes" if entry.pinned else "" for entry in entries]))
    codes = [entry.deploy.short if entry.deploy else "" for entry in entries]
    if any(codes):
        columns.append(Column("CODE", [printable(code) for code in codes]))
    if any(entry.label for entry in entries):
        columns.append(Column("LABEL", [printable(shown_label(entry.label)) for entry in entries]))
    return columns


def _state(entry: Entry) -> str:
    return entry.state.value + (", open" if entry.opened else "")


def _bar(size: int | None, largest: int) -> str:
    """A bar whose length lets sizes be compared at a glance."""
    filled = round(_BAR_WIDTH * size / largest) if size and largest else 0
    return "━" * max(filled, 1 if size else 0)


def _entry_stack(listing: Listing) -> Group:
    """One entry below the other, for a terminal that is too narrow for the table."""
    largest = max((entry.size_bytes or 0 for entry in listing.entries), default=0)
    lines: list[RenderableType] = []
    for entry in listing.entries:
        lines.append(Text(printable(entry.name), style="bold", overflow="fold"))
        facts = [age_text(entry.created_at, listing.now)]
        if listing.sized:
            facts.append(size_text(entry.size_bytes))
        facts += [entry.kind.value, _state(entry)]
        if entry.pinned:
            facts.append("pinned")
        if entry.deploy and entry.deploy.short:
            facts.append(printable(entry.deploy.short))
        detail = Text(", ".join(facts))
        if listing.sized:
            detail = Text.assemble(detail, " ", (_bar(entry.size_bytes, largest), _BAR_STYLE))
        lines.append(Padding(detail, (0, 0, 0, 2), expand=False))
        if entry.label:
            lines.append(Padding(Text(printable(shown_label(entry.label)), style="italic"), (0, 0, 0, 2), expand=False))
    return Group(*lines)


@names_of.register
def _(result: Listing) -> Sequence[str]:
    return tuple(entry.name for entry in result.entries)


@render.register
def _(result: StatusReport, console: Console) -> None:
    if not result.sources:
        console.print("snapkit has made no backup on this server yet.")
        return
    newest, ages, verdicts, styles = [], [], [], []
    for each in result.sources:
        newest.append(printable(each.newest.name) if each.newest else "none")
        ages.append(age_text(each.newest.created_at, result.now) if each.newest else "")
        is_bad = each.newest is None or each in result.too_old
        verdicts.append("no backup" if each.newest is None else "too old" if is_bad else "ok")
        styles.append("red" if is_bad else "green")
    columns = [
        Column("SOURCE", [printable(each.source) for each in result.sources]),
        Column("BACKUPS", [str(len(each.backups)) for each in result.sources]),
        Column("NEWEST", newest),
        Column("AGE", ages),
    ]
    if result.sized:
        columns.append(Column("BACKUP SIZE", [size_text(each.size(Kind.BACKUP)) for each in result.sources]))
        columns.append(Column("OLD SIZE", [size_text(each.size(Kind.OLD)) for each in result.sources]))
    if result.max_age is not None:
        columns.append(Column("STATUS", verdicts, styles))
    if fits(columns, console):
        print_table(columns, console)
        return
    for row, each in enumerate(result.sources):
        facts = [f"newest {newest[row]} ({ages[row]})", count_text(len(each.backups), "backup")] if each.newest else []
        if result.sized:
            sizes = (("backups", each.size(Kind.BACKUP)), ("old", each.size(Kind.OLD)))
            facts += [f"{name} {size_text(size)}" for name, size in sizes if size]
        verdict = (verdicts[row], styles[row]) if result.max_age is not None or not each.newest else None
        _print_stacked(console, each.source, verdict, facts)


@render.register
def _(result: Exposition, console: Console) -> None:
    console.file.write(result.text)


@render.register
def _(result: EntryReport, console: Console) -> None:
    entry, database = result.entry, result.entry.database
    if result.change:
        label = f" “{printable(shown_label(entry.label))}”" if result.change == "labelled" and entry.label else ""
        console.print(f"{printable(entry.name)} is {result.change}{label}.", style="bold green")
        return
    metadata = entry.metadata
    rows: list[tuple[str, str | Text]] = [
        ("Name", entry.name),
        ("Source", entry.source),
        ("Kind", entry.kind.value),
        ("State", Text(entry.state.value, style=_STATE_STYLES[entry.state])),
        ("Created", f"{time_text(entry.created_at)} UTC ({age_text(entry.created_at, result.now)})"),
        ("Size", size_text(entry.size_bytes)),
        ("Label", entry.label or "none"),
        ("Pinned", (f"yes: {entry.pin_reason}" if entry.pin_reason else "yes") if entry.pinned else "no"),
        *([("Strategy", entry.strategy.value if entry.strategy else "unknown")] if entry.kind is Kind.BACKUP else []),
        ("Sealed", "no: it can be connected to" if database.allow_connections else "yes"),
        ("Owner", database.owner),
        ("Tablespace", database.tablespace),
        *deploy_facts(entry.deploy),
    ]
    if metadata and metadata.gave_way_to:
        rows.append(("Put aside", f"by the rollback to {metadata.gave_way_to}"))
    if entry.altered:
        rows.append(("Altered", f"it {entry.altered}. {how_to_trust(entry)}"))
    if entry.not_given:
        rows.append(("Not given", "; ".join(entry.not_given)))
    if entry.opened:
        rows.append(("Open", f"in a shell: {entry.opened.describe()}"))
    if metadata and metadata.comment:
        rows.append(("Comment", metadata.comment))
    if result.properties:
        rows += list(describe(result.properties))
    console.print(_facts(rows))


@names_of.register
def _(result: EntryReport) -> Sequence[str]:
    return (result.entry.name,)


# --- rollback and undo ----------------------------------------------------------------------------------------------


@render.register
def _(result: SwapPreview, console: Console) -> None:
    plan, entry = result.plan, result.plan.entry
    rows = [("Database", plan.source), ("Goes back to", _origin(entry, result.now)), *fits_facts(entry.deploy)]
    rows += migrations_now_facts(entry.deploy, result.migrations_now)
    if plan.clone is not None:
        rows.append(("Kept", _why_kept(entry)))
    elif entry.kind is Kind.BACKUP:
        label = ", its label too" if entry.label else ""
        rows.append(("Used up", f"this backup{label}; {_left(result.backups_left)} (--keep-backup keeps it)"))
    if plan.displaced_name is not None:
        rows.append(("Live database", f"is put aside as {plan.source}_old_...; nothing is dropped"))
    else:
        rows.append(("Live database", "does not exist; nothing has to be put aside"))
    rows += cost_facts(result.written_since)
    rows += [("Mind", caution.message) for caution in result.cautions]
    rows.append(("Connected now", _leaving(result.sessions)))
    rows += [("On replica", f"{_place(replica)}: {_leaving(replica.disconnected)}") for replica in result.replicas]
    rows += [("PgBouncer", _paused(pooler, "will pause")) for pooler in result.poolers]
    if result.standbys:
        stale = "without --replica-url, sessions there go on reading the displaced database"
        rows.append(("Standbys", f"{listed_standbys(result.standbys)}; {stale}"))
    console.print(_facts(rows))


def _origin(entry: Entry, now: datetime) -> str:
    """Which entry it is, and of when: of a displaced database, by which rollback it came to be one."""
    when = f"{time_text(entry.created_at)} UTC ({age_text(entry.created_at, now)})"
    label = f", label “{shown_label(entry.label)}”" if entry.label else ""
    if entry.kind is Kind.BACKUP:
        return f"{entry.name}, made {when}{label}"
    gave_way_to = entry.metadata.gave_way_to if entry.metadata else None
    rollback = f"the rollback to {gave_way_to}" if gave_way_to else "a rollback"
    return f"{entry.name}{label}, live until {rollback} of {when}"


def _why_kept(entry: Entry) -> str:
    if entry.pinned:
        return f"it is pinned, so a clone of it is swapped in (to save time and room: snapkit unpin {entry.name})"
    return "a clone of it is swapped in"


def _left(backups: int) -> str:
    if not backups:
        return "no backup remains"
    return count_text(backups, "backup") + (" remains" if backups == 1 else " remain")


@render.register
def _(result: SwapReceipt, console: Console) -> None:
    console.print(
        f"{printable(result.source)} is back as of {time_text(result.restored.created_at)} UTC.", style="bold green"
    )
    rows = [("Restored", result.restored.name), *fits_facts(result.restored.deploy)]
    if result.restored_kept:
        rows.append(("Kept", "it is still there; a clone of it was swapped in"))
    elif result.restored.kind is Kind.BACKUP:
        rows.append(("Used up", f"this backup; {_left(result.backups_left)}"))
    if result.displaced is not None:
        rows.append(("Put aside as", result.displaced.name))
        rows += _what_became_of_it(result.displaced, result.was_backup)
    rows += [
        *cost_facts(result.written_since),
        ("Clients held", duration_text(result.outage)),
        *_disconnected(result.disconnected),
        *[("On replica", f"{_place(replica)}: {_sessions(replica.disconnected)}") for replica in result.replicas],
        *[("PgBouncer", _paused(pooler)) for pooler in result.poolers],
        ("Total time", _times(result.duration, result.phases)),
    ]
    console.print(_facts(rows))
    if result.displaced is not None:
        console.print("Bring the other state back with: snapkit undo")


def _what_became_of_it(displaced: Entry, was_backup: str | None) -> list[tuple[str, str]]:
    if was_backup is None:
        return []
    if displaced.kind is Kind.BACKUP:
        return [("Given back", "it is the backup that it was: nothing was written to it while it was live")]
    return [("No backup", f"what was {was_backup} is none any more: it may have been written to while it was live")]


@names_of.register
def _(result: SwapReceipt) -> Sequence[str]:
    return (result.displaced.name,) if result.displaced else ()


# --- guard ----------------------------------------------------------------------------------------------------------


@render.register
def _(result: GuardReceipt, console: Console) -> None:
    if isinstance(result.rollback, SwapReceipt):
        render(result.rollback, console)
    elif result.failure is None:
        health = ", and the health check passed" if result.health is Health.PASSED else ""
        console.print(f"{printable(str(result.command))} went through{health}.", style="bold green")
        console.print(f"To go back all the same: snapkit rollback {printable(result.backup.backup.name)}")
        if result.removal is not None and result.removal.removed:
            removed = result.removal.removed
            console.print(
                f"Pruned: {count_text(len(removed), 'database')}, {size_text(result.removal.freed_bytes)} freed:"
            )
            for entry in removed:
                console.print(
                    f"  {entry.name}" + (f" (label “{printable(shown_label(entry.label))}”)" if entry.label else "")
                )


# --- prune and delete -----------------------------------------------------------------------------------------------


@render.register
def _(result: RemovalPreview, console: Console) -> None:
    failed = tuple(failure.entry for failure in result.failed)
    _print_removal(console, result.removed, result.kept, result.now, goes="goes", failed=failed)
    freed = sum(entry.size_bytes or 0 for entry in result.removed)
    if result.removed or failed:
        cannot = f"; {len(failed)} could not be dropped now:" if failed else "."
        console.print(f"{count_text(len(result.removed), 'database')} to drop, {size_text(freed)} to free{cannot}")
        for error in each_error_once(result.failed):
            said = " ".join(filter(None, (error.message, error.state, error.hint)))
            console.print(Padding(Text(printable_lines(said), overflow="fold"), (0, 0, 0, 2), expand=False))
    else:
        console.print("Nothing to drop.")


@render.register
def _(result: Removal, console: Console) -> None:
    failed = tuple(failure.entry for failure in result.failed)
    if not (result.as_confirmed and console.is_terminal):  # else it stands above already
        _print_removal(console, result.removed, result.kept, result.now, goes="dropped", failed=failed)
    if result.removed or result.failed:
        cannot = f"; {len(failed)} not dropped" if failed else ""
        dropped = count_text(len(result.removed), "database")
        console.print(f"{dropped} dropped, {size_text(result.freed_bytes)} freed{cannot}.")
    else:
        console.print("Nothing to drop.")


def _print_removal(
    console: Console,
    removed: Sequence[Entry],
    kept: Sequence[Kept],
    now: datetime,
    *,
    goes: str,
    failed: Sequence[Entry],
) -> None:
    """One table of what goes and what stays, newest first, and why."""
    rows = [(entry, (goes, "red"), "") for entry in removed]
    rows += [(entry, ("not dropped", "bold red"), "") for entry in failed]
    rows += [(each.entry, ("stays", "green"), "; ".join(each.reasons)) for each in kept if each.reasons]
    rows.sort(key=lambda row: row[0].age_key, reverse=True)
    if not rows:
        return
    columns = [
        Column("NAME", [printable(entry.name) for entry, _, _ in rows]),
        Column("AGE", [age_text(entry.created_at, now) for entry, _, _ in rows]),
        Column("SIZE", [_size(entry).rjust(7) for entry, _, _ in rows]),
        Column("", [fate for _, (fate, _), _ in rows], [style for _, (_, style), _ in rows]),
        Column("WHY", [printable(why) for _, _, why in rows]),
    ]
    if fits(columns, console):
        print_table(columns, console)
        return
    for entry, fate, why in rows:
        _print_stacked(console, entry.name, fate, (age_text(entry.created_at, now), _size(entry), printable(why)))


def _print_stacked(console: Console, name: str, verdict: tuple[str, str] | None, facts: Iterable[str]) -> None:
    """What would be a row of a table, where that is too wide; the verdict is a word and its style."""
    console.print(Text(printable(name), style="bold", overflow="fold"))
    known = ", ".join(filter(None, facts))
    line = Text.assemble(*([verdict] if verdict else []), ": " if verdict and known else "", known, overflow="fold")
    console.print(Padding(line, (0, 0, 0, 2), expand=False))


def _size(entry: Entry) -> str:
    return size_text(entry.size_bytes) if entry.size_bytes is not None else ""


@names_of.register
def _(result: Removal) -> Sequence[str]:
    return tuple(entry.name for entry in result.removed)


@names_of.register
def _(result: DryRun) -> Sequence[str]:
    return names_of(result.preview) if result.preview is not None else ()


@names_of.register
def _(result: SwapPreview) -> Sequence[str]:
    return (result.plan.entry.name,)


@names_of.register
def _(result: RemovalPreview) -> Sequence[str]:
    return tuple(entry.name for entry in result.removed)


@render.register
def _(result: Recovery, console: Console) -> None:
    for pooler in result.resumed:
        names = printable(", ".join(pooler.databases))
        console.print(f"Resumed {names} on the PgBouncer {printable(pooler.host)}:{pooler.port}.")
    for session in result.ended:
        console.print(f"Ended a forgotten session: {printable(session.describe())}")
    for entry in result.removed:
        console.print(Text(f"Dropped {printable(entry.name)}, which an interrupted run had left.", overflow="fold"))
    for entry in result.sealed:
        console.print(Text(f"Sealed {printable(entry.name)}, which was open.", overflow="fold"))
    for entry in result.opened:
        owner = printable(entry.database.owner)
        console.print(Text(f"Opened {printable(entry.name)} to its owner {owner}, for pg_upgrade.", overflow="fold"))
    if result.opened:
        console.print("Seal them again afterwards with: snapkit recover --all")
    if not (result.ended or result.removed or result.failed or result.resumed or result.sealed or result.opened):
        console.print("Nothing is left of interrupted runs.", style="bold green")


@names_of.register
def _(result: Recovery) -> Sequence[str]:
    return tuple(entry.name for entry in result.removed)


@render.register
def _(result: ShellReceipt, console: Console) -> None:
    """Nothing: stdout is the command's."""


# --- doctor ---------------------------------------------------------------------------------------------------------

_CHECK_STYLES = {Status.OK: "green", Status.WARNING: "yellow", Status.PROBLEM: "bold red"}


@render.register
def _(result: Diagnosis, console: Console) -> None:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in result.checks:
        message = Text(printable(check.message))
        if check.hint:
            message.append("\n" + printable(check.hint), style="italic")
        table.add_row(Text(check.status.value, style=_CHECK_STYLES[check.status]), message)
    console.print(table)
    found = count_text(result.problems, "problem") if result.problems else "No problem"
    console.print(f"{found} found. Nothing was changed.", style="bold red" if result.problems else "bold green")


# --- plans ----------------------------------------------------------------------------------------------------------


@render.register
def _(result: DryRun, console: Console) -> None:
    if result.preview is not None:
        render(result.preview, console)
        console.print()
    for number, step in enumerate(result.steps, 1):
        console.print(f"{number}. {printable(step.title)}", style="bold")
        sql = ("BEGIN", *step.sql, "COMMIT") if step.atomic else step.sql
        for statement in sql:
            console.print(Padding(Text(statement + ";", overflow="fold"), (0, 0, 0, 3), expand=False))
    console.print("Dry run: nothing was changed.")


@render.register
def _(result: Script, console: Console) -> None:
    console.file.write(result.sql)


@render.register
def _(result: DemoOutcome, console: Console) -> None:
    if result.database_url is None:
        console.print("The server is stopped, and its data deleted. Play on with: snapkit demo --keep")
        return
    console.print("The server goes on running. Play on with:", style="bold")
    console.print(f"  export DATABASE_URL='{result.database_url}'", soft_wrap=True)
    own = "snapkit" if shutil.which("snapkit") else f"{shlex.quote(sys.executable)} -m snapkit"
    console.print(f"  {own} list --sizes", soft_wrap=True)
    console.print("Stop it, and delete its data, with:", style="bold")
    console.print(f"  {result.stop_command}", soft_wrap=True)
