"""What --dry-run shows: the plan that a run would apply, statement by statement."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from snapkit.cli.format import printable
from snapkit.core.outcome import Outcome
from snapkit.core.values import dataclass

if TYPE_CHECKING:
    from rich.console import Console

    from snapkit.cli.envelope import Document
    from snapkit.core.plans.statements import WrittenStep
    from snapkit.core.reporting import Caution
    from snapkit.errors import SnapkitError


class Preview(Protocol):
    """What would be done, at the moment of asking."""

    @property
    def steps(self) -> tuple[WrittenStep, ...]:
        """The plan."""

    @property
    def cautions(self) -> tuple[Caution, ...]:
        """What there is to warn of."""


Previewed = TypeVar("Previewed", bound=Preview)


@dataclass(frozen=True, slots=True)
class DryRun(Outcome, Generic[Previewed]):
    """A preview as the result of a run; nothing was changed."""

    preview: Previewed

    @property
    def cautions(self) -> tuple[Caution, ...]:
        return self.preview.cautions

    @property
    def shortfall(self) -> SnapkitError | None:
        """What would keep a run from being done, where its preview knows."""
        error: SnapkitError | None = getattr(self.preview, "shortfall", None)
        return error


def print_dry_run(
    result: DryRun[Previewed], console: Console, print_preview: Callable[[Previewed, Console], None]
) -> None:
    """Print the preview as its command does, and below it the statements."""
    from rich.padding import Padding
    from rich.text import Text

    print_preview(result.preview, console)
    console.print()
    for number, step in enumerate(result.preview.steps, 1):
        console.print(f"{number}. {printable(step.title)}", style="bold")
        sql = ("BEGIN", *step.sql, "COMMIT") if step.atomic else step.sql
        for statement in sql:
            console.print(Padding(Text(statement + ";", overflow="fold"), (0, 0, 0, 3), expand=False))
    console.print("Dry run: nothing was changed.")


def plan_document(preview: Preview) -> Document:
    """Return what stands under ``data`` of every dry run."""
    return {"plan": [{"step": step.title, "sql": list(step.sql)} for step in preview.steps]}
