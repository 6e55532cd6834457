"""From the options of every command to the settings, and from these to the server; without a terminal."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from snapkit.cli.options import CommonOptions
from snapkit.errors import UsageError

if TYPE_CHECKING:
    from snapkit.core.reporting import Caution
    from snapkit.postgres.connection.server import Server
    from snapkit.settings.fields import Settings
    from snapkit.settings.files import Files
    from snapkit.settings.in_force import SettingInForce
    from snapkit.settings.url_choice import ConnectionChoice


def files_of(options: CommonOptions) -> Files:
    """Read the settings' files where the command runs."""
    from snapkit.settings.files import read_files

    try:
        here = Path.cwd()
    except OSError:  # it has been removed, or may not be read
        here = Path()
    return read_files(here, options.env_file)


def settings_of(options: CommonOptions, flags: Mapping[str, str | Sequence[str] | None], files: Files) -> Settings:
    """Return the settings; ``flags`` are the command's own."""
    from snapkit.settings.load import load_settings

    return load_settings(
        {**_common(options), **flags},
        os.environ,
        files,
        direct_url=options.direct_url,
        url=options.url,
    )


def settings_in_force_of(options: CommonOptions, files: Files) -> list[SettingInForce]:
    """Return each setting with its value and where that comes from."""
    from snapkit.settings.in_force import settings_in_force

    return settings_in_force(_common(options), os.environ, files, direct_url=options.direct_url, url=options.url)


def _common(options: CommonOptions) -> Mapping[str, str | None]:
    return {"maintenance_db": options.maintenance_db, "lock_wait": options.lock_wait}


def choice_of(options: CommonOptions, files: Files) -> ConnectionChoice:
    """Return what names the connection, whatever is wrong with the other settings."""
    from snapkit.settings.url_choice import choose_connection

    return choose_connection(options.direct_url, options.url, os.environ, files.dotenv, files.dotenv_name)


def server_of(settings: Settings, directory: Path) -> tuple[Server, tuple[Caution, ...]]:
    """Return the server that the settings name, and what is to be said of its URL; nothing is connected yet.

    ``directory`` is the one that the settings' files were read in.
    """
    from snapkit.core.connection.connection_url import check_connection

    chosen = settings.connection
    # libpq reads its variables from the environment itself, as it does those that were there already.
    os.environ.update(chosen.libpq_environment)
    try:
        check_connection(chosen.url, os.environ)
        from snapkit.postgres.connection.conninfo import target_of

        target = target_of(chosen.url)
    except UsageError as error:
        if chosen.url is not None:
            error.message = f"{chosen.origin}: {error.message}"
        elif not chosen.names_something:
            error.hint = f"{error.hint or ''}{_pointing_out_dotenv(directory)}"
        raise
    from snapkit.postgres.connection.server import Server

    silence_libraries()
    return Server(target, settings.maintenance_db), target.cautions


def _pointing_out_dotenv(directory: Path) -> str:
    import shlex

    from snapkit.settings.files import dotenv_above

    above = dotenv_above(directory)
    if above is None:
        return ""
    return (
        f" There is a .env in {above.parent}. snapkit reads only the one in the directory where it is run: run the "
        f"command there, or give --env-file {shlex.quote(str(above))}."
    )


def silence_libraries() -> None:
    """What they have to say of a lost connection, an error of ours says."""
    import logging

    for library in ("psycopg", "sqlalchemy"):
        logging.getLogger(library).addHandler(logging.NullHandler())
