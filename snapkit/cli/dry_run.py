"""Results that only the command line has: a dry run, a script."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snapkit.core.values import dataclass

if TYPE_CHECKING:  # what every command loads before it knows whether there is anything to do is kept small
    from snapkit.core.outcome import BackupPreview, RemovalPreview, SwapPreview, WrittenStep
    from snapkit.core.reporting import Caution
    from snapkit.errors import SnapkitError


@dataclass(frozen=True, slots=True)
class DryRun:
    """What would be done; nothing was changed. ``preview`` tells more where there is more to tell."""

    steps: tuple[WrittenStep, ...]
    preview: BackupPreview | SwapPreview | RemovalPreview | None = None

    @property
    def cautions(self) -> tuple[Caution, ...]:
        """What its preview warns of."""
        return getattr(self.preview, "cautions", ())


@dataclass(frozen=True, slots=True)
class Script:
    """A script for psql."""

    sql: str


@dataclass(frozen=True, slots=True)
class Exposition:
    """A status in Prometheus' text format, and the error of the run if it is not as it should be."""

    text: str
    shortfall: SnapkitError | None
    cautions: tuple[Caution, ...]


@dataclass(frozen=True, slots=True)
class DemoOutcome:
    """The demo's server, if it was left running."""

    database_url: str | None
    stop_command: str | None
