"""``snapkit restore``."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from snapkit.cli.arguments import NAME, DryRunOption, Latest, Yes, one_of, wanted_of
from snapkit.cli.completion import names_where
from snapkit.cli.ctrl_c import uninterrupted
from snapkit.cli.dry_run import DryRun, plan_document, print_dry_run
from snapkit.cli.format import count_text, printable
from snapkit.cli.invocation import Invocation
from snapkit.cli.registry import registry
from snapkit.errors import NOTHING_CHANGED, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from snapkit.cli.envelope import Document
    from snapkit.core.comparison.differences import ShownRow
    from snapkit.core.comparison.patterns import TablePattern
    from snapkit.core.restoring.restored import RestoreConflict, RestoredTable
    from snapkit.services.restore import PreparedRestore, RestorePreview, RestoreReceipt, RestoreRequest

_ROWS = 100
"""Rows of each table that a dry run shows."""

_CONFLICTS = 20
"""Conflicts that are shown to a person."""


def _text(result: RestoreReceipt | DryRun[RestorePreview], console: Console) -> None:
    if isinstance(result, DryRun):
        print_dry_run(result, console, _print_preview)
        return
    from snapkit.cli.table import print_facts
    from snapkit.core.durations import duration_text

    if result.conflicts:
        _print_conflicts(result.conflicts, console)
        return
    rows = [(f"{each.schema}.{each.table}", _counts(each)) for each in result.tables]
    if not rows:
        console.print("Nothing to bring back: these rows are as they are in the entry.", style="bold green")
        return
    done = "taken back" if result.undone else "brought back"
    total = sum(each.rows.total for each in result.tables)
    console.print(f"{count_text(total, 'row')} {done} in {printable(result.source)}.", style="bold green")
    print_facts([*rows, ("Triggers", result.triggers.value), ("Total time", duration_text(result.duration))], console)
    if not result.undone:
        console.print("To take this back: snapkit restore --undo (within seven days)")


def _print_preview(result: RestorePreview, console: Console) -> None:
    from snapkit.cli.table import print_facts

    if result.conflicts:
        _print_conflicts(result.conflicts, console)
        return
    rows = [("From", result.entry.name)] if result.entry else []
    rows += [(f"{each.schema}.{each.table}", _counts(each)) for each in result.tables]
    rows.append(("Triggers", result.triggers.value))
    rows += [("Mind", caution.message) for caution in result.cautions]
    print_facts(rows, console)
    for table in result.shown:
        console.print()
        console.print(f"{printable(table.schema)}.{printable(table.table)}", style="bold")
        for row in table.rows:
            console.print(printable("  " + _row_text(row)), soft_wrap=True)


def _counts(table: RestoredTable) -> str:
    numbers = (
        (table.rows.inserted, "inserted"),
        (table.rows.updated, "updated"),
        (table.rows.deleted, "deleted"),
    )
    return ", ".join(f"{number:,} {what}" for number, what in numbers if number)


def _print_conflicts(conflicts: Sequence[RestoreConflict], console: Console) -> None:
    console.print("These rows cannot be brought back:", style="bold red")
    for each in conflicts[:_CONFLICTS]:
        console.print(printable(f"  {each.describe()}"), soft_wrap=True)
    if len(conflicts) > _CONFLICTS:
        console.print(f"  and {count_text(len(conflicts) - _CONFLICTS, 'other')} (--json names all)")


def _row_text(row: ShownRow) -> str:
    """``+ id=7: name=a`` for a row that is inserted, ``-`` for a deleted one, and for an update what is set."""
    key = "" if row.key is None else ", ".join(f"{name}={_value(value)}" for name, value in row.key.items()) + ": "
    if row.before is None or row.after is None:
        sign, values = ("+", row.after or {}) if row.before is None else ("-", row.before)
        rest = {name: value for name, value in values.items() if name not in (row.key or {})}
        return f"{sign} {key}" + ", ".join(f"{name}={_value(value)}" for name, value in rest.items())
    set_ = [
        f"{name}: {_value(row.before[name])} → {_value(value)}"
        for name, value in row.after.items()
        if row.before[name] != value
    ]
    return f"~ {key}" + ", ".join(set_)


def _value(value: str | None) -> str:
    return "NULL" if value is None else value


def _data(result: RestoreReceipt | DryRun[RestorePreview]) -> Document:
    from snapkit.cli.entry_facts import entry_document
    from snapkit.cli.row_facts import conflict_document, row_document, table_document

    told = result.preview if isinstance(result, DryRun) else result
    document: Document = {
        "from": entry_document(told.entry) if told.entry else None,
        "tables": [table_document(each.schema, each.table, each.rows) for each in told.tables],
        "conflicts": list(map(conflict_document, told.conflicts)),
        "triggers": told.triggers.value,
    }
    if not isinstance(result, DryRun):
        from snapkit.core.durations import milliseconds

        return document | {"duration_ms": milliseconds(result.duration)}
    shown = {(each.schema, each.table): list(map(row_document, each.rows)) for each in result.preview.shown}
    for each in document["tables"]:
        each["rows"] = shown.get((each["schema"], each["table"]), [])
    return plan_document(result.preview) | document


@registry.command(
    "restore",
    changes=True,
    text=_text,
    data=_data,
    examples=[
        "snapkit restore --latest --table orders",
        "snapkit restore 153124 --table customers --where 'id = 42' --dry-run",
        "snapkit restore --latest --table 'shop.*' --only missing",
        "snapkit restore --undo",
    ],
)
def restore(
    run: Invocation,
    *,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]", help=NAME, autocompletion=names_where(lambda entry: entry.state in ("ready", "altered"))
        ),
    ] = None,
    latest: Latest = False,
    table: Annotated[
        list[str] | None,
        typer.Option(
            "--table",
            metavar="PATTERN",
            help="The tables, as in psql's \\d: schema.table, with * and ?; may be repeated.",
        ),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option("--where", metavar="SQL", help="Only rows of the backup for which this SQL expression holds."),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            metavar="KIND",
            help="Only rows that are missing, or only those that were changed.",
            autocompletion=lambda: ["missing", "changed"],
        ),
    ] = None,
    late_writes: Annotated[
        bool,
        typer.Option("--late-writes", help="Of a displaced database: only what was written after its boundary."),
    ] = False,
    exact: Annotated[bool, typer.Option("--exact", help="Also delete rows that the backup does not have.")] = False,
    triggers: Annotated[
        str | None,
        typer.Option(
            "--triggers",
            metavar="on|off",
            help="Whether triggers run for these rows. [default: off if the role may switch them off for its session]",
            autocompletion=lambda: ["on", "off"],
        ),
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Take the last restore back.")] = False,
    dry_run: DryRunOption = False,
    yes: Yes = False,
) -> RestoreReceipt | DryRun[RestorePreview]:
    """Bring rows of some tables back from a backup, while everybody works."""
    chosen = one_of("--triggers", triggers, ("on", "off"))
    kinds = [one_of("--only", kind, ("missing", "changed")) for kind in only or ()]
    if undo:
        if name is not None or latest or table or where is not None or kinds or late_writes or exact:
            raise UsageError(
                "--undo takes back the last restore as a whole: it goes with --triggers, --dry-run and --yes only.",
                state=NOTHING_CHANGED,
            )
        return _undo(run, chosen, dry_run=dry_run, yes=yes)
    wanted = wanted_of(name, latest)
    patterns = _patterns(table)
    if exact and late_writes:
        raise UsageError(
            "--exact deletes what a backup does not have, and --late-writes leaves most of it out. Give one of them.",
            state=NOTHING_CHANGED,
        )
    if exact and kinds:
        raise UsageError(
            "--exact makes the rows as they are in the backup; --only leaves some out. Give one of them.",
            state=NOTHING_CHANGED,
        )
    run.server()
    from snapkit.core.restoring.restored import TriggerMode
    from snapkit.services.restore import RestoreRequest
    from snapkit.services.restoring.staging import RestoreChoice

    choice = RestoreChoice(
        patterns,
        where,
        missing=not kinds or "missing" in kinds,
        changed=not kinds or "changed" in kinds,
        exact=exact,
    )
    request = RestoreRequest(wanted, choice, TriggerMode(chosen) if chosen else None, late_writes, dry_run)
    return _restore(run, request, dry_run=dry_run, yes=yes)


def _patterns(texts: Sequence[str] | None) -> tuple[TablePattern, ...]:
    if not texts:
        raise UsageError(
            "Say which tables: --table PATTERN.",
            state=NOTHING_CHANGED,
            hint="All of a schema's: --table 'public.*'. The whole database goes back with snapkit rollback.",
        )
    from snapkit.core.comparison.patterns import table_pattern

    try:
        return tuple(map(table_pattern, texts))
    except ValueError as error:
        raise UsageError(f"--table: {error}.", state=NOTHING_CHANGED) from None


def _restore(
    run: Invocation, request: RestoreRequest, *, dry_run: bool, yes: bool
) -> RestoreReceipt | DryRun[RestorePreview]:
    from contextlib import ExitStack

    from snapkit.services.restore import prepared_restore

    server, lock_wait = run.server(), run.settings().lock_wait
    with ExitStack() as stack:
        with run.terminal.progress("Comparing") as observe:
            prepared = stack.enter_context(prepared_restore(server, request, lock_wait, observe, uninterrupted))
        return _go_on(run, prepared, dry_run=dry_run, yes=yes, question=f"Write these rows to {server.source}?")


def _undo(
    run: Invocation, triggers: str | None, *, dry_run: bool, yes: bool
) -> RestoreReceipt | DryRun[RestorePreview]:
    from contextlib import ExitStack

    server = run.server()
    from snapkit.core.restoring.restored import TriggerMode
    from snapkit.services.restore import prepared_undo

    with ExitStack() as stack:
        with run.terminal.progress("Reading") as observe:
            prepared = stack.enter_context(prepared_undo(server, TriggerMode(triggers) if triggers else None, observe))
        question = f"Take the last restore of {server.source} back?"
        return _go_on(run, prepared, dry_run=dry_run, yes=yes, question=question)


def _go_on(
    run: Invocation, prepared: PreparedRestore, *, dry_run: bool, yes: bool, question: str
) -> RestoreReceipt | DryRun[RestorePreview]:
    if dry_run:
        return DryRun(prepared.preview(_ROWS))
    if run.asks(yes):
        preview = prepared.preview()
        if preview.tables:
            run.show(partial(_print_preview, preview))
            run.confirm(question)
    with run.terminal.progress("Writing") as observe:
        return prepared.apply(observe)
