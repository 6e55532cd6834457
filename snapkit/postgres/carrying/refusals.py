"""Which errors of PostgreSQL are about a row that is written, and how they are told."""

from __future__ import annotations

import psycopg

_OF_A_ROW = ("22", "23", "44", "P0")
"""Data exceptions, integrity constraints, WITH CHECK OPTION, RAISE in a trigger.
https://www.postgresql.org/docs/current/errcodes-appendix.html"""

_OF_A_TABLE = ("42", "0A", "55000")
"""No such column or type, no right to write, or nothing that can be written."""


_WITHOUT_VALUES = {
    "22": "a value of it does not fit its column",
    "P0": "a trigger does not take it",
}
"""What is said in place of messages that quote values."""


class RefusedRowsError(Exception):
    """PostgreSQL does not take rows; ``singles``: it may take some of them."""

    def __init__(self, reason: str, *, singles: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.singles = singles


def refusal_of(error: psycopg.Error) -> RefusedRowsError | None:
    """Return what an error says of rows that were to be written; None for one that is about something else."""
    state = error.sqlstate or ""
    singles = state.startswith(_OF_A_ROW)
    if not singles and not state.startswith(_OF_A_TABLE):
        return None
    reason = _WITHOUT_VALUES.get(state[:2]) or error.diag.message_primary or "PostgreSQL does not take it"
    return RefusedRowsError(reason, singles=singles)
