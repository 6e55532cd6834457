"""The commands: each parses, calls one service and returns its result. Services are imported where they are called,
so that help and usage errors need neither SQLAlchemy nor psycopg."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from snapkit.cli.completion import names_where, strategies
from snapkit.cli.ctrl_c import deferred, uninterrupted
from snapkit.cli.dry_run import DemoOutcome, DryRun, Exposition, Script
from snapkit.cli.invocation import Invocation
from snapkit.cli.registry import Registry
from snapkit.core.inventory.metadata import checked_label
from snapkit.errors import SnapkitError, UsageError

if TYPE_CHECKING:
    from datetime import timedelta

    from snapkit.core.inventory.entry import Entry
    from snapkit.core.inventory.retention import Policy
    from snapkit.core.outcome import BackupReceipt, Removal, RemovalPreview, SwapReceipt
    from snapkit.core.plans.swap import SwapPlan
    from snapkit.services.backup import BackupRequest
    from snapkit.services.guard import WayBack
    from snapkit.services.prune import Choose
    from snapkit.services.rollback import SwapRequest
    from snapkit.settings.fields import Settings

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
NoPgbouncer = Annotated[
    bool,
    typer.Option("--no-pgbouncer", help="Without the PgBouncers that the settings name; their clients do not wait."),
]
StrategyOption = Annotated[
    str | None,
    typer.Option(
        "--strategy",
        metavar="METHOD",
        help="auto, clone, file-copy, wal-log or online. [default: auto]",
        autocompletion=strategies,
    ),
]
Tablespace = Annotated[str | None, typer.Option("--tablespace", metavar="NAME", help="Where to put it.")]
StopWorkers = Annotated[
    bool,
    typer.Option("--stop-workers", help="End background workers too that do not come back by themselves (pg_cron's)."),
]
ShowCommand = Annotated[
    bool, typer.Option("--show-command", help="Show all words of the command, in JSON too, not its program alone.")
]
DropWait = Annotated[
    str | None,
    typer.Option(
        "--drop-wait",
        metavar="DURATION",
        help="How long each drop may take, which may have to wait for every process of the server. [default: 60s]",
    ),
]
AllSources = Annotated[bool, typer.Option("--all", help="Every source on the server, not only the one in the URL.")]


@registry.command("backup")
def backup(
    run: Invocation,
    label: Annotated[str | None, typer.Option("--label", metavar="TEXT", help="What this backup is for.")] = None,
    pin: Annotated[bool, typer.Option("--pin", help="Keep it, whatever prune, delete or rollback would do.")] = False,
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
) -> Any:
    """Make an exact clone of the database, on the same server."""
    label = checked_label(label)
    settings = run.settings({"strategy": strategy, "tablespace": tablespace, "grace": grace, "max_outage": max_outage})
    with run.asking_for_deploy() as deploy:
        server = run.server()
        from snapkit.services.backup import BackupRequest, preview_backup

        request = BackupRequest(
            label=label,
            pinned=pin,
            strategy=settings.strategy,
            tablespace=settings.tablespace,
            hold=settings.hold(disconnect=not no_disconnect),
            replicas=run.replicas(replica_url),
            poolers=run.poolers(pgbouncer_url, without=no_pgbouncer),
            deploy=deploy(),
            stop_workers=stop_workers,
        )
    if dry_run:
        preview = preview_backup(server, request)
        return DryRun(preview.steps, preview)
    receipt = _back_up(run, request)
    run.note_after(
        f"Roll back with:\n  snapkit rollback {run.as_typed(receipt.backup.name, replica_url, pgbouncer_url)}"
    )
    return receipt


def _back_up(run: Invocation, request: BackupRequest) -> BackupReceipt:
    from snapkit.cli.run_hooks import hooked
    from snapkit.core.hooks import Operation
    from snapkit.services.backup import back_up

    server = run.server()

    def work() -> BackupReceipt:
        with run.terminal.progress(f"Backing up {server.source}") as observe:
            return back_up(server, request, run.settings().lock_wait, observe)

    return hooked(run, Operation.BACKUP, work, label=request.label)


@registry.command("list", alias="ls")
def list_(
    run: Invocation,
    sizes: Annotated[bool, typer.Option("--sizes", help="Measure each database, and the total.")] = False,
    all_sources: AllSources = False,
) -> Any:
    """List the backups, newest first."""
    server = run.server()
    from snapkit.services.list import list_entries

    return list_entries(server, sizes=sizes, all_sources=all_sources)


@registry.command("show")
def show(
    run: Invocation,
    name: Annotated[str, typer.Argument(metavar="NAME", help=_NAME, autocompletion=names_where(lambda entry: True))],
) -> Any:
    """Show everything known about one backup."""
    server = run.server()
    from snapkit.services.list import show_entry

    return show_entry(server, name)


@registry.command("status")
def status(
    run: Invocation,
    max_age: Annotated[
        str | None,
        typer.Option("--max-age", metavar="DURATION", help="Fail unless the newest backup is younger, such as 24h."),
    ] = None,
    sizes: Annotated[bool, typer.Option("--sizes", help="Measure the databases.")] = False,
    all_sources: AllSources = False,
    prometheus: Annotated[bool, typer.Option("--prometheus", help="Print metrics in Prometheus' text format.")] = False,
) -> Any:
    """Tell a monitor how old the newest backup is."""
    if prometheus and run.is_json:
        raise UsageError("Give either --json or --prometheus.", state="Nothing was changed.")
    limit = run.settings({"max_age": max_age}).max_age
    server = run.server()
    from snapkit.services.status import report_status

    poolers = run.poolers(None)
    report = report_status(server, max_age=limit, sizes=sizes, all_sources=all_sources, poolers=poolers)
    if not prometheus:
        return report
    from snapkit.cli.prometheus import exposition

    return Exposition(exposition(report), report.shortfall, report.cautions)


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
    no_pgbouncer: NoPgbouncer = False,
    stop_workers: StopWorkers = False,
    dry_run: DryRunOption = False,
    sql: Annotated[bool, typer.Option("--sql", help="Print a script for psql, and do nothing.")] = False,
    yes: Yes = False,
) -> Any:
    """Swap a backup in for the live database, which is put aside."""
    if (name is None) is not latest:
        raise UsageError(
            "Say which backup: give either its name or --latest.", state="Nothing was changed.", hint="snapkit list"
        )
    with run.asking_for_deploy() as deploy:
        replicas = run.replicas(replica_url)
        from snapkit.services.rollback import SwapRequest

        request = SwapRequest(
            wanted=name,
            keep_backup=keep_backup,
            hold=run.settings({"grace": grace, "max_outage": max_outage}).hold(disconnect=not no_disconnect),
            replicas=replicas,
            poolers=run.poolers(pgbouncer_url, without=no_pgbouncer),
            code=deploy().git,
            stop_workers=stop_workers,
        )
    return _swap(run, request, dry_run=dry_run, sql=sql, yes=yes)


@registry.command("undo")
def undo(
    run: Invocation,
    grace: Grace = None,
    max_outage: MaxOutage = None,
    replica_url: ReplicaUrl = None,
    pgbouncer_url: PgbouncerUrl = None,
    no_pgbouncer: NoPgbouncer = False,
    stop_workers: StopWorkers = False,
    dry_run: DryRunOption = False,
    yes: Yes = False,
) -> Any:
    """Swap the database back that the last rollback put aside."""
    replicas = run.replicas(replica_url)
    from snapkit.services.rollback import SwapRequest

    hold = run.settings({"grace": grace, "max_outage": max_outage}).hold(disconnect=True)
    request = SwapRequest(
        undo=True,
        hold=hold,
        replicas=replicas,
        poolers=run.poolers(pgbouncer_url, without=no_pgbouncer),
        stop_workers=stop_workers,
    )
    return _swap(run, request, dry_run=dry_run, sql=False, yes=yes)


def _swap(run: Invocation, request: Any, *, dry_run: bool, sql: bool, yes: bool) -> Any:
    from snapkit.services.rollback import preview_swap, script_of_swap

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
        run.confirm(f"Roll {server.source} back?" if not request.undo else f"Swap {server.source} back?")
        confirmed = preview.plan
    return _swap_in(run, request, confirmed)


def _swap_in(
    run: Invocation,
    request: SwapRequest,
    confirmed: SwapPlan | None,
    *,
    entry: Entry | None = None,
    way_back: WayBack | None = None,
) -> SwapReceipt:
    """Swap between the hooks. A guard's ``way_back`` makes the plan to hold to, and ``entry`` is known then."""
    from snapkit.cli.run_hooks import hooked
    from snapkit.core.hooks import Operation
    from snapkit.services.rollback import preview_swap, swap

    server = run.server()
    told = f"Rolling {server.source} back"

    def look() -> Entry:
        """Settle what is to be swapped in, whatever the hook that is told of it does meanwhile."""
        nonlocal confirmed, request
        if way_back is not None:
            with run.terminal.progress(told) as observe:
                return way_back.decide(observe).entry
        confirmed = confirmed or preview_swap(server, request).plan
        if not request.undo:
            request = replace(request, wanted=confirmed.entry.name)
        return confirmed.entry

    def work() -> SwapReceipt:
        lock_wait = run.settings().lock_wait
        with run.terminal.progress(told) as observe:
            if way_back is None:
                return swap(server, request, lock_wait, observe, confirmed)
            return way_back.take(
                lambda plan, persistence: swap(server, request, lock_wait, observe, plan, persistence), observe
            )

    known = confirmed.entry if confirmed else entry
    return hooked(run, Operation.UNDO if request.undo else Operation.ROLLBACK, work, entry=known, look=look)


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
    drop_wait: DropWait = None,
    dry_run: DryRunOption = False,
    yes: Yes = False,
) -> Any:
    """Drop the backups that no rule keeps. Rules add up."""
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
    policy = _policy(settings, "prune")
    server = run.server()
    from snapkit.services.prune import choose_by_policy

    source = None if all_sources else server.source
    return _remove(run, choose_by_policy(policy, source), settings.drop_wait, dry_run=dry_run, yes=yes)


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
    drop_wait: DropWait = None,
    dry_run: DryRunOption = False,
    yes: Yes = False,
) -> Any:
    """Drop the named backups."""
    wait = run.settings({"drop_wait": drop_wait}).drop_wait
    server = run.server()
    from snapkit.services.prune import choose_by_name

    return _remove(run, choose_by_name(names, server.source), wait, dry_run=dry_run, yes=yes)


