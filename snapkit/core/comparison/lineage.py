"""When two databases were the same files: what their documents note of that, and what follows from it.

A clone by files is its source, file by file, as of one moment. Each clone notes the databases that it comes from, and
the moment at which it was cloned from each. So for any two of them the latest common moment is known, also when a
database between them was dropped long ago.
"""

from __future__ import annotations

from dataclasses import field, replace
from typing import Any

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

    @property
    def snapshot(self) -> str:
        """The snapshot as PostgreSQL writes it: ``xmin:xmax:in progress``."""
        return f"{self.xmin}:{self.xmax}:{','.join(map(str, self.in_progress))}"


def read_snapshot(text: str, lsn: int | None = None) -> Boundary:
    """Read a snapshot as PostgreSQL writes it; raise ValueError for anything else."""
    xmin, xmax, in_progress = text.split(":")
    boundary = Boundary(int(xmin), int(xmax), tuple(map(int, filter(None, in_progress.split(",")))), lsn)
    if min(boundary.xmin, boundary.xmax, *boundary.in_progress) < 0:
        raise ValueError(text)
    return boundary


@dataclass(frozen=True, slots=True)
class Ancestor:
    """A database that others come from, by its OID, and the moment at which the next of them was cloned from it.

    ``boundary`` is that moment, or an earlier one; None: it is not known.
    """

    oid: int
    boundary: Boundary | None


MAX_ANCESTORS = 64
"""So many are noted, the nearest ones. Each rollback to a backup of what is live adds one."""

MAX_IN_PROGRESS = 100
"""So many XIDs of a snapshot are noted. With more, a moment is noted before all of them began."""


@dataclass(frozen=True, slots=True)
class Lineage:
    """Where the database ``oid`` comes from: its source, the source of that, and so on, as far as it is known.

    ``system`` is the identifier of the server. On another server the same numbers mean other databases.
    """

    system: int
    oid: int
    ancestors: tuple[Ancestor, ...] = ()

    def cloned(self, oid: int, boundary: Boundary | None) -> Lineage:
        """Return the lineage of the database ``oid``, which was cloned from this one after ``boundary``."""
        if boundary is not None and len(boundary.in_progress) > MAX_IN_PROGRESS:
            boundary = replace(boundary, xmax=boundary.xmin, in_progress=())
        return replace(self, oid=oid, ancestors=(Ancestor(self.oid, boundary), *self.ancestors)[:MAX_ANCESTORS])

    def of_ancestor(self, oid: int) -> Lineage | None:
        """Return the lineage of the database ``oid`` if this is one of it, or of a database that comes from it."""
        oids = self.path
        return replace(self, oid=oid, ancestors=self.ancestors[oids.index(oid) :]) if oid in oids else None

    @property
    def path(self) -> tuple[int, ...]:
        """The OIDs of this database and of all that it comes from."""
        return (self.oid, *(each.oid for each in self.ancestors))

    @property
    def moments(self) -> tuple[Boundary | None, ...]:
        """The moments at which the databases of ``path`` were made, as far as they are known."""
        return tuple(each.boundary for each in self.ancestors)


@dataclass(frozen=True, slots=True)
class Lineages:
    """What is known of the databases of a server. ``system`` is its identifier; None: it may not be read."""

    system: int | None
    known: tuple[Lineage, ...] = field(default=(), hash=False)

    def of(self, oid: int) -> Lineage | None:
        """Return the lineage of a database; the longest, since some may have been cut. None without an identifier."""
        if self.system is None:
            return None
        found = [each.of_ancestor(oid) for each in self.known if each.system == self.system]
        least = Lineage(self.system, oid)
        return max((each for each in found if each), key=lambda each: len(each.ancestors), default=least)


UNKNOWN = Lineages(None)
"""Nothing is known of any database."""


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


def kinship(one: Lineage | None, other: Lineage | None) -> Kinship:
    """Return the kinship of two databases, by where each of them comes from.

    Both come from their nearest common ancestor, which may be one of the two. Each way left it when the next database
    of that way was cloned. The earlier one of these moments is the boundary: later, what one of them got was written to
    the ancestor when the other had left it already.
    """
    if one is None or other is None or one.system != other.system:
        return STRANGERS
    common = next((oid for oid in one.path if oid in other.path), None)
    if common is None:
        return STRANGERS
    here, there = one.path.index(common), other.path.index(common)
    if not _agree(one.ancestors[here:], other.ancestors[there:]):
        return STRANGERS
    left = [*one.moments[here - 1 : here], *other.moments[there - 1 : there]]
    databases = (*one.path[: here + 1], *other.path[:there])
    return Kinship(True, _earliest(left), databases)


def _agree(one: tuple[Ancestor, ...], other: tuple[Ancestor, ...]) -> bool:
    """Whether two lists of ancestors of one database are the same, as far as both go.

    If they are not, its OID was that of two databases, one after the other.
    """
    return all(mine == theirs for mine, theirs in zip(one, other, strict=False))


def _earliest(moments: list[Boundary | None]) -> Boundary | None:
    known = [each for each in moments if each is not None]
    if not known or len(known) < len(moments):
        return None
    positions = [each.lsn for each in known if each.lsn is not None]
    first = min(known, key=lambda each: (each.xmax, each.xmin))
    lsn = min(positions) if len(positions) == len(known) else None
    return replace(first, xmin=min(each.xmin for each in known), lsn=lsn)


# --- the document ---------------------------------------------------------------------------------------------------


def to_document(lineage: Lineage) -> dict[str, Any]:
    """Return what stands in a document."""
    ancestors = [
        [each.oid, each.boundary.snapshot, each.boundary.lsn] if each.boundary else [each.oid]
        for each in lineage.ancestors
    ]
    return {"system": lineage.system, "oid": lineage.oid, "from": ancestors}


def boundary_to_document(boundary: Boundary) -> list[Any]:
    """Return what stands in a document for one moment."""
    return [boundary.snapshot, boundary.lsn]


def boundary_from_document(document: object) -> Boundary | None:
    """Read what ``boundary_to_document`` wrote; None for anything else. Never raises."""
    try:
        return _read_boundary(*document) if isinstance(document, list) else None
    except (AttributeError, TypeError, ValueError):
        return None


def from_document(document: object) -> Lineage | None:
    """Read what ``to_document`` wrote; None for anything else. Never raises."""
    try:
        return _read(document)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def _read(document: Any) -> Lineage:
    ancestors = tuple(Ancestor(_number(oid), _read_boundary(*noted)) for oid, *noted in document["from"])
    return Lineage(_number(document["system"]), _number(document["oid"]), ancestors)


def _read_boundary(snapshot: str | None = None, lsn: int | None = None) -> Boundary | None:
    return None if snapshot is None else read_snapshot(snapshot, None if lsn is None else _number(lsn))


def _number(found: object) -> int:
    if not isinstance(found, int) or isinstance(found, bool) or found < 0:
        raise TypeError(found)
    return found
