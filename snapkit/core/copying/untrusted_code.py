"""Functions of other roles that an expression in the database calls."""

from __future__ import annotations

from snapkit.core.values import dataclass


@dataclass(frozen=True, slots=True)
class Call:
    """A function that an expression in the database calls; ``place`` says which expression.

    ``owner`` is the function's owner. None: it belongs to a superuser, but may run statements that the expression
    passes to it.
    """

    place: str
    function: str
    owner: str | None

    def describe(self) -> str:
        whose = "which is not immutable" if self.owner is None else f"which belongs to {self.owner!r}"
        return f"{self.place} calls {self.function}, {whose}"