def _policy(settings: Settings, command: str) -> Policy:
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
        raise UsageError(f"{error}.", state="Nothing was changed.", hint=f"snapkit {command} --help") from None


def _remove(run: Invocation, choose: Any, drop_wait: timedelta, *, dry_run: bool, yes: bool) -> Any:
    from snapkit.services.prune import preview_removal

    server = run.server()
    if dry_run:
        preview = preview_removal(server, choose)
        return DryRun(preview.steps, preview)
    confirmed = None
    if run.asks(yes):
        confirmed = preview_removal(server, choose)
        if confirmed.removed:
            run.show(confirmed)
            run.confirm("Drop them? This cannot be undone.")
    return _drop(run, choose, drop_wait, confirmed)


def _drop(run: Invocation, choose: Choose, drop_wait: timedelta, confirmed: RemovalPreview | None = None) -> Removal:
    from snapkit.services.prune import remove

    server = run.server()
    told = "This drop is still finished; Ctrl-C again cuts it short. After 5 s it is cut short by itself."
    with run.terminal.progress("Dropping") as observe:
        shielded = partial(deferred, lambda: run.terminal.note(told))
        return remove(server, choose, run.settings().lock_wait, confirmed, observe, shielded, drop_wait)


@registry.command("shell")
def shell(
    run: Invocation,
    name: ReadyName,
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="[-- COMMAND...]", help="What to run, with DATABASE_URL set. [default: psql]"),
    ] = None,
    show_command: ShowCommand = False,
) -> Any:
    """Look into a backup: open it, read-only, for psql or another command, and seal it again."""
    from snapkit.processes.foreground import find_command, run_command

    found = find_command(command) if command else None
    server = run.server()
    from snapkit.core.outcome import ShellReceipt
    from snapkit.core.secrets import shown_command
    from snapkit.services.run.survey import altered_cautions
    from snapkit.services.shell import ShellRequest, opened_entry

    settings = run.settings()
    request = ShellRequest(name, found, settings.connection.url, run.urls_of_user())
    with ExitStack() as stack:
        with run.terminal.progress("Opening") as observe:
            opened = stack.enter_context(opened_entry(server, request, settings.lock_wait, observe, uninterrupted))
        run.terminal.note(f"{opened.entry.name} is open, read-only, and is sealed again when the command has ended.")
        ending = run_command(opened.command, run.environment_with(opened.environment), stdout_to_stderr=run.is_json)
    run.terminal.note(f"{opened.entry.name} is sealed again.")
    entry = opened.sealed[0] if opened.sealed else opened.entry
    ran = shown_command(command or ["psql"], in_full=show_command)
    cautions = (*opened.cautions, *opened.afterwards, *altered_cautions([entry]))
    return ShellReceipt(entry, ran, ending.exit_code, cautions)


