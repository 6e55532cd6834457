"""``snapkit rollback`` and ``snapkit undo``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from snapkit.cli.arguments import (
    DryRunOption,
    Grace,
    Latest,
    MaxOutage,
    NoDisconnect,
    NoPgbouncer,
    PgbouncerUrl,
    ReadyName,
    ReplicaUrl,
    StopWorkers,
    Yes,
    wanted_of,
)
from snapkit.cli.carried import carried_document, carrying_tables, check_carry, print_carried
from snapkit.cli.dry_run import DryRun, plan_document, print_dry_run
from snapkit.cli.format import age_text, count_text, printable
from snapkit.cli.invocation import Invocation
from snapkit.cli.registry import registry
from snapkit.core.inventory.kinds import Kind
from snapkit.core.outcome import Outcome
from snapkit.core.utc import utc_text
from snapkit.core.values import dataclass

if TYPE_CHECKING:
    from datetime import datetime

    from rich.console import Console

    from snapkit.cli.envelope import Document
    from snapkit.core.inventory.entry import Entry
    from snapkit.core.plans.swap import SwapPlan
    from snapkit.services.guard import GuardRollback
    from snapkit.services.rollback import SwapPreview, SwapReceipt, SwapRequest


@dataclass(frozen=True, slots=True)
class Script(Outcome):
    """A script for psql."""

    sql: str
    tells_where: ClassVar[bool] = False


def _text(result: SwapReceipt | DryRun[SwapPreview] | Script, console: Console) -> None:
    if isinstance(result, Script):
        console.file.write(result.sql)
    elif isinstance(result, DryRun):
        print_dry_run(result, console, _print_preview)
    else:
        print_swap(result, console)


def _print_preview(result: SwapPreview, console: Console) -> None:
    from snapkit.cli.deploy_facts import cost_facts, fits_facts, migrations_now_facts
    from snapkit.cli.held_clients import leaving_text, paused_text, place_text
    from snapkit.cli.table import print_facts
    from snapkit.core.outage.standbys import listed_standbys

    plan, entry = result.plan, result.plan.entry
    rows = [("Database", plan.source), ("Goes back to", _origin(entry, result.now)), *fits_facts(entry.deploy)]
    rows += migrations_now_facts(entry.deploy, result.migrations_now)
    if plan.clone is not None:
        rows.append(("Kept", _why_kept(entry)))
    elif entry.kind is Kind.BACKUP:
        label = ", with its label" if entry.label else ""
        rows.append(("Used up", f"this backup{label}; {_left(result.backups_left)} (to keep this one: --keep-backup)"))
    if plan.displaced_name is not None:
        rows.append(("Live database", f"is kept as {plan.source}_old_...; nothing is dropped"))
    else:
        rows.append(("Live database", "does not exist"))
    rows += cost_facts(result.written_since)
    rows += [("Mind", caution.message) for caution in result.cautions]
    rows.append(("Connected now", leaving_text(result.sessions)))
    rows += [
        ("On standby", f"{place_text(replica)}: {leaving_text(replica.disconnected)}") for replica in result.replicas
    ]
    rows += [("PgBouncer", paused_text(pooler, "will pause")) for pooler in result.poolers]
    if result.standbys:
        stale = "without --replica-url, sessions there go on reading the displaced database"
        rows.append(("Standbys", f"{listed_standbys(result.standbys)}; {stale}"))
    print_facts(rows, console)


def _origin(entry: Entry, now: datetime) -> str:
    """Which entry it is, and of when: of a displaced database, by which rollback it came to be one."""
    from snapkit.core.inventory.metadata import shown_label

    when = f"{utc_text(entry.created_at)} UTC ({age_text(entry.created_at, now)})"
    label = f", label “{shown_label(entry.label)}”" if entry.label else ""
    if entry.kind is Kind.BACKUP:
        return f"{entry.name}, made {when}{label}"
    gave_way_to = entry.metadata.gave_way_to if entry.metadata else None
    rollback = f"the rollback to {gave_way_to}" if gave_way_to else "a rollback"
    return f"{entry.name}{label}, live until {rollback} at {when}"


def _why_kept(entry: Entry) -> str:
    if entry.pinned:
        return f"it is pinned, so a clone of it is swapped in (to save time and room: snapkit unpin {entry.name})"
    return "a clone of it is swapped in"


def _left(backups: int) -> str:
    if not backups:
        return "no backup remains"
    return count_text(backups, "backup") + (" remains" if backups == 1 else " remain")


def print_swap(result: SwapReceipt, console: Console) -> None:
    """Print the receipt of a rollback or an undo."""
    from snapkit.cli.deploy_facts import cost_facts, fits_facts
    from snapkit.cli.held_clients import disconnected_facts, paused_text, place_text, sessions_text, times_text
    from snapkit.cli.table import print_facts
    from snapkit.core.durations import duration_text

    console.print(
        f"{printable(result.source)} is now as it was at {utc_text(result.restored.created_at)} UTC.",
        style="bold green",
    )
    rows = [("Restored", result.restored.name), *fits_facts(result.restored.deploy)]
    if result.restored_kept:
        rows.append(("Kept", "it is still there; a clone of it was swapped in"))
    elif result.restored.kind is Kind.BACKUP:
        rows.append(("Used up", f"this backup; {_left(result.backups_left)}"))
    if result.displaced is not None:
        rows.append(("Displaced", result.displaced.name))
        rows += _what_became_of_it(result.displaced, result.was_backup)
    rows += [
        *cost_facts(result.written_since),
        ("Clients held", duration_text(result.outage)),
        *disconnected_facts(result.disconnected),
        *[
            ("On standby", f"{place_text(replica)}: {sessions_text(replica.disconnected)}")
            for replica in result.replicas
        ],
        *[("PgBouncer", paused_text(pooler)) for pooler in result.poolers],
        ("Total time", times_text(result.duration, result.phases)),
    ]
    print_facts(rows, console)
    if result.carried is not None:
        print_carried(result.carried, console)
    if result.displaced is not None:
        console.print("To take this back: snapkit undo")


def _what_became_of_it(displaced: Entry, was_backup: str | None) -> list[tuple[str, str]]:
    if was_backup is None:
        return []
    if displaced.kind is Kind.BACKUP:
        return [("Given back", "it is a backup again: nothing was written to it while it was live")]
    return [("No backup", f"{was_backup} is no backup any more: it may have been written to while it was live")]


def _data(result: SwapReceipt | DryRun[SwapPreview] | Script) -> Document:
    if isinstance(result, Script):
        return {"sql": result.sql}
    if not isinstance(result, DryRun):
        return swap_document(result)
    from snapkit.cli.deploy_facts import migration_document, written_document
    from snapkit.cli.entry_facts import entry_document

    preview = result.preview
    return plan_document(preview) | {
        "restored": entry_document(preview.plan.entry),
        "written_since": written_document(preview.written_since),
        "migrations_now": [migration_document(each) for each in preview.migrations_now],
    }


def swap_document(result: SwapReceipt) -> Document:
    """Return the receipt of a rollback or an undo as JSON has it."""
    from snapkit.cli.deploy_facts import written_document
    from snapkit.cli.entry_facts import entry_document
    from snapkit.cli.held_clients import held_document, poolers_document, replicas_document

    displaced = entry_document(result.displaced) if result.displaced else None
    return {
        "source": result.source,
        "restored": entry_document(result.restored),
        "restored_kept": result.restored_kept,
        "backups_left": result.backups_left,
        "displaced": displaced,
        **held_document(result),
        "replicas": replicas_document(result.replicas),
        "poolers": poolers_document(result.poolers),
        "written_since": written_document(result.written_since),
        **(carried_document(result.carried, displaced) if result.carried else {}),
    }


def _names(result: SwapReceipt | DryRun[SwapPreview] | Script) -> Sequence[str] | None:
    if isinstance(result, Script):
        return None
    if isinstance(result, DryRun):
        return (result.preview.plan.entry.name,)
    return (result.displaced.name,) if result.displaced else ()


@registry.command(
    "rollback",
    changes=True,
    text=_text,
    data=_data,
    names=_names,
    examples=["snapkit rollback --latest", "snapkit rollback 153124 --dry-run"],
)
def rollback(
    run: Invocation,
    *,
    name: ReadyName = None,
    latest: Latest = False,
    keep_backup: Annotated[
        bool, typer.Option("--keep-backup", help="Swap in a clone of the backup, and keep the backup.")
    ] = False,
    no_disconnect: NoDisconnect = False,
    grace: Grace = None,
    max_outage: MaxOutage = None,
    replica_url: ReplicaUrl = None,
    pgbouncer_url: PgbouncerUrl = None,
    no_pgbouncer: NoPgbouncer = False,
    stop_workers: StopWorkers = False,
    dry_run: DryRunOption = False,
    carry: Annotated[
        bool,
        typer.Option("--carry", help="Bring along what clients wrote since the backup; the backup is kept."),
    ] = False,
    carry_table: Annotated[
        list[str] | None,
        typer.Option(
            "--carry-table",
            metavar="PATTERN",
            help="With --carry: a table to which only clients have written. Repeatable.",
        ),
    ] = None,
    sql: Annotated[bool, typer.Option("--sql", help="Print a script for psql, and change nothing.")] = False,
    yes: Yes = False,
) -> SwapReceipt | DryRun[SwapPreview] | Script:
    """Swap a backup in for the live database, which is kept."""
    wanted = wanted_of(name, latest)
    check_carry(carry, carry_table, sql=sql)
    with run.asking_for_deploy() as deploy:
        replicas = run.replicas(replica_url)
        from snapkit.services.outage.clients import Clients
        from snapkit.services.rollback import SwapRequest

        request = SwapRequest(
            wanted=wanted,
            keep_backup=keep_backup,
            clients=Clients(
                hold=run.settings({"grace": grace, "max_outage": max_outage}).hold(disconnect=not no_disconnect),
                standbys=replicas,
                poolers=run.poolers(pgbouncer_url, without=no_pgbouncer),
            ),
            code=deploy().git,
            stop_workers=stop_workers,
            carry=carrying_tables(carry_table) if carry else None,
        )
    return _swap(run, request, dry_run=dry_run, sql=sql, yes=yes)


@registry.command("undo", changes=True, text=_text, data=_data, names=_names, examples=["snapkit undo"])
def undo(
    run: Invocation,
    *,
    grace: Grace = None,
    max_outage: MaxOutage = None,
    replica_url: ReplicaUrl = None,
    pgbouncer_url: PgbouncerUrl = None,
    no_pgbouncer: NoPgbouncer = False,
    stop_workers: StopWorkers = False,
    dry_run: DryRunOption = False,
    yes: Yes = False,
) -> SwapReceipt | DryRun[SwapPreview] | Script:
    """Take back the last rollback."""
    replicas = run.replicas(replica_url)
    from snapkit.services.outage.clients import Clients
    from snapkit.services.rollback import SwapRequest

    hold = run.settings({"grace": grace, "max_outage": max_outage}).hold(disconnect=True)
    request = SwapRequest(
        undo=True,
        clients=Clients(hold, replicas, run.poolers(pgbouncer_url, without=no_pgbouncer)),
        stop_workers=stop_workers,
    )
    return _swap(run, request, dry_run=dry_run, sql=False, yes=yes)


def _swap(
    run: Invocation, request: SwapRequest, *, dry_run: bool, sql: bool, yes: bool
) -> SwapReceipt | DryRun[SwapPreview] | Script:
    from snapkit.services.rollback import preview_swap, script_of_swap

    server = run.server()
    if sql:
        return Script(script_of_swap(server, request))
    if dry_run:
        return DryRun(preview_swap(server, request))
    confirmed = None
    if run.asks(yes):
        preview = preview_swap(server, request)
        run.show(partial(_print_preview, preview))
        run.confirm(
            f"Roll {server.source} back?" if not request.undo else f"Take back the last rollback of {server.source}?"
        )
        confirmed = preview.plan
    return swap_in(run, request, confirmed)


def swap_in(
    run: Invocation,
    request: SwapRequest,
    confirmed: SwapPlan | None,
    *,
    entry: Entry | None = None,
    guard_rollback: GuardRollback | None = None,
) -> SwapReceipt:
    """Swap, with progress, between the hooks.

    A guard's ``guard_rollback`` makes the plan to hold to, and ``entry`` is known then.
    """
    from snapkit.cli.run_hooks import hooked
    from snapkit.core.hooks import Operation, facts_after
    from snapkit.services.rollback import preview_swap, swap

    server = run.server()
    told = f"Rolling {server.source} back"

    def look() -> Entry:
        """Settle what is to be swapped in, whatever the hook that is told of it does meanwhile."""
        nonlocal confirmed, request
        if guard_rollback is not None:
            with run.terminal.progress(told) as observe:
                return guard_rollback.decide(observe).entry
        confirmed = confirmed or preview_swap(server, request).plan
        if not request.undo:
            request = replace(request, wanted=confirmed.entry.name)
        return confirmed.entry

    def work() -> SwapReceipt:
        lock_wait = run.settings().lock_wait
        with run.terminal.progress(told) as observe:
            if guard_rollback is None:
                return swap(server, request, lock_wait, observe, confirmed=confirmed)
            return guard_rollback.take(
                lambda plan, persistence: swap(
                    server, request, lock_wait, observe, confirmed=plan, persistence=persistence
                ),
                observe,
            )

    def facts(receipt: SwapReceipt) -> Mapping[str, str]:
        return facts_after(receipt.restored, receipt.displaced, receipt.outage, receipt.duration)

    known = confirmed.entry if confirmed else entry
    operation = Operation.UNDO if request.undo else Operation.ROLLBACK
    return hooked(run, operation, work, facts=facts, data=swap_document, entry=known, look=look)
