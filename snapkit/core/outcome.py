"""What every result of a service can tell; each derives from this, and lies in its service."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:  # what every command loads before it knows whether there is anything to do is kept small
    from datetime import timedelta

    from snapkit.core.reporting import Caution
    from snapkit.core.secrets import ShownCommand
    from snapkit.errors import SnapkitError


class Outcome:
    """What a command returns: each result derives from it, and tells more where there is more to tell."""

    __slots__ = ()

    tells_where: ClassVar[bool] = True
    """Whether a person is told of the server with it; not where all that is printed is for another program."""

    @property
    def leaves_stdout(self) -> bool:
        """Whether a person is told of it on stderr: stdout belongs to a command of the user's, or there is nothing."""
        return False

    @property
    def cautions(self) -> tuple[Caution, ...]:
        """What the run warns of."""
        return ()

    @property
    def shortfall(self) -> SnapkitError | None:
        """The error that the run ends with although there is a result; None if it did all that was asked."""
        return None

    @property
    def complaints(self) -> tuple[SnapkitError, ...]:
        """What a person is told of the shortfall, apart from what the result shows already."""
        return (self.shortfall,) if self.shortfall else ()

    @property
    def changed(self) -> tuple[str, ...]:
        """The names of the databases that were made, changed or dropped."""
        return ()

    @property
    def ran(self) -> tuple[ShownCommand, int | None] | None:
        """The command of the user's that was run, as far as it is shown, and its exit code, if that is known."""
        return None

    @property
    def exit_code(self) -> int | None:
        """What the run ends with, if that is the exit code of a command of the user's; None: the shortfall tells."""
        return None

    @property
    def outage(self) -> timedelta | None:
        """How long clients were held; None if that is no question."""
        return None
