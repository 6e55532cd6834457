"""Note which rows of a backup are others at a boundary, and how they are there."""

from __future__ import annotations

from collections.abc import Callable

from snapkit.core.comparison.lineage import Kinship
from snapkit.core.comparison.pairing import pair_tables
from snapkit.core.comparison.row_changes import Method, Pair
from snapkit.postgres.comparison.relations import relations
from snapkit.postgres.connection.sqlstates import SERVER_ERRORS
from snapkit.services.carrying.knowledge import TouchedRows
from snapkit.services.comparison.rows import compare_rows
from snapkit.services.comparison.sides import Sides
from snapkit.services.comparison.values import values_of


def note_touched(sides: Sides, kinship: Kinship, touched: TouchedRows, check: Callable[[], None]) -> None:
    """Note which rows of ``before`` are others in ``after``, and how they are there; small tables come first.

    What cannot be read of a table is noted, too. ``check`` may raise, to stop it.
    """
    with sides.snapshot():
        pairs = pair_tables(relations(sides.before), relations(sides.after), related=kinship.proved)
    for pair in sorted(pairs, key=_blocks):
        if pair.before is None or pair.after is None or pair.key is None or pair.reason is not None:
            continue
        check()
        try:
            _note_table(sides, pair, kinship, touched)
        except SERVER_ERRORS as error:
            touched.note_lack(pair, f"it could not be read when the command had ended: {_in_short(error)}")


def _note_table(sides: Sides, pair: Pair, kinship: Kinship, touched: TouchedRows) -> None:
    with sides.snapshot(pair.before, pair.after) as as_of:
        changes = compare_rows(sides, pair, kinship, lambda blocks: None, as_of)
        if changes.method is Method.NOT_COMPARED:
            touched.note_lack(pair, changes.reason or "it could not be compared")
        else:
            values = values_of(sides, changes.pair, changes)
            touched.note(changes.pair, ((row.row.key or (), row.after) for row in values))


def _blocks(pair: Pair) -> int:
    return sum(leaf.blocks for leaf in pair.after.leaves) if pair.after else 0


def _in_short(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
