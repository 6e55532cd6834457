"""What is different between an entry and the live database, or between two entries."""

from __future__ import annotations

from datetime import datetime, timedelta

from snapkit.core.comparison.differences import ChangedDefinition, ChangedTable
from snapkit.core.comparison.patterns import TablePattern
from snapkit.core.comparison.row_changes import Method
from snapkit.core.inventory.entry import Entry
from snapkit.core.outcome import Outcome
from snapkit.core.reporting import Caution
from snapkit.core.values import dataclass
from snapkit.errors import DiffersError, PartialError, SnapkitError


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
