"""``snapkit guard``."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from snapkit.cli.arguments import (
    DropWait,
    DryRunOption,
    Grace,
    MaxOutage,
    NoPgbouncer,
    PgbouncerUrl,
    ReplicaUrl,
    ShowCommand,
    StopWorkers,
    StrategyOption,
    Tablespace,
)
from snapkit.cli.commands.backup import backup_preview_document, print_backup_preview
from snapkit.cli.dry_run import DryRun, print_dry_run
from snapkit.cli.invocation import Invocation
from snapkit.cli.registry import registry
from snapkit.errors import NOTHING_CHANGED, SnapkitError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from snapkit.cli.envelope import Document
    from snapkit.core.inventory.entry import Entry
    from snapkit.core.inventory.retention import Policy
    from snapkit.services.backup import BackupPreview
    from snapkit.services.guard import GuardReceipt
    from snapkit.services.rollback import SwapRequest
    from snapkit.settings.fields import Settings


def _text(result: GuardReceipt | DryRun[BackupPreview], console: Console) -> None:
    if isinstance(result, DryRun):
        print_dry_run(result, console, print_backup_preview)
    else:
        _print_receipt(result, console)


def _print_receipt(result: GuardReceipt, console: Console) -> None:
    from snapkit.cli.commands.rollback import print_swap
    from snapkit.cli.format import count_text, printable, size_text
    from snapkit.core.guarding import Health
    from snapkit.core.inventory.metadata import shown_label
    from snapkit.services.rollback import SwapReceipt

    if isinstance(result.rollback, SwapReceipt):
        print_swap(result.rollback, console)
    elif result.failure is None:
        health = ", and the health check passed" if result.health is Health.PASSED else ""
        console.print(f"{printable(str(result.command))} succeeded{health}.", style="bold green")
        console.print(f"To roll back anyway: snapkit rollback {printable(result.backup.backup.name)}")
        if result.removal is not None and result.removal.removed:
            removed = result.removal.removed
            console.print(
                f"Pruned: {count_text(len(removed), 'database')}, {size_text(result.removal.freed_bytes)} freed:"
            )
            for entry in removed:
                console.print(
                    f"  {entry.name}" + (f" (label “{printable(shown_label(entry.label))}”)" if entry.label else "")
                )


def _data(result: GuardReceipt | DryRun[BackupPreview]) -> Document:
    if isinstance(result, DryRun):
        return backup_preview_document(result.preview)
    return _receipt_document(result)


_CARRIED = ("carried", "not_carried")
"""What guard tells of late writes itself, as rollback does."""


def _receipt_document(result: GuardReceipt) -> Document:
    from snapkit.cli.commands.prune import removal_document
    from snapkit.cli.commands.rollback import swap_document
    from snapkit.cli.entry_facts import entry_document
    from snapkit.core.durations import milliseconds
    from snapkit.services.rollback import SwapReceipt

    swap = swap_document(result.rollback) if isinstance(result.rollback, SwapReceipt) else None
    return {
        "backup": entry_document(result.backup.backup),
        "backup_outage_ms": milliseconds(result.backup.outage),
        "command": list(result.command.shown),
        "command_words": result.command.words,
        "command_exit_code": result.command_exit_code,
        "health": result.health.value,
        "rollback": swap,
        "prune": removal_document(result.removal) if result.removal else None,
        **({key: swap[key] for key in _CARRIED if key in swap} if swap else {}),
    }


@registry.command(
    "guard",
    changes=True,
    text=_text,
    data=_data,
    runs_words=True,
    examples=[
        "snapkit guard -- alembic upgrade head",
        "snapkit guard --dry-run -- alembic upgrade head",
        "snapkit guard --health-url https://app.example/health -- ./deploy",
    ],
)
def guard(
    run: Invocation,
    *,
    command: Annotated[
        list[str], typer.Argument(metavar="-- COMMAND...", help="What to run, such as: -- alembic upgrade head")
    ],
    label: Annotated[str | None, typer.Option("--label", metavar="TEXT", help="What the backup is for.")] = None,
    health_command: Annotated[
        str | None,
        typer.Option("--health-command", metavar="CMD", help="A shell command that ends with 0 once all is well."),
    ] = None,
    health_url: Annotated[
        str | None, typer.Option("--health-url", metavar="URL", help="A URL that answers 2xx once all is well.")
    ] = None,
    health_timeout: Annotated[
        str | None,
        typer.Option("--health-timeout", metavar="DURATION", help="How long to try the health check. [default: 60s]"),
    ] = None,
    on_failure: Annotated[
        str | None,
        typer.Option(
            "--on-failure",
            metavar="WHAT",
            help="rollback, or keep: leave the database as the command left it. [default: rollback]",
        ),
    ] = None,
    rollback_wait: Annotated[
        str | None,
        typer.Option(
            "--rollback-wait",
            metavar="DURATION",
            help="How long to try the rollback again while something is in its way. [default: 10m]",
        ),
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option("--keep", metavar="N", help="If all is well, keep the newest N backups and drop the others."),
    ] = None,
    keep_old: Annotated[
        str | None,
        typer.Option(
            "--keep-old", metavar="N", help="If all is well, keep the newest N displaced databases and drop the others."
        ),
    ] = None,
    strategy: StrategyOption = None,
    tablespace: Tablespace = None,
    grace: Grace = None,
    max_outage: MaxOutage = None,
    replica_url: ReplicaUrl = None,
    pgbouncer_url: PgbouncerUrl = None,
    no_pgbouncer: NoPgbouncer = False,
    drop_wait: DropWait = None,
    stop_workers: StopWorkers = False,
    allow_unreplicated: Annotated[
        bool,
        typer.Option(
            "--allow-unreplicated",
            help="Run the command even if no synchronous standby has confirmed the backup.",
        ),
    ] = False,
    carry: Annotated[
        bool,
        typer.Option("--carry", help="With a rollback, bring along what clients wrote after the command had ended."),
    ] = False,
    carry_clone: Annotated[
        bool,
        typer.Option(
            "--carry-clone",
            help="With --carry: make a backup when the command has ended, to tell late writes from its own.",
        ),
    ] = False,
    show_command: ShowCommand = False,
    dry_run: DryRunOption = False,
) -> GuardReceipt | DryRun[BackupPreview]:
    """Back up, run a command, and roll back if it fails."""
    from snapkit.core.guarding import OnFailure
    from snapkit.core.inventory.metadata import checked_label

    label = checked_label(label)
    if carry_clone and not carry:
        raise UsageError("--carry-clone goes with --carry.", state=NOTHING_CHANGED)
    settings = run.settings(
        {
            "health_command": health_command,
            "health_url": health_url,
            "health_timeout": health_timeout,
            "on_failure": on_failure,
            "rollback_wait": rollback_wait,
            "keep": keep,
            "keep_old": keep_old,
            "drop_wait": drop_wait,
            "strategy": strategy,
            "tablespace": tablespace,
            "grace": grace,
            "max_outage": max_outage,
        }
    )
    from snapkit.cli.carried import noting_the_end
    from snapkit.cli.commands.backup import back_up_between_hooks
    from snapkit.cli.commands.prune import drop
    from snapkit.cli.commands.rollback import swap_in

    policy = _policy(settings)
    carries = carry and settings.on_failure is OnFailure.ROLLBACK
    from snapkit.processes.foreground import find_command
    from snapkit.processes.health import HealthChecks

    found = find_command(command)
    checks = HealthChecks(settings.health_command, settings.health_url, settings.health_timeout)
    with run.asking_for_deploy() as deploy:
        server = run.server()
        from snapkit.cli.commands.guard_steps import TerminalSteps
        from snapkit.cli.run_hooks import tell_failure
        from snapkit.core.hooks import Operation
        from snapkit.core.secrets import shown_command
        from snapkit.services.backup import BackupRequest
        from snapkit.services.guard import guard as guard_
        from snapkit.services.guard import preview_guard
        from snapkit.services.outage.clients import Clients
        from snapkit.services.prune import choose_by_policy
        from snapkit.services.rollback import SwapRequest

        hold, standbys = settings.hold(disconnect=True), run.replicas(replica_url)
        clients = Clients(hold, standbys, run.poolers(pgbouncer_url, without=no_pgbouncer))
        request = BackupRequest(
            label=label,
            pinned=False,
            strategy=settings.strategy,
            tablespace=settings.tablespace,
            clients=clients,
            deploy=deploy(),
            stop_workers=stop_workers,
        )

    shown = shown_command(command, in_full=show_command)
    if dry_run:
        preview = preview_guard(
            server, request, shown, settings.on_failure, checks=checks.any, prunes=policy is not None, carries=carries
        )
        return DryRun(preview)

    def request_for(backup: Entry) -> SwapRequest:
        # Asked for anew: the command may have checked out another commit, as deploys do.
        with run.asking_for_deploy() as deploy:
            code = deploy().git
        return SwapRequest(
            backup.name,
            clients=replace(clients, needed=False),
            code=code,
            own=backup.database.oid,
            stop_workers=True,  # the way back is taken, whatever the command has started
        )

    with ExitStack() as until_the_end:
        steps = TerminalSteps(
            invocation=run,
            command=shown,
            found=found,
            checks=checks,
            named_in_dotenv=settings.connection.named_in_dotenv,
            make_backup=lambda claim: back_up_between_hooks(run, replace(request, claim=claim)),
            request_for=request_for,
            swap_in=lambda request, entry, guard_rollback: swap_in(
                run, request, None, entry=entry, guard_rollback=guard_rollback
            ),
            drop=lambda made: (
                drop(run, choose_by_policy(policy, server.source, made), settings.drop_wait) if policy else None
            ),
            rollback_wait=settings.rollback_wait,
            noting=noting_the_end(run, request, clones=carry_clone) if carries else None,
            until_the_end=until_the_end,
            allow_unreplicated=allow_unreplicated,
        )
        receipt = guard_(steps, settings.on_failure)
        if receipt.shortfall and not isinstance(receipt.rollback, SnapkitError):  # which was told of when it happened
            tell_failure(run, Operation.GUARD, receipt.backup.backup, receipt.shortfall)
        return receipt


def _policy(settings: Settings) -> Policy | None:
    """Return the rules by which a deploy that went well prunes; None if it does not.

    A rule that only `prune` has as an option counts beside ``keep``, and drops nothing without it.
    """
    from snapkit.cli.commands.prune import policy_of
    from snapkit.settings.fields import Settings

    if settings.keep is not None:
        return policy_of(settings, "guard")
    if settings.keep_old is not None:
        return policy_of(Settings(settings.connection, keep_old=settings.keep_old), "guard")
    return None
