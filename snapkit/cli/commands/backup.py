"""``snapkit backup``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from snapkit.cli.arguments import (
    DryRunOption,
    Grace,
    MaxOutage,
    NoDisconnect,
    NoPgbouncer,
    PgbouncerUrl,
    ReplicaUrl,
    StopWorkers,
    StrategyOption,
    Tablespace,
)
from snapkit.cli.dry_run import DryRun, plan_document, print_dry_run
from snapkit.cli.invocation import Invocation
from snapkit.cli.registry import registry
from snapkit.core.server.version import version_text

if TYPE_CHECKING:
    from rich.console import Console

    from snapkit.cli.envelope import Document
    from snapkit.services.backup import BackupPreview, BackupReceipt, BackupRequest


def _text(result: BackupReceipt | DryRun[BackupPreview], console: Console) -> None:
    if isinstance(result, DryRun):
        print_dry_run(result, console, print_backup_preview)
    else:
        print_backup(result, console)


def print_backup(result: BackupReceipt, console: Console) -> None:
    """Print the receipt of a backup."""
    from snapkit.cli.format import size_text
    from snapkit.cli.held_clients import disconnected_facts, paused_text, place_text, times_text
    from snapkit.cli.table import print_facts
    from snapkit.core.durations import duration_text

    address, backup = result.address, result.backup
    rows = [
        ("Source database", backup.source),
        ("Backup database", backup.name),
        ("Server version", f"PostgreSQL {version_text(address.server_version)}"),
        ("Size", size_text(backup.size_bytes)),
        ("Strategy", _strategy(result)),
        ("Clients held", duration_text(result.outage)),
        *disconnected_facts(result.disconnected),
        *[("Standby", place_text(replica)) for replica in result.replicas],
        *[("PgBouncer", paused_text(pooler)) for pooler in result.poolers],
        ("Total time", times_text(result.duration, result.phases)),
    ]
    if backup.label:
        rows.insert(2, ("Label", backup.label))
    console.print("Backup completed.", style="bold green")
    print_facts(rows, console)


def _strategy(result: BackupReceipt) -> str:
    """The method, whether it could do what it is chosen for, and at what speed it went."""
    from snapkit.cli.format import size_text
    from snapkit.services.copying.decision import Choice

    text = result.backup.strategy.value if result.backup.strategy else "unknown"
    copy = result.copy
    if copy.blocks_shared:
        text += ", blocks shared"
    elif copy.were_copied:
        text += ", by a copy of the files: the file system cannot share blocks here"
    elif copy.blocks_shared is False:
        text += ", but the file system seems to share no blocks"
    match result.choice:  # what has to be said of a way that nobody would have expected
        case Choice.OUTAGE_EXPECTED:
            text += ", because a clone would have held clients longer than --max-outage, going by earlier backups"
        case Choice.OUTAGE_REACHED:
            text += ", because a clone reached --max-outage and was given up"
    return text + (f" ({size_text(copy.size)}, {size_text(round(copy.rate))}/s)" if copy.rate is not None else "")


def print_backup_preview(result: BackupPreview, console: Console) -> None:
    """Print for how long a backup would hold clients."""
    if not result.is_held:
        console.print("Clients would not be held.")
    elif result.forecast is None:
        console.print(
            "Clients would be held while the database is cloned. How long is not known before the first such backup."
        )
    else:
        console.print(f"{result.forecast.grounds}, clients would be held for {result.forecast.text}.")


def _data(result: BackupReceipt | DryRun[BackupPreview]) -> Document:
    return backup_preview_document(result.preview) if isinstance(result, DryRun) else backup_document(result)


def backup_preview_document(preview: BackupPreview) -> Document:
    """Return what a backup would do as JSON has it."""
    from snapkit.core.durations import milliseconds

    forecast = preview.forecast
    return plan_document(preview) | {
        "holds_clients": preview.is_held,
        "expected_outage_ms": milliseconds(forecast.duration) if forecast else None,
        "expected_at_least": forecast.at_least if forecast else None,
    }


def backup_document(result: BackupReceipt) -> Document:
    """Return the receipt of a backup as JSON has it."""
    from snapkit.cli.entry_facts import entry_document
    from snapkit.cli.held_clients import held_document, poolers_document, replicas_document

    return {
        "backup": entry_document(result.backup),
        "strategy_reason": result.choice.value,
        **held_document(result),
        "copied_bytes": result.copy.size,
        "bytes_per_second": round(result.copy.rate) if result.copy.rate is not None else None,
        "blocks_shared": result.copy.blocks_shared,
        "host": result.address.host,
        "port": result.address.port,
        "replicas": replicas_document(result.replicas),
        "poolers": poolers_document(result.poolers),
    }


def _names(result: BackupReceipt | DryRun[BackupPreview]) -> Sequence[str] | None:
    return None if isinstance(result, DryRun) else (result.backup.name,)


@registry.command(
    "backup",
    changes=True,
    text=_text,
    data=_data,
    names=_names,
    examples=["snapkit backup --label 'before 0042'", "snapkit backup --dry-run"],
)
def backup(
    run: Invocation,
    *,
    label: Annotated[str | None, typer.Option("--label", metavar="TEXT", help="What this backup is for.")] = None,
    pin: Annotated[
        bool,
        typer.Option(
            "--pin", help="Protect it: prune and delete leave it alone, and a rollback swaps in a clone of it."
        ),
    ] = False,
    strategy: StrategyOption = None,
    tablespace: Tablespace = None,
    no_disconnect: NoDisconnect = False,
    grace: Grace = None,
    max_outage: MaxOutage = None,
    replica_url: ReplicaUrl = None,
    pgbouncer_url: PgbouncerUrl = None,
    no_pgbouncer: NoPgbouncer = False,
    stop_workers: StopWorkers = False,
    dry_run: DryRunOption = False,
) -> BackupReceipt | DryRun[BackupPreview]:
    """Make an exact clone of the database, on the same server."""
    from snapkit.core.inventory.metadata import checked_label

    label = checked_label(label)
    settings = run.settings({"strategy": strategy, "tablespace": tablespace, "grace": grace, "max_outage": max_outage})
    with run.asking_for_deploy() as deploy:
        server = run.server()
        from snapkit.services.backup import BackupRequest, preview_backup
        from snapkit.services.outage.clients import Clients

        request = BackupRequest(
            label=label,
            pinned=pin,
            strategy=settings.strategy,
            tablespace=settings.tablespace,
            clients=Clients(
                hold=settings.hold(disconnect=not no_disconnect),
                standbys=run.replicas(replica_url),
                poolers=run.poolers(pgbouncer_url, without=no_pgbouncer),
            ),
            deploy=deploy(),
            stop_workers=stop_workers,
        )
    if dry_run:
        return DryRun(preview_backup(server, request))
    receipt = back_up_between_hooks(run, request)
    run.note_after(
        f"Roll back with:\n  snapkit rollback {run.as_typed(receipt.backup.name, replica_url, pgbouncer_url)}"
    )
    return receipt


def back_up_between_hooks(run: Invocation, request: BackupRequest) -> BackupReceipt:
    """Make the backup, with progress, between the hooks."""
    from snapkit.cli.run_hooks import hooked
    from snapkit.core.hooks import Operation, facts_after
    from snapkit.services.backup import back_up

    server = run.server()

    def work() -> BackupReceipt:
        with run.terminal.progress(f"Backing up {server.source}") as observe:
            return back_up(server, request, run.settings().lock_wait, observe)

    def facts(receipt: BackupReceipt) -> Mapping[str, str]:
        return facts_after(receipt.backup, None, receipt.outage, receipt.duration)

    return hooked(run, Operation.BACKUP, work, facts=facts, data=backup_document, label=request.label)
