"""``snapkit demo``."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from snapkit.cli.invocation import Invocation
from snapkit.cli.registry import registry
from snapkit.cli.terminal import unpadded
from snapkit.core.outcome import Outcome
from snapkit.core.values import dataclass
from snapkit.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from snapkit.cli.envelope import Document
    from snapkit.services.backup import BackupReceipt
    from snapkit.services.list import Listing
    from snapkit.services.prune import Removal
    from snapkit.services.rollback import SwapReceipt


@dataclass(frozen=True, slots=True)
class DemoOutcome(Outcome):
    """The demo's server, if it was left running."""

    database_url: str | None = None
    stop_command: str | None = None
    stopped: int | None = None
    """How many servers were stopped that had been left running; None if that is not what was asked for."""
    tells_where: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class Narration:
    """Tells the story on a console, or nobody."""

    console: Console | None

    def say(self, text: str) -> None:
        if self.console is not None:
            self.console.print(f"\n{text}")

    def type(self, command: str) -> None:
        if self.console is not None:
            self.console.print(f"\n$ {command}", style="bold cyan")

    def show_backup(self, receipt: BackupReceipt) -> None:
        from snapkit.cli.commands.backup import print_backup

        self._show(lambda console: print_backup(receipt, console))

    def show_list(self, listing: Listing) -> None:
        from snapkit.cli.commands.list import print_listing

        self._show(lambda console: print_listing(listing, console))

    def show_swap(self, receipt: SwapReceipt) -> None:
        from snapkit.cli.commands.rollback import print_swap

        self._show(lambda console: print_swap(receipt, console))

    def show_removal(self, removal: Removal) -> None:
        from snapkit.cli.commands.prune import print_removal

        self._show(lambda console: print_removal(removal, console))

    def _show(self, text: Callable[[Console], None]) -> None:
        if self.console is not None:
            with unpadded(self.console):
                text(self.console)


def _text(result: DemoOutcome, console: Console) -> None:
    if result.stopped is not None:
        servers = f"{result.stopped} server{'' if result.stopped == 1 else 's'}"
        console.print(f"Stopped {servers}, and deleted the data." if result.stopped else "No server is running.")
        return
    if result.database_url is None:
        console.print("The server was stopped, and its data deleted. To try things yourself: snapkit demo --keep")
        return
    console.print("The server is still running. Try things with:", style="bold")
    console.print(f"  export DATABASE_URL='{result.database_url}'", soft_wrap=True)
    console.print(f"  {_own()} list --sizes", soft_wrap=True)
    console.print("To stop it and delete its data:", style="bold")
    console.print(f"  {result.stop_command}", soft_wrap=True)


def _own() -> str:
    """How snapkit is called here."""
    return "snapkit" if shutil.which("snapkit") else f"{shlex.quote(sys.executable)} -m snapkit"


def _data(result: DemoOutcome) -> Document:
    stopped = {} if result.stopped is None else {"stopped": result.stopped}
    return {"database_url": result.database_url, "stop_command": result.stop_command, **stopped}


@registry.command(
    "demo",
    changes=False,
    text=_text,
    data=_data,
    connects=False,
    examples=["snapkit demo", "snapkit demo --keep", "snapkit demo --stop"],
)
def demo(
    run: Invocation,
    *,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the server running, for you to try things.")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="Stop the servers that --keep has left running.")] = False,
) -> DemoOutcome:
    """Show a backup, a bad migration and a rollback on its own server."""
    if keep and stop:
        raise UsageError("Give either --keep or --stop.")
    from snapkit.cli.connecting import silence_libraries
    from snapkit.demo.embedded import stop_kept
    from snapkit.demo.shop import DATABASE
    from snapkit.demo.story import play

    if stop:
        return DemoOutcome(stopped=stop_kept())
    silence_libraries()
    kept = play(Narration(run.console_for_a_story()), keep=keep)
    return DemoOutcome(kept.url(DATABASE), _how_to_stop()) if kept else DemoOutcome()


def _how_to_stop() -> str:
    """What stops the server again; it is found in the directory for temporary files."""
    place = os.environ.get("TMPDIR")
    return (f"TMPDIR={shlex.quote(place)} " if place else "") + f"{_own()} demo --stop"
