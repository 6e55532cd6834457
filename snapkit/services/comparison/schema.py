"""What differs between the definitions of two databases."""

from __future__ import annotations

from snapkit.core.comparison.differences import ChangedDefinition
from snapkit.core.comparison.schema.database_itself import definitions_of
from snapkit.core.comparison.schema.schema_changes import schema_changes
from snapkit.postgres.comparison.definitions.fingerprint import fingerprint
from snapkit.postgres.comparison.definitions.read import read_definitions
from snapkit.services.comparison.database_itself import databases_themselves
from snapkit.services.comparison.sides import Sides


def compare_schemas(sides: Sides, *, related: bool) -> tuple[ChangedDefinition, ...]:
    """Compare the definitions of two databases, and their settings, privileges, comments and owners.

    ``related`` says that they were once the same files: a renamed object is the same one then. Raises BusyError if
    definitions are changed all the while, and what the server says.
    """
    before, after = (list(definitions_of(each)) for each in databases_themselves(sides.before, sides.after))
    if not (related and _are_the_same(sides)):
        old, new = sides.both(read_definitions)
        before, after = [*before, *old], [*after, *new]
    return schema_changes(before, after, related=related)


def _are_the_same(sides: Sides) -> bool:
    """Whether the catalogs of two related databases hold the same rows. Most often they do, and that is known soon."""
    before, after = sides.both(fingerprint)
    return before == after