@registry.command("pin")
def pin(
    run: Invocation,
    name: ReadyName,
    reason: Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Why.")] = None,
) -> Any:
    """Keep a backup, whatever prune, delete or rollback would do."""
    server = run.server()
    from snapkit.services.label import pin_entry

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
    from snapkit.services.label import unpin_entry

    with run.terminal.progress("Unpinning") as observe:
        return unpin_entry(server, name, run.settings().lock_wait, observe)


@registry.command("label")
def label(
    run: Invocation,
    name: ReadyName,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The label; an empty one takes it away.")],
) -> Any:
    """Give a backup a label."""
    text = checked_label(text) or ""
    server = run.server()
    from snapkit.services.label import label_entry

    with run.terminal.progress("Labelling") as observe:
        return label_entry(server, name, text, run.settings().lock_wait, observe)


@registry.command("adopt")
def adopt(
    run: Invocation,
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help=_NAME,
            autocompletion=names_where(lambda entry: entry.state in ("unmanaged", "altered")),
        ),
    ],
) -> Any:
    """Seal an altered entry again as it is, or make a backup of the original script one of snapkit's."""
    server = run.server()
    from snapkit.services.adopt import adopt_entry

    with run.terminal.progress("Adopting") as observe:
        return adopt_entry(server, name, run.settings().lock_wait, observe)


