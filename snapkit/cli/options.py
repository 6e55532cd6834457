"""The options of every command, declared once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import typer


@dataclass(frozen=True, slots=True)
class CommonOptions:
    """What was given of the options that every command takes."""

    url: str | None
    direct_url: str | None
    env_file: Path | None
    maintenance_db: str | None
    as_json: bool
    quiet: bool
    verbose: bool
    no_color: bool
    lock_wait: str | None


_COMMON: Mapping[str, Any] = {
    "url": Annotated[
        str | None,
        typer.Option(
            "--url", "-u", metavar="URL", help="The database, as postgresql://user:password@host:port/database."
        ),
    ],
    "direct_url": Annotated[
        str | None, typer.Option("--direct-url", metavar="URL", help="The same, past a pooler; wins over --url.")
    ],
    "env_file": Annotated[
        Path | None, typer.Option("--env-file", metavar="FILE", help="Read this file instead of .env.")
    ],
    "maintenance_db": Annotated[
        str | None,
        typer.Option(
            "--maintenance-db", metavar="NAME", help="Work from this database. [default: postgres, else template1]"
        ),
    ],
    "as_json": Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")],
    "quiet": Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress and no notes; of the result only the names.")
    ],
    "verbose": Annotated[
        bool, typer.Option("--verbose", "-v", help="Show the statements sent, and the traceback of an error.")
    ],
    "no_color": Annotated[bool, typer.Option("--no-color", help="No colour.")],
    "lock_wait": Annotated[
        str | None,
        typer.Option("--lock-wait", metavar="DURATION", help="How long to wait for another run. [default: 10s]"),
    ],
}


def with_common_options(
    command: Callable[..., Any], invoke: Callable[[Callable[..., Any], CommonOptions, dict[str, Any]], int]
) -> Callable[..., int]:
    """Return ``command`` as Typer is to see it: with the common options behind its own.

    Typer reads the signature; ``invoke`` then gets the command, the common options and the rest of the arguments.
    """
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    common = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            annotation=_COMMON[field.name],
            default=False if field.name in ("as_json", "quiet", "verbose", "no_color") else None,
        )
        for field in fields(CommonOptions)
    ]

    def wrapper(**arguments: Any) -> int:
        given = CommonOptions(**{field.name: arguments.pop(field.name) for field in fields(CommonOptions)})
        return invoke(command, given, arguments)

    wrapper.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own] + common
    )
    wrapper.__doc__ = command.__doc__
    wrapper.__name__ = command.__name__
    return wrapper
