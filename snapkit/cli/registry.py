"""Commands by name, and their way from Typer to an exit code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer

from snapkit.cli.interruption import interrupted, uninterrupted
from snapkit.cli.invocation import Call, Invocation
from snapkit.cli.options import CommonOptions, with_common_options

_CHANGING = frozenset(
    ("backup", "rollback", "undo", "prune", "delete", "pin", "unpin", "label", "adopt", "recover", "guard", "shell")
)
"""The commands that may change something on the server; the audit log has the runs of these."""


class Registry:
    """Collects the commands; ``build`` makes the Typer application of them."""

    def __init__(self) -> None:
        self._commands: list[tuple[str, str | None, bool, Callable[..., Any]]] = []

    def command(
        self, name: str, alias: str | None = None, *, runs_words: bool = False
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Collect a command. One that ``runs_words`` takes all from the first argument on for another program's."""

        def register(function: Callable[..., Any]) -> Callable[..., Any]:
            self._commands.append((name, alias, runs_words, function))
            return function

        return register

    @property
    def canonical_names(self) -> dict[str, str]:
        """What can be typed, to the name it stands for."""
        names = {name: name for name, *_ in self._commands}
        return names | {alias: name for name, alias, *_ in self._commands if alias is not None}

    def build(self, app: typer.Typer, call: Call) -> typer.Typer:
        def invoke(command: Callable[..., Any], options: CommonOptions, arguments: dict[str, Any]) -> int:
            is_shown_only = arguments.get("dry_run") or arguments.get("sql")
            invocation = Invocation(call, options, changes=call.command in _CHANGING and not is_shown_only)
            try:
                result = command(invocation, **arguments)
            except KeyboardInterrupt:
                raise interrupted() from None
            with uninterrupted():
                return invocation.finish(result)

        for name, alias, runs_words, function in self._commands:
            wrapped = with_common_options(function, invoke)
            app.command(name, context_settings={"allow_interspersed_args": not runs_words})(wrapped)
            if alias is not None:
                app.command(alias, hidden=True)(wrapped)
        return app
