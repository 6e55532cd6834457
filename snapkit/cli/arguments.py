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
