"""The story: a backup, a migration that goes wrong, a rollback. Played with the real services on a real server."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

from snapkit.core.inventory.retention import Policy
from snapkit.core.reporting import unobserved
from snapkit.demo import shop
from snapkit.demo.embedded import DemoServer, demo_server
from snapkit.postgres.connection.conninfo import target_of
from snapkit.postgres.connection.server import Server
from snapkit.services.backup import BackupReceipt, BackupRequest, back_up
from snapkit.services.list import Listing, list_entries
from snapkit.services.prune import Removal, choose_by_policy, remove
from snapkit.services.rollback import SwapReceipt, SwapRequest, swap

_LOCK_WAIT = timedelta(seconds=10)


class Narrator(Protocol):
    """Who tells the story: on a terminal, or to nobody."""

    def say(self, text: str) -> None:
        """Explain something."""

    def type(self, command: str) -> None:
        """Show a command as the user would type it."""

    def show_backup(self, receipt: BackupReceipt) -> None:
        """Show what ``snapkit backup`` says."""

    def show_list(self, listing: Listing) -> None:
        """Show what ``snapkit list`` says."""

    def show_swap(self, receipt: SwapReceipt) -> None:
        """Show what ``snapkit rollback`` or ``undo`` says."""

    def show_removal(self, removal: Removal) -> None:
        """Show what ``snapkit prune`` says."""


def play(narrator: Narrator, *, keep: bool) -> DemoServer | None:
    """Play the story; return the server if it was to be kept, and is left running."""
    with demo_server(keep=keep) as demo:
        narrator.say("Starting a PostgreSQL server of our own …")
        _play(narrator, demo)
    return demo if keep else None


def _play(narrator: Narrator, demo: DemoServer) -> None:
    narrator.say("… and loading a small web shop into it.")
    demo.run_sql("postgres", f"CREATE DATABASE {shop.DATABASE};")
    demo.run_sql(shop.DATABASE, shop.SCHEMA_AND_DATA)
    server = Server(target_of(demo.url(shop.DATABASE)))

    def back_up_labelled(label: str) -> BackupReceipt:
        narrator.type(f"snapkit backup --label '{label}'")
        return back_up(server, BackupRequest(label=label), _LOCK_WAIT, unobserved)

    def state() -> str:
        return demo.run_sql(shop.DATABASE, shop.HOW_IT_STANDS)

    before = state()
    narrator.say(f"The shop has {before}. A deploy is due, and so, first of all:")
    narrator.show_backup(back_up_labelled("before 0042"))

    narrator.say("Now the migration. It goes through without an error:")
    narrator.type("psql -f migrations/0042_clean_up_orders.sql")
    demo.run_sql(shop.DATABASE, shop.BAD_MIGRATION)
    narrator.say(f"And now the shop has {state()}. All orders are gone. What do we have?")
    narrator.type("snapkit list --sizes")
    narrator.show_list(list_entries(server, sizes=True, all_sources=False))

    narrator.type("snapkit rollback --latest")
    receipt = swap(server, SwapRequest(), _LOCK_WAIT, unobserved)
    narrator.show_swap(receipt)
    after = state()
    narrator.say(f"The shop has {after}: {'all is' if after == before else 'NOT all is'} as it was.")

    narrator.say("Nothing was lost: the ruined state is kept, and can be looked at. Undo swaps it back …")
    narrator.type("snapkit undo")
    narrator.show_swap(swap(server, SwapRequest(undo=True), _LOCK_WAIT, unobserved))
    narrator.say(f"({state()}) … and an undo can be undone.")
    narrator.type("snapkit undo")
    narrator.show_swap(swap(server, SwapRequest(undo=True), _LOCK_WAIT, unobserved))
    narrator.say(f"({state()})")

    narrator.say("Some deploys later there are more backups than you need. Keep two:")
    for label in ("before 0043", "before 0044", "before 0045"):
        back_up_labelled(label)
    narrator.type("snapkit prune --keep 2")
    narrator.show_removal(remove(server, choose_by_policy(Policy(last=2), server.source), _LOCK_WAIT))
