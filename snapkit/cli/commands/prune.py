"""``snapkit prune`` and ``snapkit delete``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from snapkit.cli.arguments import AllSources, DropWait, DryRunOption, Yes, no_empty_name
from snapkit.cli.completion import names_where
from snapkit.cli.ctrl_c import deferred
from snapkit.cli.dry_run import DryRun, plan_document, print_dry_run
from snapkit.cli.invocation import Invocation
from snapkit.cli.registry import registry
from snapkit.errors import NOTHING_CHANGED, UsageError

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from rich.console import Console

    from snapkit.cli.envelope import Document
    from snapkit.core.inventory.entry import Entry
    from snapkit.core.inventory.retention import Kept, Policy
    from snapkit.services.prune import Choose, Removal, RemovalPreview
    from snapkit.settings.fields import Settings


def _text(result: Removal | DryRun[RemovalPreview], console: Console) -> None:
    if isinstance(result, DryRun):
        print_dry_run(result, console, _print_preview)
    else:
        print_removal(result, console)


def print_removal(result: Removal, console: Console) -> None:
    """Print what was dropped and what stays."""
    from snapkit.cli.format import count_text, size_text

    failed = tuple(failure.entry for failure in result.failed)
    if not (result.as_confirmed and console.is_terminal):  # else it stands above already
        _print_fates(console, result.removed, result.kept, result.now, goes="dropped", failed=failed)
    if result.removed or result.failed:
        cannot = f"; {len(failed)} not dropped" if failed else ""
        dropped = count_text(len(result.removed), "database")
        console.print(f"{dropped} dropped, {size_text(result.freed_bytes)} freed{cannot}.")
    else:
        console.print("Nothing to drop.")


def _print_preview(result: RemovalPreview, console: Console) -> None:
    from rich.padding import Padding
    from rich.text import Text

    from snapkit.cli.format import count_text, printable_lines, size_text
    from snapkit.services.entries.drop import each_error_once

    failed = tuple(failure.entry for failure in result.failed)
    _print_fates(console, result.removed, result.kept, result.now, goes="goes", failed=failed)
    freed = sum(entry.size_bytes or 0 for entry in result.removed)
    if result.removed or failed:
        cannot = f"; {len(failed)} cannot be dropped now:" if failed else "."
        console.print(f"{count_text(len(result.removed), 'database')} to drop, {size_text(freed)} to free{cannot}")
        for error in each_error_once(result.failed, "would not be dropped"):
            said = " ".join(filter(None, (error.message, error.state, error.hint)))
            console.print(Padding(Text(printable_lines(said), overflow="fold"), (0, 0, 0, 2), expand=False))
    else:
        console.print("Nothing to drop.")


def _print_fates(
    console: Console,
    removed: Sequence[Entry],
    kept: Sequence[Kept],
    now: datetime,
    *,
    goes: str,
    failed: Sequence[Entry],
) -> None:
    """One table of what goes and what stays, newest first, and why."""
    from snapkit.cli.format import age_text, printable
    from snapkit.cli.table import Column, fits, print_stacked, print_table

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
        facts = (age_text(entry.created_at, now), _size(entry), printable(why))
        print_stacked(entry.name, fate, facts, console)


def _size(entry: Entry) -> str:
    from snapkit.cli.format import size_text

    return size_text(entry.size_bytes) if entry.size_bytes is not None else ""


def _data(result: Removal | DryRun[RemovalPreview]) -> Document:
    from snapkit.cli.entry_facts import entry_document, failed_document

    if not isinstance(result, DryRun):
        return removal_document(result)
    preview = result.preview
    return plan_document(preview) | {
        "kept": _kept(preview.kept),
        "removed": [entry_document(entry) for entry in preview.removed],
        "failed": failed_document(preview.failed),
    }


def removal_document(result: Removal) -> Document:
    """Return what was dropped and what stays as JSON has it."""
    from snapkit.cli.entry_facts import entry_document, failed_document

    return {
        "kept": _kept(result.kept),
        "removed": [entry_document(entry) for entry in result.removed],
        "failed": failed_document(result.failed),
        "freed_bytes": result.freed_bytes,
    }


def _kept(kept: Sequence[Kept]) -> list[Document]:
    from snapkit.cli.entry_facts import entry_document

    return [{"entry": entry_document(each.entry), "reasons": list(each.reasons)} for each in kept]


def _names(result: Removal | DryRun[RemovalPreview]) -> Sequence[str]:
    told = result.preview if isinstance(result, DryRun) else result
    return tuple(entry.name for entry in told.removed)


@registry.command(
    "prune",
    changes=True,
    text=_text,
    data=_data,
    names=_names,
    examples=["snapkit prune --keep 2 --dry-run", "snapkit prune --keep-daily 7 --keep-weekly 4"],
)
def prune(
    run: Invocation,
    *,
    keep: Annotated[str | None, typer.Option("--keep", metavar="N", help="Keep the newest N.")] = None,
    keep_within: Annotated[
        str | None,
        typer.Option("--keep-within", metavar="DURATION", help="Keep all that are younger than this, such as 7d."),
    ] = None,
    keep_daily: Annotated[
        str | None,
        typer.Option("--keep-daily", metavar="N", help="Keep the newest of each of the last N days that have backups."),
    ] = None,
    keep_weekly: Annotated[
        str | None, typer.Option("--keep-weekly", metavar="N", help="The same for ISO weeks.")
    ] = None,
    keep_monthly: Annotated[
        str | None, typer.Option("--keep-monthly", metavar="N", help="The same for months.")
    ] = None,
    keep_old: Annotated[
        str | None,
        typer.Option("--keep-old", metavar="N", help="Keep the newest N displaced databases. [default: all]"),
    ] = None,
    all_sources: AllSources = False,
    drop_wait: DropWait = None,
    dry_run: DryRunOption = False,
    yes: Yes = False,
) -> Removal | DryRun[RemovalPreview]:
    """Drop the backups that no rule keeps.

    A backup stays if any rule keeps it.
    """
    settings = run.settings(
        {
            "keep": keep,
            "keep_within": keep_within,
            "keep_daily": keep_daily,
            "keep_weekly": keep_weekly,
            "keep_monthly": keep_monthly,
            "keep_old": keep_old,
            "drop_wait": drop_wait,
        }
    )
    policy = policy_of(settings, "prune")
    server = run.server()

    from snapkit.services.prune import choose_by_policy

    source = None if all_sources else server.source
    return _remove(run, choose_by_policy(policy, source), settings.drop_wait, dry_run=dry_run, yes=yes)


@registry.command(
    "delete", changes=True, text=_text, data=_data, names=_names, examples=["snapkit delete 153124 'before 0042'"]
)
def delete(
    run: Invocation,
    *,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME...]",
            help="Whole names, timestamp parts or ends of those (153124), or labels.",
            autocompletion=names_where(lambda entry: not entry.pinned and entry.state != "unmanaged"),
        ),
    ] = None,
    latest: Annotated[bool, typer.Option("--latest", help="The newest backup that is ready, too.")] = False,
    drop_wait: DropWait = None,
    dry_run: DryRunOption = False,
    yes: Yes = False,
) -> Removal | DryRun[RemovalPreview]:
    """Drop the named backups."""
    if not names and not latest:
        raise UsageError(
            "Say which backups: give their names, or --latest.", state=NOTHING_CHANGED, hint="snapkit list"
        )
    names = [no_empty_name(name) for name in names or ()]
    wait = run.settings({"drop_wait": drop_wait}).drop_wait
    server = run.server()
    from snapkit.services.prune import choose_by_name

    return _remove(run, choose_by_name(names, server.source, latest=latest), wait, dry_run=dry_run, yes=yes)


def policy_of(settings: Settings, command: str) -> Policy:
    """Return the rules that the settings name; raise UsageError if they cannot be."""
    from snapkit.core.inventory.retention import Policy

    try:
        return Policy(
            settings.keep,
            settings.keep_within,
            settings.keep_daily,
            settings.keep_weekly,
            settings.keep_monthly,
            settings.keep_old,
        )
    except ValueError as error:
        raise UsageError(f"{error}.", state=NOTHING_CHANGED, hint=f"snapkit {command} --help") from None


def _remove(
    run: Invocation, choose: Choose, drop_wait: timedelta, *, dry_run: bool, yes: bool
) -> Removal | DryRun[RemovalPreview]:
    from snapkit.services.prune import preview_removal

    server = run.server()
    if dry_run:
        return DryRun(preview_removal(server, choose))
    confirmed = None
    if run.asks(yes):
        confirmed = preview_removal(server, choose)
        if confirmed.removed:
            run.show(partial(_print_preview, confirmed))
            run.confirm("Drop them? This cannot be undone.")
    return drop(run, choose, drop_wait, confirmed)


def drop(run: Invocation, choose: Choose, drop_wait: timedelta, confirmed: RemovalPreview | None = None) -> Removal:
    """Drop what is chosen, with progress; Ctrl-C waits until the drop that is under way is done."""
    from snapkit.services.prune import remove

    server = run.server()
    told = "This drop is finished first. Ctrl-C again interrupts it; after 5 s it is interrupted anyway."
    with run.terminal.progress("Dropping") as observe:
        shielded = partial(deferred, lambda: run.terminal.note(told))
        return remove(
            server,
            choose,
            run.settings().lock_wait,
            confirmed=confirmed,
            observe=observe,
            shielded=shielded,
            drop_wait=drop_wait,
        )
