"""When two databases were the same files: what their documents note of that, and what follows from it.

A clone by files is its source, file by file, as of one moment. Each database notes its ancestors, and the moment at
which it was cloned from each. So for any two of them the latest common moment is known.
"""

from __future__ import annotations

from snapkit.core.values import dataclass


@dataclass(frozen=True, slots=True)
class Boundary:
    """A moment: what is not visible in its snapshot was written later.

    XIDs are 64 bits wide, as in pg_current_snapshot().
    https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-PG-SNAPSHOT
    """

    xmin: int
    xmax: int
    in_progress: tuple[int, ...] = ()
    lsn: int | None = None
    """The position of the WAL, in bytes from its beginning; all that is in the WAL before it was there by then."""


@dataclass(frozen=True, slots=True)
class Kinship:
    """What is known of two databases: whether they were once the same files, and until when.

    ``boundary`` is a moment at which they were, or an earlier one; None: it is not known.
    ``databases`` are the OIDs of the databases that were written to since then, on the way to either of the two.
    """

    proved: bool = False
    boundary: Boundary | None = None
    databases: tuple[int, ...] = ()


STRANGERS = Kinship()
"""Two databases of which it is not known that they were ever the same files."""
