"""The commands: each parses, calls one service and returns its result. Services are imported where they are called,
so that help and usage errors need neither SQLAlchemy nor psycopg."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import typer

from snapkit.cli.completion import names_where, strategies
from snapkit.cli.interruption import deferred
from snapkit.cli.invocation import Invocation
from snapkit.cli.outcomes import DemoOutcome, DryRun, Script
from snapkit.cli.registry import Registry
from snapkit.errors import UsageError

registry = Registry()

_NAME = "The whole name, its timestamp part, or a label."
_is_ready = names_where(lambda entry: entry.state == "ready")
ReadyName = Annotated[str, typer.Argument(metavar="NAME", help=_NAME, autocompletion=_is_ready)]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Show what would be done, statement by statement; change nothing.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
NoDisconnect = Annotated[
    bool, typer.Option("--no-disconnect", help="Fail when clients are connected, and disconnect nobody.")
]
Grace = Annotated[
    str | None,
    typer.Option("--grace", metavar="DURATION", help="How long running transactions may finish first. [default: 1s]"),
]
MaxOutage = Annotated[
    str | None,
    typer.Option(
        "--max-outage",
        metavar="DURATION",
        help="How long clients may be held at most; what would take longer is given up. [default: no limit]",
    ),
]
ReplicaUrl = Annotated[
    list[str] | None,
    typer.Option(
        "--replica-url",
        metavar="URL",
        help="A standby whose sessions must not go on reading the displaced database; may be repeated.",
    ),
]
PgbouncerUrl = Annotated[
    list[str] | None,
    typer.Option(
        "--pgbouncer-url",
        metavar="URL",
        help="The admin console of a PgBouncer, to be paused and resumed so that no query fails; may be repeated.",
    ),
]
AllSources = Annotated[bool, typer.Option("--all", help="Every source on the server, not only the one in the URL.")]


@registry.command("backup")
def backup(
    run: Invocation,
    label: Annotated[str | None, typer.Option("--label", metavar="TEXT", help="What this backup is for.")] = None,
    pin: Annotated[bool, typer.Option("--pin", help="Keep it, whatever prune, delete or rollback would do.")] = False,
    strategy: Annotated[
        str | None,
        typer.Option(
            "--strategy",
            metavar="METHOD",
            help="auto, clone, file-copy, wal-log or online. [default: auto]",
            autocompletion=strategies,
        ),
    ] = None,
    tablespace: Annotated[str | None, typer.Option("--tablespace", metavar="NAME", help="Where to put it.")] = None,
    no_disconnect: NoDisconnect = False,
    grace: Grace = None,
    max_outage: MaxOutage = None,
    replica_url: ReplicaUrl = None,
    pgbouncer_url: PgbouncerUrl = None,
    dry_run: DryRunOption = False,
) -> Any:
    """Make an exact clone of the database, on the same server."""
    settings = run.settings({"strategy": strategy, "tablespace": tablespace, "grace": grace, "max_outage": max_outage})
    server = run.server()
    from snapkit.services.backup import BackupRequest, back_up, preview_backup

    request = BackupRequest(
        label=label,
        pinned=pin,
        strategy=settings.strategy,
        tablespace=settings.tablespace,
        hold=settings.hold(disconnect=not no_disconnect),
        replicas=run.replicas(replica_url),
        poolers=run.poolers(pgbouncer_url),
    )
    if dry_run:
        return DryRun(preview_backup(server, request))
    with run.terminal.progress(f"Backing up {server.source}") as observe:
        receipt = back_up(server, request, settings.lock_wait, observe)
    run.note_after(
        f"Roll back with:\n  snapkit rollback {run.as_typed(receipt.backup.name, replica_url, pgbouncer_url)}"
    )
    return receipt


@registry.command("list", alias="ls")
def list_(
    run: Invocation,
    sizes: Annotated[bool, typer.Option("--sizes", help="Measure each database, and the total.")] = False,
    all_sources: AllSources = False,
) -> Any:
    """List the backups, newest first."""
    server = run.server()
    from snapkit.services.inventory import list_entries

    return list_entries(server, sizes=sizes, all_sources=all_sources)


@registry.command("show")
def show(
    run: Invocation,
    name: Annotated[str, typer.Argument(metavar="NAME", help=_NAME, autocompletion=names_where(lambda entry: True))],
) -> Any:
    """Show everything known about one backup."""
    server = run.server()
    from snapkit.services.inventory import show_entry

    return show_entry(server, name)


@registry.command("rollback")
def rollback(
    run: Invocation,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help=_NAME, autocompletion=_is_ready)] = None,
    latest: Annotated[bool, typer.Option("--latest", help="The newest backup that is ready.")] = False,
    keep_backup: Annotated[
        bool, typer.Option("--keep-backup", help="Swap in a clone of the backup, and keep the backup.")
    ] = False,
    no_disconnect: NoDisconnect = False,
    grace: Grace = None,
    max_outage: MaxOutage = None,
    replica_url: ReplicaUrl = None,
    pgbouncer_url: PgbouncerUrl = None,
    dry_run: DryRunOption = False,
    sql: Annotated[bool, typer.Option("--sql", help="Print a script for psql, and do nothing.")] = False,
    yes: Yes = False,
) -> Any:
    """Swap a backup in for the live database, which is put aside."""
    if (name is None) is not latest:
        raise UsageError(
            "Say which backup: give either its name or --latest.", state="Nothing was changed.", hint="snapkit list"
        )
    replicas = run.replicas(replica_url)
    from snapkit.services.rollback import SwapRequest

    request = SwapRequest(
        wanted=name,
        keep_backup=keep_backup,
        hold=run.settings({"grace": grace, "max_outage": max_outage}).hold(disconnect=not no_disconnect),
        replicas=replicas,
        poolers=run.poolers(pgbouncer_url),
    )
    return _swap(run, request, dry_run=dry_run, sql=sql, yes=yes)


@registry.command("undo")
def undo(
    run: Invocation,
    grace: Grace = None,
    max_outage: MaxOutage = None,
    replica_url: ReplicaUrl = None,
    pgbouncer_url: PgbouncerUrl = None,
    dry_run: DryRunOption = False,
    yes: Yes = False,
) -> Any:
    """Swap the database back that the last rollback put aside."""
    replicas = run.replicas(replica_url)
    from snapkit.services.rollback import SwapRequest

    hold = run.settings({"grace": grace, "max_outage": max_outage}).hold(disconnect=True)
    request = SwapRequest(undo=True, hold=hold, replicas=replicas, poolers=run.poolers(pgbouncer_url))
    return _swap(run, request, dry_run=dry_run, sql=False, yes=yes)


def _swap(run: Invocation, request: Any, *, dry_run: bool, sql: bool, yes: bool) -> Any:
    from snapkit.services.rollback import preview_swap, script_of_swap, swap

    server = run.server()
    if sql:
        return Script(script_of_swap(server, request))
    if dry_run:
        preview = preview_swap(server, request)
        return DryRun(preview.steps, preview)
    confirmed = None
    if run.asks(yes):
        preview = preview_swap(server, request)
        run.show(preview)
        run.terminal.confirm(f"Roll {server.source} back?" if not request.undo else f"Swap {server.source} back?")
        confirmed = preview.plan
    with run.terminal.progress(f"Rolling {server.source} back") as observe:
        return swap(server, request, run.settings().lock_wait, observe, confirmed)


@registry.command("prune")
def prune(
    run: Invocation,
    keep: Annotated[str | None, typer.Option("--keep", metavar="N", help="Keep the newest N.")] = None,
    keep_within: Annotated[
        str | None, typer.Option("--keep-within", metavar="DURATION", help="Keep all that are younger, such as 7d.")
    ] = None,
    keep_daily: Annotated[
        str | None, typer.Option("--keep-daily", metavar="N", help="Keep the newest of N days.")
    ] = None,
    keep_weekly: Annotated[
        str | None, typer.Option("--keep-weekly", metavar="N", help="The same of N ISO weeks.")
    ] = None,
    keep_monthly: Annotated[
        str | None, typer.Option("--keep-monthly", metavar="N", help="The same of N months.")
    ] = None,
    keep_old: Annotated[
        str | None,
        typer.Option("--keep-old", metavar="N", help="Keep N databases that rollbacks put aside. [default: all]"),
    ] = None,
    all_sources: AllSources = False,
    dry_run: DryRunOption = False,
    yes: Yes = False,
) -> Any:
    """Drop the backups that no rule keeps. Rules add up."""
    from snapkit.core.retention import Policy

    settings = run.settings(
        {
            "keep": keep,
            "keep_within": keep_within,
            "keep_daily": keep_daily,
            "keep_weekly": keep_weekly,
            "keep_monthly": keep_monthly,
            "keep_old": keep_old,
        }
    )
    try:
        policy = Policy(
            settings.keep,
            settings.keep_within,
            settings.keep_daily,
            settings.keep_weekly,
            settings.keep_monthly,
            settings.keep_old,
        )
    except ValueError as error:
        raise UsageError(f"{error}.", state="Nothing was dropped.", hint="snapkit prune --help") from None
    server = run.server()
    from snapkit.services.removal import choose_by_policy

    source = None if all_sources else server.source
    return _remove(run, choose_by_policy(policy, source), dry_run=dry_run, yes=yes)


@registry.command("delete")
def delete(
    run: Invocation,
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME...",
            help="Whole names, timestamp parts, or labels.",
            autocompletion=names_where(lambda entry: not entry.pinned and entry.state != "unmanaged"),
        ),
    ],
    dry_run: DryRunOption = False,
    yes: Yes = False,
) -> Any:
    """Drop the named backups."""
    server = run.server()
    from snapkit.services.removal import choose_by_name

    return _remove(run, choose_by_name(names, server.source), dry_run=dry_run, yes=yes)


def _remove(run: Invocation, choose: Any, *, dry_run: bool, yes: bool) -> Any:
    from snapkit.services.removal import preview_removal, remove

    server = run.server()
    if dry_run:
        preview = preview_removal(server, choose)
        return DryRun(preview.steps, preview)
    confirmed = None
    if run.asks(yes):
        confirmed = preview_removal(server, choose)
        if confirmed.removed:
            run.show(confirmed)
            run.terminal.confirm("Drop them? This cannot be undone.")
    told = "This drop is still finished; Ctrl-C again cuts it short."
    with run.terminal.progress("Dropping") as observe:
        shielded = partial(deferred, lambda: run.terminal.note(told))
        return remove(server, choose, run.settings().lock_wait, confirmed, observe, shielded)


@registry.command("pin")
def pin(
    run: Invocation,
    name: ReadyName,
    reason: Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Why.")] = None,
) -> Any:
    """Keep a backup, whatever prune, delete or rollback would do."""
    server = run.server()
    from snapkit.services.inventory import pin_entry

    with run.terminal.progress("Pinning") as observe:
        return pin_entry(server, name, reason, run.settings().lock_wait, observe)


@registry.command("unpin")
def unpin(
    run: Invocation,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help=_NAME, autocompletion=names_where(lambda entry: entry.pinned))
    ],
) -> Any:
    """Take the protection away again."""
    server = run.server()
    from snapkit.services.inventory import unpin_entry

    with run.terminal.progress("Unpinning") as observe:
        return unpin_entry(server, name, run.settings().lock_wait, observe)


@registry.command("label")
def label(
    run: Invocation,
    name: ReadyName,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The label; an empty one takes it away.")],
) -> Any:
    """Give a backup a label."""
    server = run.server()
    from snapkit.services.inventory import label_entry

    with run.terminal.progress("Labelling") as observe:
        return label_entry(server, name, text, run.settings().lock_wait, observe)


@registry.command("adopt")
def adopt(
    run: Invocation,
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help=_NAME, autocompletion=names_where(lambda entry: entry.state == "unmanaged")
        ),
    ],
) -> Any:
    """Make a backup of the original script one of snapkit's."""
    server = run.server()
    from snapkit.services.inventory import adopt_entry

    with run.terminal.progress("Adopting") as observe:
        return adopt_entry(server, name, run.settings().lock_wait, observe)


