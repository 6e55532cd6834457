"""What is different between an entry and the live database, or between two entries.

The entry is open to its owner alone while it is read, and gives way to a rollback that needs it. Definitions come
first, then each table for itself: in a live database each is as of a moment of its own, and is locked against nothing
but ALTER TABLE and its like, for as long as it is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from datetime import datetime, timedelta
from time import monotonic

from snapkit.core.comparison.differences import ChangedDefinition, ChangedTable
from snapkit.core.comparison.lineage import Kinship
from snapkit.core.comparison.pairing import pair_tables
from snapkit.core.comparison.patterns import TablePattern, check_each_fits, chosen_by
from snapkit.core.comparison.row_changes import Method, Pair
from snapkit.core.inventory.entry import Entry
from snapkit.core.outcome import Outcome
from snapkit.core.reporting import Caution, Observe, Progress, unobserved
from snapkit.core.values import dataclass
from snapkit.errors import NOTHING_CHANGED, BusyError, DiffersError, PartialError, SnapkitError, UsageError
from snapkit.postgres.comparison.relations import relations
from snapkit.postgres.connection.server import Server
from snapkit.postgres.connection.sqlstates import LOCK_NOT_AVAILABLE, SERVER_ERRORS, server_errors, sqlstate_of
from snapkit.services.comparison.kinship import kinship_of
from snapkit.services.comparison.other_data import compare_large_objects, compare_sequences
from snapkit.services.comparison.schema import compare_schemas
from snapkit.services.comparison.sides import Sides
from snapkit.services.comparison.tables import compare_tables, most_changed_first
from snapkit.services.entries.reading import Reading, reading_entries
from snapkit.services.run.interruption import interruptions
from snapkit.services.run.survey import need_live


@dataclass(frozen=True, slots=True)
class DiffRequest:
    """What is to be compared: ``wanted`` with ``other``, or with the live database if that is None.

    ``wanted`` None is the newest ready backup. Without ``tables`` all of them are compared; with them, only what
    belongs to them. ``rows`` says how many changed rows of each table are to be shown; None: none.
    """

    wanted: str | None = None
    other: str | None = None
    tables: tuple[TablePattern, ...] = ()
    definitions: bool = True
    contents: bool = True
    rows: int | None = None
    fails_if_different: bool = False
    """Whether a difference is an error (``--exit-code``)."""


@dataclass(frozen=True, slots=True)
class DiffReceipt(Outcome):
    """What is different, said from ``before`` to ``after``; None stands for the live database.

    ``tables`` are those with differences, and those that were not compared, sorted by how much changed.
    """

    request: DiffRequest
    """What was asked for: nothing is said of what was not compared because of that."""
    before: Entry
    after: Entry | None
    live: str
    """The name of the live database."""
    at: datetime
    """When the comparison began, by the server's clock."""
    schema: tuple[ChangedDefinition, ...]
    tables: tuple[ChangedTable, ...]
    tables_compared: int
    duration: timedelta
    cautions: tuple[Caution, ...] = ()

    @property
    def identical(self) -> bool | None:
        """Whether nothing differs; None if nothing was found to differ, but something could not be compared."""
        if self.schema or any(table.method is not Method.NOT_COMPARED for table in self.tables):
            return False
        return None if self.tables else True

    @property
    def not_compared(self) -> tuple[ChangedTable, ...]:
        """The tables that could not be compared; each says why."""
        return tuple(table for table in self.tables if table.method is Method.NOT_COMPARED)

    @property
    def changed(self) -> tuple[str, ...]:
        """The entries that were opened and sealed again."""
        return tuple(entry.name for entry in (self.before, self.after) if entry is not None)

    @property
    def shortfall(self) -> SnapkitError | None:
        if not self.request.fails_if_different or self.identical:
            return None
        if self.identical is None:
            return PartialError("Nothing differs, but some tables could not be compared.")
        return DiffersError("There are differences.")

    @property
    def complaints(self) -> tuple[SnapkitError, ...]:
        """None: the result itself tells it."""
        return ()


