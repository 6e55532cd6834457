"""An entry of the inventory: for people, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from snapkit.cli.format import age_text, printable, size_text
from snapkit.core.inventory.kinds import Kind, State
from snapkit.core.utc import utc_text

if TYPE_CHECKING:
    from rich.console import Console

    from snapkit.cli.envelope import Document
    from snapkit.core.inventory.entry import Entry
    from snapkit.core.inventory.opened import Opened
    from snapkit.services.entries.change import EntryReport
    from snapkit.services.entries.drop import Failure

STATE_STYLES = {
    State.READY: "green",
    State.INVALID: "red",
    State.INCOMPLETE: "yellow",
    State.UNMANAGED: "yellow",
    State.ALTERED: "yellow",
}


ENTRY_KEYS = (
    "name",
    "source",
    "kind",
    "state",
    "created_at",
    "size_bytes",
    "label",
    "pinned",
    "pin_reason",
    "strategy",
    "not_given",
    "opened",
    "deploy",
)
"""Of an entry's document, in its order: the columns of CSV."""


def print_report(result: EntryReport, console: Console) -> None:
    """Print what was done to an entry; if that is nothing, all that is known about it."""
    from snapkit.core.inventory.metadata import shown_label

    if result.change is None:
        _print_facts(result, console)
        return
    entry = result.entry
    label = f" “{printable(shown_label(entry.label))}”" if result.change == "labelled" and entry.label else ""
    console.print(f"{printable(entry.name)} is {result.change}{label}.", style="bold green")


def _print_facts(result: EntryReport, console: Console) -> None:
    from rich.text import Text

    from snapkit.cli.deploy_facts import deploy_facts
    from snapkit.cli.table import print_facts
    from snapkit.core.inventory.entry import how_to_trust
    from snapkit.core.plans.properties import describe

    entry, database = result.entry, result.entry.database
    metadata = entry.metadata
    rows: list[tuple[str, str | Text]] = [
        ("Name", entry.name),
        ("Source", entry.source),
        ("Kind", entry.kind.value),
        ("State", Text(entry.state.value, style=STATE_STYLES[entry.state])),
        ("Created", f"{utc_text(entry.created_at)} UTC ({age_text(entry.created_at, result.now)})"),
        ("Size", size_text(entry.size_bytes)),
        ("Label", entry.label or "none"),
        ("Pinned", (f"yes: {entry.pin_reason}" if entry.pin_reason else "yes") if entry.pinned else "no"),
        *([("Strategy", entry.strategy.value if entry.strategy else "unknown")] if entry.kind is Kind.BACKUP else []),
        ("Sealed", "no: sessions can connect to it" if database.allow_connections else "yes"),
        ("Owner", database.owner),
        ("Tablespace", database.tablespace),
        *deploy_facts(entry.deploy),
    ]
    if metadata and metadata.gave_way_to:
        rows.append(("Put aside", f"by the rollback to {metadata.gave_way_to}"))
    if entry.altered:
        rows.append(("Altered", f"it {entry.altered}. {how_to_trust(entry)}"))
    if entry.not_given:
        rows.append(("Not given", "; ".join(entry.not_given)))
    if entry.opened:
        rows.append(("Open", f"in a shell: {entry.opened.describe()}"))
    if metadata and metadata.comment:
        rows.append(("Comment", metadata.comment))
    if result.properties:
        rows += list(describe(result.properties))
    print_facts(rows, console)


def name_of_entry(result: EntryReport) -> Sequence[str]:
    return (result.entry.name,)


def report_document(result: EntryReport) -> Document:
    """Return what stands under ``data`` for a result that is about one entry."""
    database, own = result.entry.database, result.entry.metadata
    more = {
        "oid": database.oid,
        "owner": database.owner,
        "tablespace": database.tablespace,
        "sealed": not database.allow_connections,
        "altered": result.entry.altered,
        "comment": own.comment if own else None,
    }
    return {"entry": entry_document(result.entry) | more}


def entry_document(entry: Entry) -> Document:
    from snapkit.cli.deploy_facts import deploy_document
    from snapkit.cli.envelope import time_document

    return {
        "name": entry.name,
        "source": entry.source,
        "kind": entry.kind.value,
        "state": entry.state.value,
        "created_at": time_document(entry.created_at),
        "size_bytes": entry.size_bytes,
        "label": entry.label,
        "pinned": entry.pinned,
        "pin_reason": entry.pin_reason,
        "strategy": entry.strategy.value if entry.strategy else None,
        "not_given": list(entry.not_given),
        "opened": _opened(entry.opened) if entry.opened else None,
        "deploy": deploy_document(entry.deploy),
    }


def _opened(opened: Opened) -> Document:
    from snapkit.cli.envelope import time_document

    return {"at": time_document(opened.at), "user": opened.user, "host": opened.host, "pid": opened.pid}


def failed_document(failures: Sequence[Failure]) -> list[Document]:
    """Return the entries that could not be dropped, each with its error."""
    from snapkit.cli.envelope import error_document

    return [{"entry": entry_document(each.entry), "error": error_document(each.error)} for each in failures]
