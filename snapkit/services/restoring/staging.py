"""Find what differs, table by table, and bring the entry's rows to where they wait: temporary tables of one session.

That session is in the live database, and holds no lock and no snapshot while the rows come in.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from time import monotonic

from snapkit.core.comparison.lineage import Boundary, Kinship
from snapkit.core.comparison.pairing import pair_tables
from snapkit.core.comparison.patterns import TablePattern, check_each_fits, chosen_by
from snapkit.core.comparison.row_changes import Method, Pair, Relation
from snapkit.core.comparison.tids import pack
from snapkit.core.reporting import Observe, Progress
from snapkit.core.restoring.column_fit import columns_gone, takes_rows_as_they_are
from snapkit.core.restoring.live_table import ForeignKey, LiveTable, stands_alone
from snapkit.core.restoring.restored import RestoreConflict
from snapkit.core.values import dataclass
from snapkit.errors import NOTHING_CHANGED, BusyError, SnapkitError, UsageError
from snapkit.postgres.comparison.relations import relations
from snapkit.postgres.connection.driver import driver_connection
from snapkit.postgres.connection.server import Connection
from snapkit.postgres.restoring.entry_rows import (
    as_condition,
    count_all,
    fetch,
    fetch_gone,
    keys_that_lose,
    why_no_condition,
    written_after,
)
from snapkit.postgres.restoring.filling import conflict
from snapkit.postgres.restoring.live_tables import LiveTables, check_constraints
from snapkit.postgres.restoring.references import finds_its_parents
from snapkit.postgres.restoring.stage import INSERT, UPDATE, Stage, Straight, all_of
from snapkit.services.comparison.changed_rows import ChangedRows
from snapkit.services.comparison.rows import compare_rows
from snapkit.services.comparison.sides import Sides

_TABLES = ("r", "p")


@dataclass(frozen=True, slots=True)
class RestoreChoice:
    """Which rows of which tables: ``missing`` are to be inserted, ``changed`` ones to be updated.

    ``exact``: rows that the entry has not are to be deleted. ``where`` is an expression over the entry's table.
    """

    tables: tuple[TablePattern, ...]
    where: str | None = None
    missing: bool = True
    changed: bool = True
    exact: bool = False
    late_after: Boundary | None = None
    """Only what was written to the entry after this moment."""


@dataclass(frozen=True, slots=True)
class Staged:
    """The tables whose rows wait, and the conflicts that are known already."""

    stages: tuple[Stage, ...]
    live: LiveTables
    conflicts: tuple[RestoreConflict, ...]


def chosen_pairs(sides: Sides, kinship: Kinship, patterns: Sequence[TablePattern], entry: str) -> list[Pair]:
    """Return the tables of the entry that the patterns choose, by their names of then or of now.

    Raises NotFoundError for a pattern that chooses none.
    """
    pairs = [
        pair
        for pair in pair_tables(*sides.both(relations), related=kinship.proved)
        if pair.before is not None and pair.before.kind in _TABLES
    ]
    names = [sorted({(each.schema, each.name) for each in (pair.before, pair.after) if each}) for pair in pairs]
    check_each_fits(patterns, [name for both in names for name in both], f"in {entry!r}")
    return [pair for pair, both in zip(pairs, names, strict=True) if any(chosen_by(patterns, *name) for name in both)]


def check_condition(sides: Sides, pairs: Iterable[Pair], choice: RestoreChoice) -> None:
    """Raise UsageError if ``where`` is no condition over each of the tables."""
    if choice.where is None:
        return
    for pair in pairs:
        checked = [(sides.before, pair.before)] + ([(sides.after, pair.after)] if choice.exact else [])
        for side, table in checked:
            reason = why_no_condition(driver_connection(side), table, choice.where) if table else None
            if reason is not None and table is not None:
                raise UsageError(
                    f"--where is no condition over {table.schema}.{table.name}: {reason}",
                    state=NOTHING_CHANGED,
                    hint='It is one SQL expression, as after WHERE: --where "customer_id = 42 AND total > 100"',
                )


def table_conflicts(pairs: Iterable[Pair], entry: str) -> Iterator[RestoreConflict]:
    """Name the tables to which nothing can be written, or which cannot be compared."""
    for pair in pairs:
        table = pair.shown
        if pair.after is None:
            reason = (
                "the table was dropped since. restore brings back rows, not definitions: roll back, or copy the table "
                f"out of {entry} (snapkit shell, pg_dump -t)"
            )
        elif pair.after.kind not in _TABLES:
            reason = "it is no table any more"
        elif pair.reason is not None:
            reason = pair.reason
        else:
            continue
        yield RestoreConflict(table.schema, table.name, None, reason)


def stage_all(
    sides: Sides,
    pairs: Sequence[Pair],
    writer: Connection,
    choice: RestoreChoice,
    *,
    kinship: Kinship,
    live: LiveTables,
    may_go_straight: Callable[[LiveTable], bool],
    observe: Observe,
) -> Staged:
    """Compare the tables, and fetch the rows that are to be written.

    Many rows that are only missing stay in the entry until they are written, if nothing can be in their way and
    ``may_go_straight`` allows it.
    """
    stages: list[Stage] = []
    conflicts: list[RestoreConflict] = []
    began = monotonic()
    blocks = sum(sum(leaf.blocks for leaf in pair.before.leaves) for pair in pairs if pair.before)
    done = 0

    def step(compared: int) -> None:
        nonlocal done
        done += compared
        elapsed = timedelta(seconds=monotonic() - began)
        observe(Progress("Comparing rows", elapsed, min(done, blocks) * 8192, blocks * 8192))

    for number, pair in enumerate(pairs, 1):
        assert pair.after is not None  # noqa: S101 - those without are conflicts already
        stage = Stage(driver_connection(writer), number, pair, live.tables[pair.after.oid])
        stage.create()
        keys = tuple(key for key in live.keys if key.child == stage.relation.oid)
        plain = may_go_straight(stage.live) and _is_plain(sides, stage, choice, live)
        conflicts += _stage(sides, stage, kinship, choice, _Comparing(step, plain, keys))
        stages.append(stage)
    return Staged(tuple(stages), live, tuple(conflicts))


@dataclass(frozen=True, slots=True)
class _Comparing:
    """``step`` is told how far a comparison is. ``may_go_straight``: nothing can be in the way of missing rows."""

    step: Callable[[int], None]
    may_go_straight: bool
    keys: tuple[ForeignKey, ...]
    """The foreign keys from this table."""


_MANY = 20_000
"""From so many missing rows on it is worth it not to have them wait."""


def _is_plain(sides: Sides, stage: Stage, choice: RestoreChoice, live: LiveTables) -> bool:
    """Whether missing rows of this table can be in conflict with nothing but what others write meanwhile."""
    pair = stage.pair
    if choice.where is not None or choice.late_after is not None or not choice.missing or pair.before is None:
        return False
    key = [each.name for each in stage.key]
    return (
        takes_rows_as_they_are(pair)
        and stands_alone(stage.live, key, live.keys, live.tables)
        and check_constraints(sides.after, stage.relation.oid) <= check_constraints(sides.before, pair.before.oid)
    )


def _is_empty(connection: Connection, stage: Stage) -> bool:
    """Whether the live table has no block at all, as after TRUNCATE. It is locked against another one."""
    return not any(leaf.blocks for each in relations(connection, [stage.relation.oid]) for leaf in each.leaves)


def _stage(
    sides: Sides, stage: Stage, kinship: Kinship, choice: RestoreChoice, comparing: _Comparing
) -> Iterator[RestoreConflict]:
    pair, entry = stage.pair, driver_connection(sides.before)
    with sides.snapshot(pair.before, pair.after) as as_of:
        check_unchanged(sides.before, pair.before)
        check_unchanged(sides.after, pair.after)
        if comparing.may_go_straight and _is_empty(sides.after, stage):
            everything = Straight(entry, None, count_all(entry, stage))
            if everything.rows >= _MANY and finds_its_parents(stage, everything, comparing.keys):
                stage.straight = everything
                return
        changes = compare_rows(sides, pair, kinship, comparing.step, as_of)
        if changes.method is Method.NOT_COMPARED:
            raise SnapkitError(
                f"{stage.relation.schema}.{stage.relation.name} cannot be compared: {changes.reason}.",
                state=NOTHING_CHANGED,
            )
        if comparing.may_go_straight and _only_missing(changes, choice):
            missing = Straight(entry, changes.deleted, changes.counts.deleted)
            if finds_its_parents(stage, missing, comparing.keys):
                stage.straight = missing
                return
        yield from _fetch(sides, stage, changes, choice)


def _only_missing(changes: ChangedRows, choice: RestoreChoice) -> bool:
    """Whether many rows are missing, and nothing else is to be written."""
    found = changes.counts
    others = (found.updated if choice.changed else 0) + (found.inserted if choice.exact else 0)
    return found.deleted >= _MANY and not others


def _fetch(sides: Sides, stage: Stage, changes: ChangedRows, choice: RestoreChoice) -> Iterator[RestoreConflict]:
    """Have the rows wait that were found to differ."""
    entry, live = driver_connection(sides.before), driver_connection(sides.after)
    where = None if choice.where is None else as_condition(choice.where)
    wanted = where
    if choice.late_after is not None:
        wanted = all_of([written_after(entry, choice.late_after), *([where] if where else [])])
    if choice.missing and columns_gone(stage.pair):
        for key in keys_that_lose(entry, stage, changes.deleted, wanted):
            gone = ", ".join(each.name for each in columns_gone(stage.pair))
            yield conflict(stage, key, f"it has a value in a column that the table no longer has ({gone})")
    if choice.missing:
        fetch(entry, stage, INSERT, changes.deleted, wanted)
    if choice.changed:
        fetch(entry, stage, UPDATE, _updated(changes), wanted)
    if choice.exact:
        fetch_gone(live, stage, changes.inserted, where)


def check_unchanged(connection: Connection, table: Relation | None) -> None:
    """Raise BusyError if a table is not as it was when its columns were read."""
    if table is None:
        return
    found = relations(connection, [table.oid])
    if [_shape(each) for each in found] != [_shape(table)]:
        raise BusyError(
            f"{table.schema}.{table.name} was altered meanwhile.", state=NOTHING_CHANGED, hint="Run the command again."
        )


def _shape(table: Relation) -> tuple[object, ...]:
    leaves = frozenset((leaf.oid, leaf.schema, leaf.name) for leaf in table.leaves)
    return table.oid, table.schema, table.name, table.columns, table.keys, table.partitioned, table.reason, leaves


def _updated(changes: ChangedRows) -> Iterator[tuple[int, bytes]]:
    """The places of the entry's rows that were changed, by leaf."""
    for some in changes.updated:
        by_leaf: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for before, _ in some:
            by_leaf[before.leaf].append((before.block, before.line))
        for leaf, at in by_leaf.items():
            yield leaf, pack(at)
