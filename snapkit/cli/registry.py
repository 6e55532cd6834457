"""Commands by name, and their way from Typer to an exit code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import typer

from snapkit.cli.commands import index
from snapkit.cli.ctrl_c import interrupted, uninterrupted
from snapkit.cli.help import HelpCommand, epilog_of
from snapkit.cli.invocation import Call, Invocation
from snapkit.cli.options import CommonOptions, with_common_options
from snapkit.cli.rendering import Rendering, Result
from snapkit.core.values import dataclass

if TYPE_CHECKING:
    from rich.console import Console

    from snapkit.cli.envelope import Document


@dataclass(frozen=True, slots=True)
class Command:
    """A command as it is registered."""

    function: Callable[..., Any]
    rendering: Rendering[Any]
    changes: bool
    runs_words: bool
    connects: bool
    examples: tuple[str, ...]


class Registry:
    """Collects the commands; ``build`` makes the Typer application of them."""

    def __init__(self) -> None:
        self.commands: dict[str, Command] = {}

    def command(
        self,
        name: str,
        *,
        changes: bool,
        text: Callable[[Result, Console], None],
        data: Callable[[Result], Document],
        examples: Sequence[str],
        names: Callable[[Result], Sequence[str] | None] | None = None,
        runs_words: bool = False,
        connects: bool = True,
    ) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
        """Collect a command, how its result is told (``Rendering``), and the ``examples`` that its help shows.

        One that ``changes`` something on the server has its runs in the audit log. One that ``runs_words`` takes all
        from the first argument on for another program's. One that does not connect to the user's server has no options
        that say how.
        """

        def register(function: Callable[..., Result]) -> Callable[..., Result]:
            rendering = Rendering(text, data, names)
            self.commands[name] = Command(function, rendering, changes, runs_words, connects, tuple(examples))
            return function

        return register

    def build(self, app: typer.Typer, call: Call, *, whole: bool = False) -> typer.Typer:
        """Give ``app`` its commands. Where the first word names one, only that: of the others nothing will be seen.

        Where none is named, all of them, but without their arguments: of those only the ``whole`` application tells.
        """
        named = call.command if call.option_before_command is None else None
        for name in index.FILES if named is None else (named,):
            index.load(name)
            command = self.commands[name]
            wrapped = _summary_of(command)
            if named or whole:
                wrapped = with_common_options(command.function, _invoking(command, call), connects=command.connects)
            settings = {"allow_interspersed_args": not command.runs_words}
            epilog = epilog_of(name, command.examples)
            for word in (name, *index.aliases_of(name)):
                hidden = word != name
                app.command(word, cls=HelpCommand, context_settings=settings, epilog=epilog, hidden=hidden)(wrapped)
        return app


def _summary_of(command: Command) -> Callable[[], int]:
    """Return what Typer reads the help of a command from, and nothing else: to read all options takes its time."""

    def summary() -> int:
        raise AssertionError("it is only looked at")

    summary.__doc__ = command.function.__doc__
    return summary


def _invoking(command: Command, call: Call) -> Callable[[CommonOptions, dict[str, Any]], int]:
    def invoke(options: CommonOptions, arguments: dict[str, Any]) -> int:
        is_shown_only = arguments.get("dry_run") or arguments.get("sql")
        invocation = Invocation(call, options, changes=command.changes and not is_shown_only)
        try:
            result = command.function(invocation, **arguments)
        except KeyboardInterrupt:
            raise interrupted() from None
        except Exception:
            if command.connects:
                invocation.note_choice()
            raise
        with uninterrupted():
            return invocation.finish(result, command.rendering)

    return invoke


registry = Registry()
