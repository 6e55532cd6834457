"""``snapkit recover``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from snapkit.cli.arguments import AllSources, DropWait
from snapkit.cli.invocation import Invocation
from snapkit.cli.registry import registry

if TYPE_CHECKING:
    from rich.console import Console

    from snapkit.cli.envelope import Document
    from snapkit.services.recover import Recovery


def _text(result: Recovery, console: Console) -> None:
    from rich.text import Text

    from snapkit.cli.format import count_text, printable

    for pooler in result.resumed:
        names = printable(", ".join(pooler.databases))
        console.print(f"Resumed {names} on the PgBouncer {printable(pooler.host)}:{pooler.port}.")
    for session in result.ended:
        console.print(f"Ended a session of an interrupted run: {printable(session.describe())}")
    for entry in result.removed:
        console.print(Text(f"Dropped {printable(entry.name)}, a leftover of an interrupted run.", overflow="fold"))
    for entry in result.sealed:
        console.print(Text(f"Sealed {printable(entry.name)}, which was open.", overflow="fold"))
    for entry in result.opened:
        owner = printable(entry.database.owner)
        console.print(Text(f"Opened {printable(entry.name)} to its owner {owner}, for pg_upgrade.", overflow="fold"))
    if result.restores_forgotten:
        console.print(
            f"Dropped what {count_text(result.restores_forgotten, 'restore')} had kept for snapkit restore --undo."
        )
    if result.opened:
        console.print("Seal them again afterwards with: snapkit recover --all")
    done = (result.ended, result.removed, result.failed, result.resumed, result.sealed, result.opened)
    if not any(done) and not result.restores_forgotten:
        console.print("There are no leftovers of interrupted runs.", style="bold green")


def _data(result: Recovery) -> Document:
    from snapkit.cli.entry_facts import entry_document, failed_document
    from snapkit.cli.held_clients import poolers_document

    return {
        "removed": [entry_document(entry) for entry in result.removed],
        "failed": failed_document(result.failed),
        "sessions_ended": len(result.ended),
        "poolers_resumed": poolers_document(result.resumed),
        "sealed": [entry_document(entry) for entry in result.sealed],
        "opened": [entry_document(entry) for entry in result.opened],
        "restores_forgotten": result.restores_forgotten,
    }


def _names(result: Recovery) -> Sequence[str]:
    return tuple(entry.name for entry in result.removed)


@registry.command("recover", changes=True, text=_text, data=_data, names=_names, examples=["snapkit recover"])
def recover(
    run: Invocation,
    *,
    all_sources: AllSources = False,
    pgbouncer_url: Annotated[
        list[str] | None,
        typer.Option(
            "--pgbouncer-url",
            metavar="URL",
            help="The admin console of a PgBouncer, to resume what an interrupted run has left paused there; may "
            "be repeated.",
        ),
    ] = None,
    no_pgbouncer: Annotated[
        bool, typer.Option("--no-pgbouncer", help="Do without the PgBouncers that the settings name.")
    ] = False,
    drop_wait: DropWait = None,
    open_for_upgrade: Annotated[
        bool,
        typer.Option(
            "--open-for-upgrade",
            help="Open each entry to its owner, since pg_upgrade refuses databases that nobody can connect to.",
        ),
    ] = False,
) -> Recovery:
    """Clean up after interrupted runs."""
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
