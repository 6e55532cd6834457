"""``snapkit diff``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from snapkit.cli.arguments import NAME, Latest, no_empty_name, whole_number
from snapkit.cli.completion import names_where
from snapkit.cli.invocation import Invocation
from snapkit.cli.registry import registry
from snapkit.errors import NOTHING_CHANGED, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from snapkit.cli.envelope import Document
    from snapkit.core.comparison.differences import ChangedDefinition, ChangedTable
    from snapkit.core.comparison.patterns import TablePattern
    from snapkit.services.diff import DiffReceipt

_OPENABLE = ("ready", "altered")
_EntryName = Annotated[
    str | None,
    typer.Argument(
        metavar="[NAME]",
        help=f"{NAME} [default: the newest backup]",
        autocompletion=names_where(lambda entry: entry.state in _OPENABLE),
    ),
]
_With = Annotated[
    str | None,
    typer.Option(
        "--with",
        metavar="NAME",
        help="Another entry to compare it with, instead of the live database.",
        autocompletion=names_where(lambda entry: entry.state in _OPENABLE),
    ),
]
_Tables = Annotated[
    list[str] | None,
    typer.Option(
        "--table",
        metavar="PATTERN",
        help="Only these tables, as in psql's \\d: schema.table, with * and ?; may be repeated.",
    ),
]


def _text(result: DiffReceipt, console: Console) -> None:
    from snapkit.cli.diff_text import print_diff

    print_diff(result, console)


def _data(result: DiffReceipt) -> Document:
    from snapkit.cli.entry_facts import entry_document
    from snapkit.core.durations import milliseconds

    return {
        "from": entry_document(result.before),
        "to": entry_document(result.after) if result.after else None,
        "identical": result.identical,
        "schema": [_definition(each) for each in result.schema],
        "tables": [_table(each) for each in result.tables],
        "tables_compared": result.tables_compared,
        "duration_ms": milliseconds(result.duration),
    }


def _definition(changed: ChangedDefinition) -> Document:
    return {
        "object": changed.object,
        "schema": changed.schema,
        "name": changed.name,
        "change": changed.change.value,
        "before": changed.before,
        "after": changed.after,
    }


def _table(changed: ChangedTable) -> Document:
    from snapkit.cli.row_facts import row_document, table_document
    from snapkit.core.utc import iso_utc

    return table_document(changed.schema, changed.table, changed.rows) | {
        "method": changed.method.value,
        **({"reason": changed.reason} if changed.rows is None else {}),
        "as_of": iso_utc(changed.as_of, "microseconds") if changed.as_of else None,
        "rows": None if changed.shown is None else [row_document(each) for each in changed.shown],
    }


@registry.command(
    "diff",
    changes=True,
    text=_text,
    data=_data,
    examples=[
        "snapkit diff",
        "snapkit diff 153124 --table 'public.order*' --rows 20",
        "snapkit diff 'before v42' --html diff.html",
        "snapkit diff 153124 --with 091500 --exit-code",
    ],
)
def diff(
    run: Invocation,
    *,
    name: _EntryName = None,
    latest: Latest = False,
    with_: _With = None,
    table: _Tables = None,
    schema_only: Annotated[bool, typer.Option("--schema-only", help="Compare definitions only, no rows.")] = False,
    data_only: Annotated[bool, typer.Option("--data-only", help="Compare rows only, no definitions.")] = False,
    rows: Annotated[
        str | None,
        typer.Option("--rows", metavar="N", help="Show up to N changed rows of each table: key, before and after."),
    ] = None,
    exit_code: Annotated[
        bool,
        typer.Option("--exit-code", help="End with 26 if anything differs, with 3 if something could not be compared."),
    ] = False,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page to look at in a browser, too.")
    ] = None,
) -> DiffReceipt:
    """Show what changed since a backup: definitions, and rows by table.

    Nobody is held up, and the backup stays sealed.
    """
    if name is not None and latest:
        raise UsageError("Give a name or --latest, not both.", state=NOTHING_CHANGED, hint="snapkit list")
    if schema_only and data_only:
        raise UsageError("Give either --schema-only or --data-only.", state=NOTHING_CHANGED)
    shown = whole_number("--rows", rows)
    if schema_only and shown:
        raise UsageError("With --schema-only no rows are compared: --rows has nothing to show.", state=NOTHING_CHANGED)
    wanted = None if name is None else no_empty_name(name)
    other = None if with_ is None else no_empty_name(with_)
    patterns = _patterns(table or ())
    if html is not None:
        from snapkit.cli.page_file import check_page_file

        check_page_file(html)
    server = run.server()
    from snapkit.cli.ctrl_c import uninterrupted
    from snapkit.services.diff import DiffRequest, find_differences

    request = DiffRequest(
        wanted,
        other,
        patterns,
        definitions=not data_only,
        contents=not schema_only,
        rows=shown,
        fails_if_different=exit_code,
    )
    with run.terminal.progress("Comparing") as observe:
        receipt = find_differences(server, request, run.settings().lock_wait, observe, uninterrupted)
    if html is not None:
        from snapkit.cli.diff_page import diff_page
        from snapkit.cli.format import printable
        from snapkit.cli.page_file import write_page

        write_page(html, diff_page(receipt, run.whereabouts))
        run.note_after(f"Page: {printable(str(html))}")
    if not run.is_quiet:
        from snapkit.cli.diff_story import next_text

        run.note_after(next_text(receipt, run.as_typed))
    return receipt


def _patterns(given: Sequence[str]) -> tuple[TablePattern, ...]:
    from snapkit.core.comparison.patterns import table_pattern

    try:
        return tuple(map(table_pattern, given))
    except ValueError as error:
        raise UsageError(f"--table {error}.", state=NOTHING_CHANGED) from None
