"""How a command's result is told: to a person, to a program, and with --quiet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

from snapkit.core.values import dataclass

if TYPE_CHECKING:
    from rich.console import Console

    from snapkit.cli.envelope import Document
    from snapkit.core.outcome import Outcome

Result = TypeVar("Result", bound="Outcome")


@dataclass(frozen=True, slots=True)
class Rendering(Generic[Result]):
    """``text`` prints a result, ``data`` returns what stands under ``data`` in JSON.

    ``names`` are the databases that it is about, which is all that --quiet prints; None: it prints the text.
    """

    text: Callable[[Result, Console], None]
    data: Callable[[Result], Document]
    names: Callable[[Result], Sequence[str] | None] | None = None
