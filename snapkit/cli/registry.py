"""Commands by name, and their way from Typer to an exit code."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import typer

from snapkit.cli.ctrl_c import interrupted, uninterrupted
from snapkit.cli.invocation import Call, Invocation
from snapkit.cli.options import CommonOptions, with_common_options
from snapkit.core.values import dataclass

_CHANGING = frozenset(
    ("backup", "rollback", "undo", "prune", "delete", "pin", "unpin", "label", "adopt", "recover", "guard", "shell")
)
"""The commands that may change something on the server; the audit log has the runs of these."""


@dataclass(frozen=True, slots=True)
class _Command:
    name: str
    alias: str | None
    runs_words: bool
    connects: bool
    function: Callable[..., Any]


class Registry:
    """Collects the commands; ``build`` makes the Typer application of them."""

    def __init__(self) -> None:
        self._commands: list[_Command] = []

    def command(
        self, name: str, alias: str | None = None, *, runs_words: bool = False, connects: bool = True
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Collect a command.

        One that ``runs_words`` takes all from the first argument on for another program's. One that does not connect
        to the user's server has no options that say how.
        """

        def register(function: Callable[..., Any]) -> Callable[..., Any]:
            self._commands.append(_Command(name, alias, runs_words, connects, function))
            return function

        return register

    @property
    def canonical_names(self) -> dict[str, str]:
        """What can be typed, to the name it stands for."""
        names = {each.name: each.name for each in self._commands}
        return names | {each.alias: each.name for each in self._commands if each.alias is not None}

    def build(self, app: typer.Typer, call: Call) -> typer.Typer:
        """Give ``app`` its commands; where the first word names one, only that: of the others nothing will be seen."""

        def invoke(
            command: Callable[..., Any], options: CommonOptions, arguments: dict[str, Any], *, has_connection: bool
        ) -> int:
            is_shown_only = arguments.get("dry_run") or arguments.get("sql")
            invocation = Invocation(call, options, changes=call.command in _CHANGING and not is_shown_only)
            try:
                result = command(invocation, **arguments)
            except KeyboardInterrupt:
                raise interrupted() from None
            except Exception:
                if has_connection:
                    invocation.note_choice()
                raise
            with uninterrupted():
                return invocation.finish(result)

        named = call.command if call.option_before_command is None else None
        for each in self._commands:
            if named not in (None, each.name):
                continue
            wrapped = with_common_options(
                each.function, partial(invoke, has_connection=each.connects), connects=each.connects
            )
            app.command(each.name, context_settings={"allow_interspersed_args": not each.runs_words})(wrapped)
            if each.alias is not None:
                app.command(each.alias, hidden=True)(wrapped)
        return app
