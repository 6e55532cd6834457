"""Late writes that go along with a rollback: what is asked for, and what came of it, as text and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from snapkit.cli.format import count_text, printable
from snapkit.core.inventory.kinds import Strategy
from snapkit.errors import NOTHING_CHANGED, SnapkitError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from snapkit.cli.envelope import Document
    from snapkit.cli.invocation import Invocation
    from snapkit.core.carrying.carried import Carried
    from snapkit.services.backup import BackupReceipt, BackupRequest
    from snapkit.services.carrying.carry import Carrying
    from snapkit.services.carrying.end_of_command import NotedEnd

_SHOWN = 10
"""So many conflicts are shown; JSON has them all."""


def check_carry(carry: bool, tables: Sequence[str] | None, *, sql: bool) -> None:
    """Raise UsageError for options that do not go together."""
    if tables and not carry:
        raise UsageError("--carry-table goes with --carry.", state=NOTHING_CHANGED)
    if carry and sql:
        raise UsageError(
            "--carry cannot be done by a script: rows are compared first.",
            state=NOTHING_CHANGED,
            hint="Leave out --sql, or --carry. To see what would be done: --dry-run",
        )
    if carry and not tables:
        raise UsageError(
            "snapkit cannot tell what the deploy wrote from what clients wrote since the backup.",
            state=NOTHING_CHANGED,
            hint="Name the tables to which only clients have written: --carry --carry-table orders",
        )


def carrying_tables(given: Sequence[str] | None) -> Carrying:
    """Bring along what was written to tables that somebody names; raise UsageError for what is no pattern."""
    from snapkit.core.comparison.patterns import table_pattern
    from snapkit.services.carrying.carry import Carrying
    from snapkit.services.carrying.knowledge import NamedTables
    from snapkit.services.carrying.request import CarryRequest

    try:
        patterns = list(map(table_pattern, given or ()))
    except ValueError as error:
        raise UsageError(f"--carry-table {error}.", state=NOTHING_CHANGED) from None
    return Carrying(CarryRequest(NamedTables(patterns)))


def noting_the_end(run: Invocation, request: BackupRequest, *, clones: bool) -> Callable[[BackupReceipt], NotedEnd]:
    """Return what notes the end of a guarded command: by a look at the rows or, with ``clones``, by a backup.

    That backup holds clients once more: for a second at most, unless another limit was given. If it cannot be made, the
    rows are looked at.
    """
    from snapkit.services.backup import back_up
    from snapkit.services.carrying.end_of_command import ClonedEnd, ScannedEnd

    def note(backup: BackupReceipt) -> NotedEnd:
        server = run.server()
        if not clones or backup.backup.strategy is Strategy.ONLINE:
            return ScannedEnd(server, backup.backup)
        hold = request.clients.hold
        brief = replace(hold, limit=timedelta(seconds=1) if hold.limit is None else hold.limit)
        wanted = replace(
            request,
            strategy=backup.backup.strategy,
            label=f"end of the command, after {backup.backup.name}",
            clients=replace(request.clients, hold=brief),
        )
        try:
            with run.terminal.progress("Cloning the database as the command has left it") as observe:
                made = back_up(server, wanted, run.settings().lock_wait, observe)
        except SnapkitError as error:
            run.terminal.note(f"No backup was made when the command had ended: {error.message}")
            return ScannedEnd(server, backup.backup)
        for caution in made.cautions:
            run.add_caution(caution)
        return ClonedEnd(made.backup)

    return note


def print_carried(carried: Carried, console: Console) -> None:
    """Print what went along, by table, and what stays in the displaced database."""
    from snapkit.cli.table import print_facts
    from snapkit.core.carrying.carried import rows_text
    from snapkit.core.restoring.restored import TriggerMode, shown_key

    if not carried.tables and not carried.number_of_conflicts and not carried.not_carried:
        console.print("Clients had written nothing that could be brought along.")
        return
    if carried.tables:
        console.print(f"Brought along: {count_text(carried.rows, 'row')} that clients wrote late")
        print_facts([(_name(each.schema, each.table), rows_text(each.rows)) for each in carried.tables], console)
    if carried.triggers is TriggerMode.ON and carried.tables:
        console.print("Triggers ran for these rows, since your role may not turn them off.")
    for merged in carried.merged[:_SHOWN]:
        row = f"{_name(merged.schema, merged.table)} {printable(shown_key(merged.key))}"
        console.print(f"Only in part, since the command had changed other columns: {row}")
    if carried.number_of_conflicts:
        console.print(f"Not brought along, as that would be a guess: {count_text(carried.number_of_conflicts, 'row')}")
        for conflict in carried.conflicts[:_SHOWN]:
            console.print(f"  {printable(conflict.describe())}")
        more = carried.number_of_conflicts - len(carried.conflicts[:_SHOWN])
        if more:
            console.print(f"  and {count_text(more, 'row')} more (--json lists them)")
    if carried.not_carried:
        console.print(f"Stays in {carried.displaced}:")
        for left in carried.not_carried:
            console.print(f"  {printable(left.describe())}")


def _name(schema: str, table: str) -> str:
    return printable(f"{schema}.{table}")


def carried_document(carried: Carried, displaced: Document | None) -> Document:
    """Return the keys that JSON has with --carry; ``displaced`` is the entry that the rows come from."""
    from snapkit.cli.row_facts import conflict_document, table_document

    return {
        "carried": {
            "from": displaced,
            "tables": [table_document(each.schema, each.table, each.rows) for each in carried.tables],
            "conflicts": list(map(conflict_document, carried.conflicts)),
            "conflicts_total": carried.number_of_conflicts,
            "merged": [{"schema": each.schema, "table": each.table, "key": dict(each.key)} for each in carried.merged],
            "triggers": carried.triggers.value,
        },
        "not_carried": [
            table_document(each.schema, each.table, each.rows) | {"reason": each.reason} for each in carried.not_carried
        ],
    }
