"""Refuse a copy in which somebody else's code would run with a superuser's rights."""

from __future__ import annotations

from collections.abc import Sequence

from snapkit.errors import UsageError
from snapkit.postgres.connection.server import Connection
from snapkit.postgres.copying.untrusted_code import foreign_calls

_NAMED = 10


def check_code(connection: Connection, state: str) -> None:
    """Raise UsageError if a superuser would run somebody else's code by copying this database.

    To copy as another role would not help: code that runs after SET ROLE or SET SESSION AUTHORIZATION can use RESET,
    and is the superuser again.
    """
    calls = foreign_calls(connection)
    if calls:
        raise UsageError(
            "Loading the rows would run code of other roles with a superuser's "
            f"rights:{listed([each.describe() for each in calls])}",
            state=state,
            hint="Connect as the database's owner, whose rights are enough, or leave out --strategy online.",
        )


def listed(items: Sequence[str]) -> str:
    more = f"\n  and {len(items) - _NAMED} more" if len(items) > _NAMED else ""
    return "".join(f"\n  {each}" for each in items[:_NAMED]) + more
