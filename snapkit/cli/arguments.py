"""The arguments and options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from snapkit.cli.completion import names_where, strategies

NAME = "The whole name, its timestamp part, or a label."
is_ready = names_where(lambda entry: entry.state == "ready")
ReadyName = Annotated[str, typer.Argument(metavar="NAME", help=NAME, autocompletion=is_ready)]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Show what would be done, statement by statement; change nothing.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
NoDisconnect = Annotated[
    bool, typer.Option("--no-disconnect", help="Disconnect nobody: fail if clients are connected.")
]
Grace = Annotated[
    str | None,
    typer.Option(
        "--grace",
        metavar="DURATION",
        help="How long running transactions get to finish before they are ended. [default: 1s]",
    ),
]
MaxOutage = Annotated[
    str | None,
    typer.Option(
        "--max-outage",
        metavar="DURATION",
        help="Hold clients no longer than this; what would take longer is given up. [default: no limit]",
    ),
]
ReplicaUrl = Annotated[
    list[str] | None,
    typer.Option(
        "--replica-url",
        metavar="URL",
        help="A streaming standby: wait until it has the change, and end its sessions that still read a "
        "displaced database; may be repeated.",
    ),
]
PgbouncerUrl = Annotated[
    list[str] | None,
    typer.Option(
        "--pgbouncer-url",
        metavar="URL",
        help="The admin console of a PgBouncer, which is paused meanwhile, so that clients wait and no query "
        "fails; may be repeated.",
    ),
]
NoPgbouncer = Annotated[
    bool,
    typer.Option(
        "--no-pgbouncer", help="Do without the PgBouncers that the settings name; their clients are disconnected."
    ),
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
Tablespace = Annotated[
    str | None, typer.Option("--tablespace", metavar="NAME", help="The tablespace to put the backup in.")
]
StopWorkers = Annotated[
    bool,
    typer.Option(
        "--stop-workers",
        help="Also end background workers that do not come back by themselves (those of pg_cron up to 1.5).",
    ),
]
ShowCommand = Annotated[
    bool,
    typer.Option(
        "--show-command", help="Show the whole command, not only its program, in JSON and in the audit log too."
    ),
]
DropWait = Annotated[
    str | None,
    typer.Option(
        "--drop-wait",
        metavar="DURATION",
        help="How long each drop may take; PostgreSQL may have to wait for every process of the server. [default: 60s]",
    ),
]
AllSources = Annotated[
    bool, typer.Option("--all", help="Every database of the server that has backups, not only the one in the URL.")
]
