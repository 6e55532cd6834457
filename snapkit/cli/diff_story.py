"""What a comparison has found, in the words and the order in which text and page tell it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from snapkit.cli.format import age_text, printable
from snapkit.core.comparison.differences import ChangedDefinition, ChangedTable, DefinitionChange, ShownRow
from snapkit.core.comparison.patterns import pattern_for
from snapkit.core.comparison.row_changes import Change, Method
from snapkit.core.comparison.writes import Rows
from snapkit.core.durations import duration_text
from snapkit.core.inventory.kinds import Kind
from snapkit.core.inventory.metadata import shown_label
from snapkit.core.utc import utc_clock, utc_text
from snapkit.core.values import dataclass

if TYPE_CHECKING:
    from snapkit.services.diff import DiffReceipt

NULL = "NULL"
SIGNS = {Change.INSERTED: "+", Change.UPDATED: "~", Change.DELETED: "-"}
DEFINITION_SIGNS = {DefinitionChange.ADDED: "+", DefinitionChange.CHANGED: "~", DefinitionChange.REMOVED: "-"}

_ON_TABLES = frozenset(("column", "index", "constraint", "trigger", "policy", "rule"))
"""Kinds of objects whose name always begins with that of their table. Of others, as of comments, it may."""
_FEW_TABLES = 3


@dataclass(frozen=True, slots=True)
class Group:
    """A table with what lies on it, or any other object alone; ``own`` is None where only what lies on it differs."""

    object: str
    name: str
    own: ChangedDefinition | None
    parts: tuple[tuple[str, ChangedDefinition], ...] = ()
    """Each with its title within the table."""


def counted(number: int, noun: str) -> str:
    """Return ``1 row``, ``12,345 rows``."""
    return f"{number:,} {noun if number == 1 else noun + 's'}"


def headline(receipt: DiffReceipt) -> str:
    """Answer in one sentence whether they differ, and by how much."""
    after, before = _after(receipt), f"{receipt.before.name} ({_known_of_before(receipt)})"
    if receipt.identical:
        return f"{after} {_sameness(receipt)} {before}."
    left_out = len(receipt.not_compared)
    missing = f"{counted(left_out, 'table')} could not be compared."
    if receipt.identical is None:
        return f"{after} and {before}: no difference was found, but {missing}"
    found = " and ".join(_found(receipt))
    return f"{after} differs from {before}: {found}." + (f" {missing}" if left_out else "")


def _after(receipt: DiffReceipt) -> str:
    return receipt.after.name if receipt.after else receipt.live


def _known_of_before(receipt: DiffReceipt) -> str:
    label = f"“{shown_label(receipt.before.label)}”, " if receipt.before.label else ""
    return f"{label}made {age_text(receipt.before.created_at, receipt.at)}"


def _sameness(receipt: DiffReceipt) -> str:
    if not receipt.request.contents:
        return "has the same definitions as"
    if not receipt.request.definitions:
        return "has the same rows as"
    return "is the same as"


def _found(receipt: DiffReceipt) -> Iterator[str]:
    if receipt.schema:
        yield counted(len(receipt.schema), "definition")
    tables = [table.rows for table in receipt.tables if table.rows is not None]
    if tables:
        yield f"{counted(sum(rows.total for rows in tables), 'row')} in {counted(len(tables), 'table')}"


def compared(receipt: DiffReceipt) -> str:
    """Say what was compared and how long it took, and what was not because nobody asked for it."""
    request = receipt.request
    rows = f"the rows of {counted(receipt.tables_compared, 'table')}"
    what = " and ".join([*(["definitions"] if request.definitions else []), *([rows] if request.contents else [])])
    said = [f"Compared: {what}, in {duration_text(receipt.duration)}."]
    if request.tables:
        said.append(f"Only what fits {' or '.join(pattern.text for pattern in request.tables)}.")
    if not request.contents:
        said.append("Rows were not compared.")
    if not request.definitions:
        said.append("Definitions were not compared.")
    return " ".join(said)


def moments(receipt: DiffReceipt) -> str | None:
    """Say as of when a live database was compared; None where both sides stand still, or no rows were compared."""
    times = sorted(table.as_of for table in receipt.tables if table.as_of is not None)
    if receipt.after is not None or not times:
        return None
    first, last = times[0], times[-1]
    if last - first < timedelta(seconds=1):
        return f"{receipt.live} was read as of {utc_text(last)} UTC."
    return f"{receipt.live} was read as of {utc_text(first)} to {utc_clock(last)} UTC, each table at its own moment."


def definition_counts(schema: Sequence[ChangedDefinition]) -> str:
    """Return ``1 added, 2 removed, 3 changed``, without what there is none of."""
    numbers = {change: sum(each.change is change for each in schema) for change in DefinitionChange}
    return ", ".join(f"{number:,} {change.value}" for change, number in numbers.items() if number)


def groups(receipt: DiffReceipt) -> list[Group]:
    """Return the definitions by object: first tables, each with what lies on it, then everything else by kind."""
    tables = {(table.schema, table.table) for table in receipt.tables}
    tables |= {(each.schema or "", each.name) for each in receipt.schema if each.object == "table"}
    tables |= {(each.schema or "", _table_of(each, tables)) for each in receipt.schema if each.object in _ON_TABLES}
    owns: dict[str, ChangedDefinition] = {}
    parts: dict[str, list[tuple[str, ChangedDefinition]]] = {}
    others: list[Group] = []
    for each in receipt.schema:
        if each.object == "table":
            owns[named(each.schema, each.name)] = each
        elif (table := _table_of(each, tables)) and (each.object in _ON_TABLES or (each.schema or "", table) in tables):
            title = f"{each.object} {each.name[len(table) + 1 :]}".strip()
            parts.setdefault(named(each.schema, table), []).append((title, each))
        else:
            others.append(Group(each.object, named(each.schema, each.name), each))
    of_tables = [
        Group("table", name, owns.get(name), tuple(parts.get(name, ()))) for name in sorted(owns.keys() | parts.keys())
    ]
    return of_tables + sorted(others, key=lambda group: (group.object, group.name))


def _table_of(part: ChangedDefinition, tables: set[tuple[str, str]]) -> str:
    """Return the table that an object's name begins with: a known one, or what stands before the first dot."""
    ends = [*(at for at, letter in enumerate(part.name) if letter == "."), len(part.name)]
    heads = [part.name[:end] for end in ends]
    return next((head for head in reversed(heads) if (part.schema or "", head) in tables), heads[0])