@registry.command("doctor")
def doctor(run: Invocation) -> Any:
    """Check everything that a backup and a rollback need; change nothing."""
    server = run.server()
    from snapkit.services.doctor import diagnose

    return diagnose(server)


@registry.command("recover")
def recover(
    run: Invocation,
    all_sources: AllSources = False,
    pgbouncer_url: Annotated[
        list[str] | None,
        typer.Option(
            "--pgbouncer-url",
            metavar="URL",
            help="The admin console of a PgBouncer, to resume what a run has left paused there; may be repeated.",
        ),
    ] = None,
) -> Any:
    """Clear away what interrupted runs have left."""
    server = run.server()
    from snapkit.services.remains import recover as recover_

    poolers = run.poolers(pgbouncer_url)
    with run.terminal.progress("Recovering") as observe:
        return recover_(server, run.settings().lock_wait, observe, all_sources=all_sources, poolers=poolers)


@registry.command("demo")
def demo(
    run: Invocation,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the server running, to play on.")] = False,
) -> Any:
    """Play the whole story on a server of its own."""
    from snapkit.demo.shop import DATABASE
    from snapkit.demo.story import how_to_stop, play

    kept = play(run.narrator(), keep=keep)
    return DemoOutcome(kept.url(DATABASE), how_to_stop(kept)) if kept else DemoOutcome(None, None)