def find_differences(
    server: Server,
    request: DiffRequest,
    lock_wait: timedelta,
    observe: Observe = unobserved,
    shielded: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> DiffReceipt:
    """Compare an entry with the live database, or with another entry, and seal it again.

    The sealing runs under ``shielded``, which holds Ctrl-C back. Raises NotFoundError for an entry that is not there
    and a pattern that fits no table, UsageError for an entry that is to be compared with itself, and BusyError if an
    entry is open in a shell, or another command needed it meanwhile.
    """
    began = monotonic()
    wanted = [request.wanted] if request.other is None else [request.wanted, request.other]
    with (
        reading_entries(server, wanted, lock_wait, observe, command="diff", shielded=shielded) as reading,
        interruptions(NOTHING_CHANGED),
        server_errors(NOTHING_CHANGED),
    ):
        before, after = reading.entries[0], reading.entries[1] if len(reading.entries) > 1 else None
        if after is not None and after.database.oid == before.database.oid:
            raise UsageError(f"{before.name!r} cannot be compared with itself.", state=NOTHING_CHANGED)
        with _sides(reading, before, after) as sides:
            kinship = _kinship(reading, sides, before, after)
            with _locks_told():
                pairs = _pairs(sides, kinship, request.tables, before.name, after.name if after else server.source)
                observe(Progress("Comparing definitions", timedelta(0)))
                schema = _schema(sides, kinship, request, pairs)
            tables: tuple[ChangedTable, ...] = ()
            compared = 0
            if request.contents:
                tables = compare_tables(sides, pairs, kinship, request.rows, observe)
                compared = len(pairs) - sum(table.rows is None for table in tables)
                with _locks_told():
                    sequences, others = _other_data(sides, kinship, request, pairs)
                schema, tables = (*schema, *sequences), most_changed_first((*tables, *others))
    return DiffReceipt(
        request,
        before,
        after,
        server.source,
        reading.state.facts.now,
        schema,
        tables,
        compared,
        timedelta(seconds=monotonic() - began),
        tuple(reading.cautions),
    )


@contextmanager
def _sides(reading: Reading, before: Entry, after: Entry | None) -> Iterator[Sides]:
    with (
        reading.enter(before) as one,
        reading.enter(after) if after else reading.enter_live() as other,
        closing(Sides(one, other, reading.check)) as sides,
    ):
        yield sides


@contextmanager
def _locks_told() -> Iterator[None]:
    """Say it if a table stays locked: PostgreSQL needs to lock one to tell its size, or how it is defined."""
    try:
        yield
    except SERVER_ERRORS as error:
        if sqlstate_of(error) != LOCK_NOT_AVAILABLE:
            raise
        raise BusyError(
            "Another session has locked a table, as ALTER TABLE does.",
            state=NOTHING_CHANGED,
            hint="Wait for its transaction to end, and run the command again.",
        ) from error


def _kinship(reading: Reading, sides: Sides, before: Entry, after: Entry | None) -> Kinship:
    state = reading.state
    other = after.database if after else need_live(state, reading.server.source)
    return kinship_of(sides.before, state, before.database, other)


def _pairs(sides: Sides, kinship: Kinship, patterns: Sequence[TablePattern], before: str, after: str) -> Sequence[Pair]:
    """Return the tables of both sides that are to be compared; ``before`` and ``after`` are the databases' names."""
    pairs = pair_tables(*sides.both(relations), related=kinship.proved)
    check_each_fits(
        patterns, [name for pair in pairs for name in _names(pair)], f"neither in {before!r} nor in {after!r}"
    )
    return [pair for pair in pairs if any(chosen_by(patterns, *name) for name in _names(pair))]


def _names(pair: Pair) -> set[tuple[str, str]]:
    """Return schema and name, of a renamed table both."""
    return {(side.schema, side.name) for side in (pair.before, pair.after) if side is not None}


def _schema(
    sides: Sides, kinship: Kinship, request: DiffRequest, pairs: Sequence[Pair]
) -> tuple[ChangedDefinition, ...]:
    """Return the definitions that differ; where only some tables are wanted, those that belong to them."""
    if not request.definitions:
        return ()
    found = compare_schemas(sides, related=kinship.proved)
    if not request.tables:
        return found
    names = {name for pair in pairs for name in _names(pair)}
    return tuple(each for each in found if _belongs(each, names))


def _other_data(
    sides: Sides, kinship: Kinship, request: DiffRequest, pairs: Sequence[Pair]
) -> tuple[tuple[ChangedDefinition, ...], tuple[ChangedTable, ...]]:
    """Return the sequences that stand elsewhere; large objects, and what could not be compared of either."""
    if request.tables:
        names = {name for pair in pairs for name in _names(pair)}
        return compare_sequences(sides, related=kinship.proved, chosen=names)
    sequences, unread = compare_sequences(sides, related=kinship.proved)
    return sequences, (*unread, *compare_large_objects(sides))


_OF_TABLES = frozenset(
    {
        *("table", "foreign table", "materialized view", "column", "constraint", "index", "trigger", "rule", "policy"),
        *("owner", "privilege", "comment", "security label"),
    }
)
"""Kinds of objects that are a table, or that lie on one and have its name before their own."""


def _belongs(changed: ChangedDefinition, tables: Iterable[tuple[str, str]]) -> bool:
    return changed.object in _OF_TABLES and any(
        changed.schema == schema and (changed.name == name or changed.name.startswith(f"{name}."))
        for schema, name in tables
    )
