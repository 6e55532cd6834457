"""The free space on the server's disk, if it can be seen from here, and what takes it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from snapkit.core.checks.disk_room import Need, displaced_cautions, low_disk
from snapkit.core.inventory.database import Database
from snapkit.core.reporting import Caution
from snapkit.errors import SnapkitError
from snapkit.postgres.catalog import databases, server_facts
from snapkit.postgres.connection.server import Connection, Server
from snapkit.postgres.connection.sqlstates import SERVER_ERRORS, server_errors
from snapkit.services.run.survey import address_of, gather, with_sizes


class Usage(Protocol):
    """How full a file system is."""

    @property
    def free(self) -> int: ...


def free_bytes(
    connection: Connection, live: Database, usage: Callable[[str], Usage] = lambda path: shutil.disk_usage(path)
) -> int | None:
    """Return the free space where a clone would go; None unless the server is on this machine.

    It is if the connection uses a Unix socket.
    """
    if not address_of(connection).host.startswith("/") or live.tablespace != "pg_default":
        return None
    directory = server_facts.data_directory(connection)
    try:
        return usage(directory).free if directory else None
    except OSError:
        return None


def room_cautions(connection: Connection, live: Database | None, size: int | None = None) -> tuple[Caution, ...]:
    """Warn if another backup of ``live`` would not fit; ``size`` is what one takes, if that is known.

    What cannot be read is not told; only a lost connection is raised.
    """
    if live is None:
        return ()
    with server_errors(""):
        free = free_bytes(connection, live)
        if free is None:
            return ()
        size = databases.sizes(connection, [live.oid]).get(live.oid) if size is None else size
    return () if size is None else low_disk(Need(live.name, size), free)


def pile_of(server: Server) -> tuple[Caution, ...]:
    """Tell how much space the databases take that rollbacks have put aside; nothing if that cannot be read."""
    with suppress(SnapkitError, *SERVER_ERRORS), server.connect() as connection:
        gathered = gather(connection, server.source)
        pile = displaced_cautions(with_sizes(connection, gathered.inventory.of_source(server.source)))
        return pile + room_cautions(connection, gathered.live)
    return ()
