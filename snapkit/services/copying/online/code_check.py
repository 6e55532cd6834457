"""Whether code of somebody else's would run with a superuser's rights while a copy is filled."""

from __future__ import annotations

from collections.abc import Sequence

from snapkit.errors import UsageError
from snapkit.postgres.connection.server import Connection
from snapkit.postgres.copying.untrusted_code import foreign_calls

_NAMED = 10


def check_code(connection: Connection, state: str) -> None:
    """Raise UsageError if code of somebody else's would run in a copy that a superuser makes of this database.

    Another role in between would be no wall: what runs as the owner after SET ROLE or SET SESSION AUTHORIZATION can
    RESET it, and is the superuser again.
    """
    calls = foreign_calls(connection)
    if calls:
        raise UsageError(
            "Loading the rows would run code of other roles with a superuser's "
            f"rights:{listed([each.describe() for each in calls])}",
            state=state,
            hint="Connect as the database's owner, whose rights are enough, or leave --strategy online out.",
        )


def listed(items: Sequence[str]) -> str:
    more = f"\n  and {len(items) - _NAMED} more" if len(items) > _NAMED else ""
    return "".join(f"\n  {each}" for each in items[:_NAMED]) + more