def definition_texts(each: ChangedDefinition) -> tuple[str, str]:
    """Return the definition before and after, without what its title says already; empty where there is none."""
    texts = [(side or "").rstrip("\n") for side in (each.before, each.after)]
    if each.object == "column":
        name = each.name.rpartition(".")[2]
        heads = (f"{name} ", f'"{name}" ')
        if all(text.startswith(heads) for text in texts if text):
            texts = [text.removeprefix(heads[0]).removeprefix(heads[1]) for text in texts]
    before, after = texts
    return before, after


def named(schema: str | None, name: str) -> str:
    return f"{schema}.{name}" if schema else name


def changed_tables(receipt: DiffReceipt) -> list[tuple[ChangedTable, Rows]]:
    """Return the tables with differences, by how much changed."""
    found = [(table, table.rows) for table in receipt.tables if table.rows is not None]
    return sorted(found, key=lambda each: (-each[1].total, each[0].schema, each[0].table))


def by_change(rows: Rows) -> dict[Change, int]:
    return {Change.INSERTED: rows.inserted, Change.UPDATED: rows.updated, Change.DELETED: rows.deleted}


def bar_lengths(rows: Rows, largest: int, width: int) -> dict[Change, int]:
    """Divide a bar of ``width`` for the table of which most rows changed (``largest``); whatever there is gets a part.

    ``width`` is at least 3.
    """
    lengths = {
        change: max(round(width * count / largest), 1) if count else 0 for change, count in by_change(rows).items()
    }
    while (surplus := sum(lengths.values()) - width) > 0:
        lengths[max(lengths, key=lengths.__getitem__)] -= surplus
    return lengths