@registry.command("doctor")
def doctor(run: Invocation) -> Any:
    """Check everything that a backup and a rollback need; change nothing."""
    server = run.server()
    from snapkit.services.doctor import diagnose

    return diagnose(server, run.poolers(None))


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
    no_pgbouncer: Annotated[
        bool, typer.Option("--no-pgbouncer", help="Without the PgBouncers that the settings name.")
    ] = False,
    drop_wait: DropWait = None,
    open_for_upgrade: Annotated[
        bool,
        typer.Option("--open-for-upgrade", help="Open each entry to its owner, as pg_upgrade wants it."),
    ] = False,
) -> Any:
    """Clear away what interrupted runs have left."""
    server = run.server()
    from snapkit.services.recover import recover as recover_

    poolers = run.poolers(pgbouncer_url, without=no_pgbouncer)
    settings = run.settings({"drop_wait": drop_wait})
    with run.terminal.progress("Recovering") as observe:
        return recover_(
            server,
            settings.lock_wait,
            observe,
            all_sources=all_sources,
            poolers=poolers,
            open_for_upgrade=open_for_upgrade,
            drop_wait=settings.drop_wait,
        )


@registry.command("guard", runs_words=True)
def guard(
    run: Invocation,
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
        typer.Option("--health-timeout", metavar="DURATION", help="How long to try for that. [default: 60s]"),
    ] = None,
    on_failure: Annotated[
        str | None,
        typer.Option("--on-failure", metavar="WHAT", help="rollback, or keep the database. [default: rollback]"),
    ] = None,
    rollback_wait: Annotated[
        str | None,
        typer.Option(
            "--rollback-wait",
            metavar="DURATION",
            help="How long a rollback is tried again while something is in its way. [default: 10m]",
        ),
    ] = None,
    keep: Annotated[
        str | None, typer.Option("--keep", metavar="N", help="If all is well, prune to the newest N backups.")
    ] = None,
    keep_old: Annotated[
        str | None, typer.Option("--keep-old", metavar="N", help="With --keep: and to the newest N put aside.")
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
            help="Run the command though no synchronous standby has confirmed the backup.",
        ),
    ] = False,
    show_command: ShowCommand = False,
) -> Any:
    """Back up, run a command, and roll back if it fails."""
    label = checked_label(label)
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
    policy = _policy(settings, "guard") if settings.keep is not None else None
    from snapkit.processes.foreground import find_command
    from snapkit.processes.health import HealthChecks

    found = find_command(command)
    checks = HealthChecks(settings.health_command, settings.health_url, settings.health_timeout)
    with run.asking_for_deploy() as deploy:
        server = run.server()
        from snapkit.cli.guard_steps import TerminalSteps
        from snapkit.cli.run_hooks import tell_failure
        from snapkit.core.hooks import Operation
        from snapkit.core.secrets import shown_command
        from snapkit.services.backup import BackupRequest
        from snapkit.services.guard import guard as guard_
        from snapkit.services.prune import choose_by_policy
        from snapkit.services.rollback import SwapRequest

        hold, replicas = settings.hold(disconnect=True), run.replicas(replica_url)
        poolers = run.poolers(pgbouncer_url, without=no_pgbouncer)
        request = BackupRequest(
            label=label,
            pinned=False,
            strategy=settings.strategy,
            tablespace=settings.tablespace,
            hold=hold,
            replicas=replicas,
            poolers=poolers,
            deploy=deploy(),
            stop_workers=stop_workers,
        )

    def request_for(backup: Entry) -> SwapRequest:
        # Asked for anew: the command may have checked out another commit, as deploys do.
        with run.asking_for_deploy() as deploy:
            code = deploy().git
        return SwapRequest(
            backup.name,
            hold=hold,
            replicas=replicas,
            poolers=poolers,
            helpers_needed=False,
            code=code,
            own=backup.database.oid,
            stop_workers=True,  # the way back is taken, whatever the command has started
        )

    with ExitStack() as until_the_end:
        steps = TerminalSteps(
            invocation=run,
            command=shown_command(command, in_full=show_command),
            found=found,
            checks=checks,
            named_in_dotenv=settings.connection.named_in_dotenv,
            make_backup=lambda claim: _back_up(run, replace(request, claim=claim)),
            request_for=request_for,
            swap_in=lambda request, entry, way_back: _swap_in(run, request, None, entry=entry, way_back=way_back),
            drop=lambda made: (
                _drop(run, choose_by_policy(policy, server.source, made), settings.drop_wait) if policy else None
            ),
            rollback_wait=settings.rollback_wait,
            until_the_end=until_the_end,
            allow_unreplicated=allow_unreplicated,
        )
        receipt = guard_(steps, settings.on_failure)
        if receipt.shortfall and not isinstance(receipt.rollback, SnapkitError):  # which was told of when it happened
            tell_failure(run, Operation.GUARD, receipt.backup.backup, receipt.shortfall)
        return receipt


@registry.command("demo", connects=False)
def demo(
    run: Invocation,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the server running, to play on.")] = False,
) -> Any:
    """Play the whole story on a server of its own."""
    from snapkit.demo.shop import DATABASE
    from snapkit.demo.story import how_to_stop, play

    kept = play(run.narrator(), keep=keep)
    return DemoOutcome(kept.url(DATABASE), how_to_stop(kept)) if kept else DemoOutcome(None, None)
