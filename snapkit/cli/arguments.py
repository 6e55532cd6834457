"""The arguments and options that several commands share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from snapkit.cli.completion import names_where, strategies
from snapkit.errors import NOTHING_CHANGED, UsageError

if TYPE_CHECKING:
    from datetime import timedelta

NAME = "The whole name, its timestamp part or an end of that (153124), or a label."
ReadyName = Annotated[
    str | None,
    typer.Argument(metavar="[NAME]", help=NAME, autocompletion=names_where(lambda entry: entry.state == "ready")),
]
Latest = Annotated[bool, typer.Option("--latest", help="The newest backup that is ready, instead of a name.")]
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


def wanted_of(name: str | None, latest: bool) -> str | None:
    """Return the name that was given, None with --latest; raise UsageError unless it is one of the two."""
    if name is not None and latest:
        raise UsageError("Give a name or --latest, not both.", state=NOTHING_CHANGED, hint="snapkit list")
    if name is None and not latest:
        raise UsageError(
            "Say which backup: give either its name or --latest.", state=NOTHING_CHANGED, hint="snapkit list"
        )
    return name if name is None else no_empty_name(name)


def no_empty_name(name: str) -> str:
    """Return the name; raise UsageError if it is empty, as that of a variable that is not set."""
    if not name.strip():
        raise UsageError("The name of the backup is empty.", state=NOTHING_CHANGED, hint="snapkit list")
    return name


def one_of(option: str, given: str | None, known: Sequence[str]) -> str | None:
    """Return the word that was given for an option; raise UsageError if it is none of those that are known."""
    if given is not None and given not in known:
        raise UsageError(f"{option}: {given!r} is not one of {', '.join(known)}.", state=NOTHING_CHANGED)
    return given


def whole_number(option: str, given: str | None) -> int | None:
    """Return the number that was given for an option; raise UsageError if it is not a whole one from 1 on."""
    if given is None:
        return None
    if not (given.isascii() and given.isdigit() and int(given)):
        raise UsageError(f"{option}: {given!r} is not a whole number from 1 on.", state=NOTHING_CHANGED)
    return int(given)


def duration_of(option: str, given: str | None) -> timedelta | None:
    """Return the duration that was given for an option; raise UsageError if it is none."""
    from snapkit.core.durations import parse_duration

    try:
        return None if given is None else parse_duration(given)
    except ValueError as error:
        raise UsageError(f"{option}: {error}.", state=NOTHING_CHANGED) from None
