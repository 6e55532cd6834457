"""What differs between the definitions of two databases."""

from __future__ import annotations

from snapkit.core.comparison.differences import ChangedDefinition
from snapkit.core.comparison.schema.database_itself import definitions_of
from snapkit.core.comparison.schema.defined_objects import Definition
from snapkit.core.comparison.schema.overview import narrowed
from snapkit.core.comparison.schema.schema_changes import schema_changes
from snapkit.errors import NOTHING_CHANGED, BusyError
from snapkit.postgres.comparison.definitions.fingerprint import fingerprint
from snapkit.postgres.comparison.definitions.read import is_gone_meanwhile, overview, printed, stamps
from snapkit.postgres.connection.sqlstates import SERVER_ERRORS
from snapkit.services.comparison.database_itself import databases_themselves
from snapkit.services.comparison.sides import Sides

_ATTEMPTS = 10

_Definitions = tuple[list[Definition], list[Definition]]


def compare_schemas(sides: Sides, *, related: bool) -> tuple[ChangedDefinition, ...]:
    """Compare the definitions of two databases, and their settings, privileges, comments and owners.

    ``related`` says that they were once the same files: a renamed object is the same one then. Raises BusyError if
    definitions are changed all the while, and what the server says.
    """
    before, after = (list(definitions_of(each)) for each in databases_themselves(sides.before, sides.after))
    if not (related and _are_the_same(sides)):
        old, new = _definitions(sides, related=related)
        before, after = [*before, *old], [*after, *new]
    return schema_changes(before, after, related=related)


def _are_the_same(sides: Sides) -> bool:
    """Whether the catalogs of two related databases hold the same rows. Most often they do, and that is known soon."""
    before, after = sides.both(fingerprint)
    return before == after


def _definitions(sides: Sides, *, related: bool) -> _Definitions:
    """Return the definitions of either side, as of one moment; of related databases those that may differ."""
    for _ in range(_ATTEMPTS):
        try:
            found = _read_once(sides, related=related)
        except SERVER_ERRORS as error:
            if not is_gone_meanwhile(error):
                raise
        else:
            if found is not None:
                return found
    raise BusyError(
        "The definitions of the database are changed again and again.",
        state=NOTHING_CHANGED,
        hint="Run the command again when no migration or other DDL is under way.",
    )


def _read_once(sides: Sides, *, related: bool) -> _Definitions | None:
    """Return the definitions of either side; None if some were changed meanwhile."""
    with sides.snapshot():
        before, after = sides.both(overview)
        old, new = narrowed(before, after) if related else (before, after)
        found = sides.both(
            lambda connection: printed(connection, old, all_of_it=not related),
            lambda connection: printed(connection, new, all_of_it=not related),
        )
    with sides.snapshot():
        now = sides.both(stamps)
    return found if now == (before.stamps, after.stamps) else None
