"""The options of every command, declared once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer

from snapkit.cli.help import CONNECTION, OUTPUT
from snapkit.core.values import dataclass


@dataclass(frozen=True, slots=True)
class CommonOptions:
    """What was given of the options that every command takes, in the order of the help."""

    url: str | None = None
    direct_url: str | None = None
    env_file: Path | None = None
    maintenance_db: str | None = None
    as_json: bool = False
    quiet: bool = False
    verbose: bool = False
    no_color: bool = False
    lock_wait: str | None = None


_OF_A_CONNECTION = frozenset(("url", "direct_url", "env_file", "maintenance_db", "lock_wait"))


_COMMON: Mapping[str, Any] = {
    "url": Annotated[
        str | None,
        typer.Option(
            "--url",
            "-u",
            metavar="URL",
            help="The database, as postgresql://user:password@host:port/database.",
            rich_help_panel=CONNECTION,
        ),
    ],
    "direct_url": Annotated[
        str | None,
        typer.Option(
            "--direct-url",
            metavar="URL",
            help="The server itself, if --url goes through a pooler; wins over --url.",
            rich_help_panel=CONNECTION,
        ),
    ],
    "env_file": Annotated[
        Path | None,
        typer.Option("--env-file", metavar="FILE", help="Read this file instead of .env.", rich_help_panel=CONNECTION),
    ],
    "maintenance_db": Annotated[
        str | None,
        typer.Option(
            "--maintenance-db",
            metavar="NAME",
            help="The database that snapkit itself connects to. [default: postgres, else template1]",
            rich_help_panel=CONNECTION,
        ),
    ],
    "as_json": Annotated[
        bool, typer.Option("--json", help="Print one JSON document instead of text.", rich_help_panel=OUTPUT)
    ],
    "quiet": Annotated[
        bool,
        typer.Option(
            "--quiet",
            "-q",
            help="Print the names of the result only; no progress and no notes.",
            rich_help_panel=OUTPUT,
        ),
    ],
    "verbose": Annotated[
        bool,
        typer.Option(
            "--verbose", "-v", help="Show the statements sent, and the traceback of an error.", rich_help_panel=OUTPUT
        ),
    ],
    "no_color": Annotated[bool, typer.Option("--no-color", help="No colour.", rich_help_panel=OUTPUT)],
    "lock_wait": Annotated[
        str | None,
        typer.Option(
            "--lock-wait",
            metavar="DURATION",
            help="How long to wait for another run on the same database. [default: 10s]",
            rich_help_panel=CONNECTION,
        ),
    ],
}


def with_common_options(
    command: Callable[..., Any], invoke: Callable[[CommonOptions, dict[str, Any]], int], *, connects: bool
) -> Callable[..., int]:
    """Return ``command`` as Typer is to see it: with the common options behind its own.

    Typer reads the signature; ``invoke`` then gets the common options and the rest of the arguments.
    A command that does not connect to the user's server has no options for it.
    """
    common = [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, annotation=_COMMON[field.name], default=field.default
        )
        for field in fields(CommonOptions)
        if connects or field.name not in _OF_A_CONNECTION
    ]

    def wrapper(**arguments: Any) -> int:
        given = CommonOptions(**{each.name: arguments.pop(each.name) for each in common})
        return invoke(given, arguments)

    wrapper.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in _own_parameters(command)] + common
    )
    wrapper.__doc__ = command.__doc__
    wrapper.__name__ = command.__name__
    return wrapper


def _own_parameters(command: Callable[..., Any]) -> Sequence[inspect.Parameter]:
    """Return what a command takes besides its invocation."""
    command.__annotations__.pop("return", None)  # its result's class is not loaded before the command runs
    return list(inspect.signature(command, eval_str=True).parameters.values())[1:]
