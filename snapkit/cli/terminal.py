"""Where output goes: results to stdout, everything else to stderr, and questions only to a person."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

import typer

from snapkit.cli import throttle
from snapkit.cli.format import printable, printable_lines, progress_text
from snapkit.cli.streams import Forgiving
from snapkit.core.values import dataclass
from snapkit.errors import NOTHING_CHANGED, InterruptedRunError, SnapkitError

if TYPE_CHECKING:
    from rich.console import Console

    from snapkit.core.connection.endpoint import Whereabouts
    from snapkit.core.reporting import Caution, Observe, Progress

_TERMINAL = "/dev/tty"
"""Where the person sits, wherever the streams go."""

_UNLIMITED = 10_000
"""The width of a pipe: nothing is wrapped or cut for a program that reads it."""


@dataclass(frozen=True, slots=True)
class Terminal:
    """The two streams and how the user wants them used."""

    out: Console
    err: Console
    quiet: bool

    @classmethod
    def open(cls, *, no_color: bool, quiet: bool) -> Terminal:
        return cls(_console(no_color, stderr=False), _console(no_color, stderr=True), quiet)

    def note(self, text: str) -> None:
        """Say something that is not the result."""
        if not self.quiet:
            self.err.print(printable_lines(text))

    def warn(self, cautions: Iterable[Caution]) -> None:
        for caution in cautions:
            _print_titled(self.err, "Warning:", "bold yellow", caution.message)

    def confirm(self, question: str) -> None:
        """Ask, where the person sits if stderr goes elsewhere; raise InterruptedRunError unless the answer is yes."""
        try:
            with nullcontext() if sys.stderr.isatty() else _stderr_on(_TERMINAL):
                agreed = bool(
                    typer.prompt(
                        f"{printable(question)} [y/N]", default="n", show_default=False, value_proc=_is_yes, err=True
                    )
                )
        except typer.Abort:
            self.err.print()
            agreed = False
        if not agreed:
            raise InterruptedRunError("Cancelled.", state=NOTHING_CHANGED)

    @contextmanager
    def progress(self, phase: str) -> Iterator[Observe]:
        """Show progress while the block runs: a bar where it can be told how far it is, else the time that passes.

        In a pipe, for whom the run has to wait, and a line every so often (``pace``).
        """
        if self.quiet:
            yield lambda progress: None
            return
        told: set[str] = set()
        if not self.err.is_terminal or self.err.is_dumb_terminal:
            often = throttle.Pace(throttle.EVERY)

            def tell(progress: Progress) -> None:
                _tell_once(self, progress, told)
                if not progress.waits and often.is_due():
                    self.note(throttle.line_of(progress))

            yield tell
            return
        from rich import progress as bars

        def observe(progress: Progress) -> None:
            _tell_once(self, progress, told)
            if progress.waits:
                progress = replace(progress, phase="Waiting")
            known = progress.done is not None and progress.total is not None
            display.update(
                task,
                description=printable(progress.phase),
                total=progress.total if known else None,
                completed=progress.done if known else 0,
                detail=progress_text(progress),
            )

        display = bars.Progress(
            bars.SpinnerColumn(),
            bars.TextColumn("{task.description}", markup=False),
            bars.BarColumn(bar_width=24),
            bars.TaskProgressColumn(),
            bars.TextColumn("{task.fields[detail]}", markup=False),
            bars.TimeElapsedColumn(),
            console=self.err,
            transient=True,
        )
        with display:
            task = display.add_task(printable(phase), total=None, detail="")
            yield observe


def _is_yes(answer: str) -> bool:
    """Return whether the answer is yes; if it is neither yes nor no, say so, and have the question asked again."""
    answer = answer.strip().lower()
    if answer not in ("y", "yes", "n", "no"):
        raise typer.BadParameter("Answer y (yes) or n (no).")
    return answer.startswith("y")


def _tell_once(terminal: Terminal, progress: Progress, told: set[str]) -> None:
    """Say for whom the run waits, once for each."""
    if progress.waits and progress.phase not in told:
        told.add(progress.phase)
        terminal.note(progress.phase + " ...")


@contextmanager
def unpadded(console: Console) -> Iterator[None]:
    """In a pipe, take off the spaces with which tables fill their last column."""
    if console.is_terminal:
        yield
        return
    with console.capture() as capture:
        yield
    console.file.write("\n".join(line.rstrip() for line in capture.get().split("\n")))


def may_ask() -> bool:
    """Whether a person sits in front of this: questions are asked only on a terminal."""
    return sys.stdin.isatty() and (sys.stderr.isatty() or os.access(_TERMINAL, os.W_OK))


@contextmanager
def _stderr_on(path: str) -> Iterator[None]:
    with Path(path).open("w", encoding="utf-8") as stream, redirect_stderr(stream):
        yield


def print_error(error: SnapkitError, *, no_color: bool, where: Whereabouts | None = None) -> None:
    """Say what happened, in what state the database is, where, if that is given, and what to type next."""
    console = _console(no_color, stderr=True)
    _print_titled(console, "Error:", "bold red", error.message)
    if error.state:
        console.print(printable_lines(error.state))
    if where is not None:
        console.print(f"Server: {printable(str(where))}")
    if error.hint:
        _print_titled(console, "Hint:", "bold", error.hint)


def _print_titled(console: Console, title: str, style: str, text: str) -> None:
    from rich.text import Text

    console.print(Text.assemble((title, style), " ", printable_lines(text)))


def _console(no_color: bool, *, stderr: bool) -> Console:
    from rich.console import Console

    stream: IO[str] = cast("IO[str]", Forgiving(sys.stderr)) if stderr else sys.stdout
    plain = no_color or bool(os.environ.get("NO_COLOR"))
    return Console(
        file=stream if stderr else None,
        stderr=stderr,
        no_color=True if plain else None,
        width=None if stream.isatty() else _UNLIMITED,
        markup=False,
        emoji=False,
        highlight=False,
    )