def fates(receipt: DiffReceipt) -> dict[tuple[str, str], str]:
    """Return the tables, by schema and name, that are there on one side only, and which of the two words fits."""
    words = {DefinitionChange.ADDED: "new table", DefinitionChange.REMOVED: "dropped table"}
    return {
        (each.schema or "", each.name): words[each.change]
        for each in receipt.schema
        if each.object == "table" and each.change in words
    }


_METHODS = {
    Method.VERSIONS: "by row versions",
    Method.SUMMARIES: "by WAL summaries",
    Method.KEYS: "by keys",
    Method.VALUES: "by whole rows, since it has no key",
    Method.NOT_COMPARED: "not compared",
}


def method_text(method: Method) -> str:
    return _METHODS[method]


def value_text(value: str | None) -> str:
    """Return a value in one line; what could be mistaken for another stands in quotes, as an SQL literal."""
    if value is None:
        return NULL
    text = printable(value)
    return f"'{text}'" if value in ("", NULL) or value != value.strip() else text


def columns_of(rows: Sequence[ShownRow]) -> list[str]:
    """Return the columns of some rows of a table, those of the key first."""
    found = dict.fromkeys(column for row in rows for column in row.key or ())
    for row in rows:
        for side in (row.after, row.before):
            found |= dict.fromkeys(side or ())
    return list(found)


def changed_columns(before: Mapping[str, str | None], after: Mapping[str, str | None]) -> set[str]:
    """The columns that differ. One that only a side has is not one of them: it is told with the definitions."""
    return {column for column in before.keys() & after.keys() if before[column] != after[column]}


def shown_of(table: ChangedTable, rows: Rows) -> str:
    """Say how many of a table's changed rows are shown."""
    shown = len(table.shown or ())
    whole = counted(rows.total, "changed row")
    return whole if shown >= rows.total else f"{shown:,} of {whole}"


def next_steps(receipt: DiffReceipt, typed: Callable[[str], str] = shlex.quote) -> list[tuple[str, str]]:
    """Return what to do next, each with what to type. ``typed`` makes of the entry's name what is typed for it."""
    rows = changed_tables(receipt)
    name, live = typed(receipt.before.name), receipt.after is None
    with_ = f" --with {shlex.quote(receipt.after.name)}" if receipt.after else ""
    steps = []
    if rows and all(table.shown is None for table, _ in rows):
        chosen = "".join(f" --table {shlex.quote(each.text)}" for each in receipt.request.tables)
        steps.append(("See the changed rows", f"snapkit diff {name}{with_}{chosen} --rows 20"))
    # Large objects, which stand as a table of pg_catalog, are not brought back one by one.
    lost = [table for table, counts in rows if (counts.updated or counts.deleted) and table.schema != "pg_catalog"]
    one_sided = fates(receipt)
    patterns = [
        pattern_for(table.schema, table.table) for table in lost if (table.schema, table.table) not in one_sided
    ]
    if live and patterns:
        words = [f"--table {shlex.quote(pattern)}" for pattern in patterns[:_FEW_TABLES]]
        more = " --table ..." if len(patterns) > _FEW_TABLES else ""
        restore = f"snapkit restore {name} {' '.join(words)}{more} --dry-run"
        is_backup = receipt.before.kind is Kind.BACKUP
        what = "Bring back rows that are gone or changed" if is_backup else "Bring rows of it into the live database"
        steps.append((what, restore))
    if live and not receipt.identical:
        steps.append(("Go back to it as a whole", f"snapkit rollback {name}"))
    return steps


def next_text(receipt: DiffReceipt, typed: Callable[[str], str] = shlex.quote) -> str:
    """Return the same in lines for a terminal; empty if there is nothing to do."""
    return "\n".join(f"{what}:\n  {printable(words)}" for what, words in next_steps(receipt, typed))
