"""Roles and tablespaces that cannot be dropped, since an entry depends on them."""

from __future__ import annotations

from snapkit.core.reporting import Caution
from snapkit.core.values import dataclass


@dataclass(frozen=True, slots=True)
class Dependents:
    """The roles and tablespaces that only entries need, by name."""

    roles: tuple[str, ...] = ()
    tablespaces: tuple[str, ...] = ()

    def describe(self) -> str:
        """Name them in one phrase; an empty text if there are none."""
        parts = [("role", self.roles), ("tablespace", self.tablespaces)]
        return " and ".join(
            f"the {what}{'s' if len(names) > 1 else ''} {', '.join(map(repr, names))}" for what, names in parts if names
        )


def in_the_way(dependents: Dependents, backup: str) -> tuple[Caution, ...]:
    """Say, of a guarded command that failed, that its backup may be the reason."""
    needed = dependents.describe()
    if not needed:
        return ()
    return (
        Caution(
            "backup_in_the_way",
            f"The command may have failed because of the backup {backup}. PostgreSQL refuses DROP ROLE, DROP OWNED "
            f"and DROP TABLESPACE as long as a database needs {needed}, and now only snapkit's databases do. Leave "
            "such statements out of the guarded command, and run them once these databases are dropped (snapkit "
            "delete, snapkit prune).",
        ),
    )
