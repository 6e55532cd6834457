"""The room that the server has for locks, and what an online copy takes of it."""

from __future__ import annotations

from snapkit.core.values import dataclass


@dataclass(frozen=True, slots=True)
class LockTable:
    """How many locks the server has room for, as its settings say, and the tables and other relations of a database."""

    per_transaction: int
    sessions: int
    """max_connections and max_prepared_transactions together."""
    tables: int
    others: int
    """Indexes, TOAST tables and sequences: whoever reads a table or dumps a database locks these, too."""

    @property
    def capacity(self) -> int:
        return self.per_transaction * self.sessions

    @property
    def needed(self) -> int:
        """The locks that a copy needs. Two sessions of snapkit and two of pg_dump hold all tables, and PostgreSQL
        counts two holders for each lock. A quarter is left to others."""
        return (max(self.tables + self.others, (4 * self.tables + self.others) // 2) * 4 + 2) // 3

    @property
    def enough_per_transaction(self) -> int:
        """The value of max_locks_per_transaction with which there is room."""
        return -(-self.needed // self.sessions)

    @property
    def is_too_small(self) -> bool:
        return self.needed > self.capacity

    @property
    def room(self) -> str:
        """What is needed, and what is there, in sentences."""
        return (
            f"An online copy locks {self.tables} tables and {self.others} indexes, sequences and other relations. "
            f"The server has room for about {self.capacity} locks. With a quarter left to others, {self.needed} "
            "are needed."
        )

    @property
    def remedy(self) -> str:
        """What makes room, as a sentence without its end."""
        return (
            f"Let an administrator set max_locks_per_transaction to {self.enough_per_transaction} or more (now "
            f"{self.per_transaction}) and restart the server"
        )
