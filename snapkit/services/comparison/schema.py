"""What differs between the definitions of two databases."""

from __future__ import annotations

from snapkit.core.comparison.differences import ChangedDefinition
from snapkit.core.comparison.schema.schema_changes import schema_changes
from snapkit.postgres.comparison.definitions.read import read_definitions
from snapkit.postgres.connection.server import Connection


def compare_schemas(before: Connection, after: Connection, *, related: bool) -> tuple[ChangedDefinition, ...]:
    """Compare the definitions of two databases, each of which is connected to.

    ``related`` says that they were once the same files: a renamed object is the same one then. The connections are in
    no transaction. Raises BusyError if definitions are changed all the while, and what the server says.
    """
    return schema_changes(read_definitions(before), read_definitions(after), related=related)
