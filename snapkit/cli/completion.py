"""What a shell completes beyond commands and options: the names of entries, and words that an option can be.

It is quiet. Whatever goes wrong, nothing is offered; and what takes longer than a person waits for a key is given up.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING, Any

import typer

from snapkit.cli.options import CommonOptions

if TYPE_CHECKING:
    from snapkit.core.inventory.entry import Entry

PATIENCE = 3.0
"""Seconds for the connection and the answer together."""

Offers = list[tuple[str, str]]


def names_where(fits: Callable[[Entry], bool]) -> Callable[[typer.Context, str], Offers]:
    """Return what offers the names of those entries of the source that ``fits`` says, each with its kind and age."""

    def offer(ctx: typer.Context, incomplete: str) -> Offers:
        with suppress(Exception):
            return _names(ctx.params, incomplete, fits)
        return []

    return offer


def strategies() -> list[str]:
    """Return the words that --strategy takes."""
    from snapkit.core.inventory.kinds import Strategy

    return ["auto", *Strategy]


def _names(given: dict[str, Any], incomplete: str, fits: Callable[[Entry], bool]) -> Offers:
    from snapkit.cli.connecting import files_of, server_of, settings_of

    common: dict[str, Any] = {field.name: given.get(field.name) for field in fields(CommonOptions)}
    if common["env_file"] is not None:  # while it completes, Typer converts nothing
        common["env_file"] = Path(common["env_file"])
    options = CommonOptions(**common)
    files = files_of(options)
    server, _ = server_of(settings_of(options, {}, files), files.directory)
    from snapkit.cli.format import age_text
    from snapkit.services.list import list_entries

    with _given_up_after(PATIENCE):
        listing = list_entries(server, sizes=False, all_sources=False)
    typed = given.get("names") or ()
    return [
        (entry.name, f"{entry.kind.value}, {age_text(entry.created_at, listing.now)}")
        for entry in listing.entries
        if fits(entry) and entry.name.startswith(incomplete) and entry.name not in typed and _is_safe(entry.name)
    ]


def _is_safe(name: str) -> bool:
    """Whether a shell takes it as it is. Shells insert offers unquoted, zsh's script even evaluates them; and whoever
    may create a database chooses its name."""
    return shlex.quote(name) == name


@contextmanager
def _given_up_after(seconds: float) -> Iterator[None]:
    """End the process, which has printed nothing yet, when the time is up: not even a look-up of a host's name, which
    nothing else can interrupt, makes anybody wait for longer."""
    timer = Timer(seconds, os._exit, [0])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
