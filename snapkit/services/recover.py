"""Clean up after interrupted runs; the next run that changes something does the same for its source.

An entry is sealed again if a shell that was killed left it open (``entries/seal.py``).

A clone that is being made looks like one that was left. The lock of its source tells which: the run that makes it holds
that lock on the session that makes it, and the server keeps it until that session has ended, even if its client has
died.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

from snapkit.core.client_session import ClientSession
from snapkit.core.inventory.entry import Entry
from snapkit.core.inventory.recognition import Inventory
from snapkit.core.inventory.selection import is_leftover
from snapkit.core.outage.pooled_databases import PoolerReceipt
from snapkit.core.reporting import Caution, Observe
from snapkit.core.utc import utc_text
from snapkit.core.values import dataclass
from snapkit.errors import BusyError, ConnectionFailedError, SnapkitError
from snapkit.postgres.catalog import orphaned_files
from snapkit.postgres.connection.server import Connection, Server
from snapkit.postgres.connection.sqlstates import SERVER_ERRORS
from snapkit.postgres.sql.drop import DROP_WAIT
from snapkit.postgres.sql.locks import others_at_work
from snapkit.services.entries.drop import DropOutcome, Drops, Failure
from snapkit.services.entries.leftovers import drop_leftovers
from snapkit.services.entries.opening import open_to_owner
from snapkit.services.entries.seal import seal_what_was_left
from snapkit.services.outage.pool_checks import Pooler, resume_forgotten, tell_paused
from snapkit.services.restoring.undo import drop_outdated
from snapkit.services.run.preconditions import check_server
from snapkit.services.run.source_lock import hold_lock
from snapkit.services.run.survey import gather


def recover(
    server: Server,
    lock_wait: timedelta,
    observe: Observe,
    *,
    all_sources: bool = False,
    poolers: tuple[Pooler, ...] = (),
    open_for_upgrade: bool = False,
    drop_wait: timedelta = DROP_WAIT,
) -> Recovery:
    """Drop what interrupted runs have left of the server's source, or of every source on the server.

    What is still paused on one of the ``poolers`` is resumed first, since clients wait for it. What belongs to a run at
    work is left alone. What restores have kept for seven days is dropped. If one entry was left, and it could not be
    dropped, its error is raised.
    """
    drops = Drops(wait=drop_wait)
    ended: list[ClientSession] = []
    sealed: list[Entry] = []
    opened: list[Entry] = []
    cautions: list[Caution] = []
    resumed: tuple[PoolerReceipt, ...] = ()
    unreachable: SnapkitError | None = None
    paused: tuple[Caution, ...] = ()
    forgotten_restores = 0
    with server.connect() as connection:
        gathered = gather(connection, server.source)
        check_server(connection, makes_room=True)
        for source in _sources(gathered.inventory, server.source, all_sources=all_sources, whole=open_for_upgrade):
            try:
                with drops.told(), hold_lock(connection, source, lock_wait, observe) as forgotten:
                    ended += forgotten
                    now = gather(connection, server.source).inventory
                    if others_at_work(connection, source):
                        cautions.append(_at_work(source))
                        continue
                    if source == server.source:
                        resumed, unreachable = resume_forgotten(poolers, connection, source)
                    found, more = seal_what_was_left(connection, now, source)
                    sealed += found
                    cautions += more
                    drop_leftovers(connection, now, source, drops, observe=observe)
                    if source == server.source:  # its session inside would be in the way of a run at work
                        forgotten_restores = drop_outdated(server, gathered)
                    if open_for_upgrade:
                        made_open, more = _open_all(server, connection, source, observe)
                        opened += made_open
                        cautions += more
            except BusyError:
                cautions.append(_at_work(source))
        with suppress(*SERVER_ERRORS):  # what cannot be seen is not told
            cautions += _orphaned_files(connection)
        if unreachable is None:
            paused = tell_paused(connection, poolers, server.source)
    if unreachable is not None:
        raise unreachable
    if not (ended or cautions or resumed or sealed or opened or forgotten_restores):
        drops.raise_if_alone()
    return Recovery(
        tuple(drops.removed),
        tuple(drops.failed),
        tuple(ended),
        resumed,
        tuple(sealed),
        tuple(opened),
        forgotten_restores,
        cautions=(*cautions, *paused),
    )


def _open_all(
    server: Server, connection: Connection, source: str, observe: Observe
) -> tuple[tuple[Entry, ...], tuple[Caution, ...]]:
    """Open all entries of a source to their owners alone: pg_upgrade refuses a database that lets nobody in.

    https://www.postgresql.org/docs/current/pgupgrade.html
    """
    opened: set[int] = set()
    cautions: list[Caution] = []
    for entry in gather(connection, server.source).inventory.of_source(source):
        if entry.metadata is None or entry.database.is_invalid or entry.database.allow_connections:
            continue
        try:
            cautions += open_to_owner(server, connection, entry, observe)
            opened.add(entry.database.oid)
        except ConnectionFailedError:
            raise
        except SnapkitError as error:
            cautions.append(Caution("not_opened", f"{entry.name} was not opened: {error.message}"))
    now = gather(connection, server.source).inventory.of_source(source)
    return tuple(entry for entry in now if entry.database.oid in opened), tuple(cautions)


def _sources(inventory: Inventory, source: str, *, all_sources: bool, whole: bool) -> tuple[str, ...]:
    """Return the sources of which something was left; with ``whole`` all that have an entry."""
    left = (entry.source for entry in inventory.entries if whole or is_leftover(entry) or entry.opened is not None)
    others = left if all_sources else ()
    return tuple(dict.fromkeys([source, *others]))


def _at_work(source: str) -> Caution:
    return Caution("at_work", f"Another run is working on {source}. What belongs to that run was left alone.")


def _orphaned_files(connection: Connection) -> tuple[Caution, ...]:
    """Tell a superuser of files that were left when the server crashed during a clone."""
    return tuple(
        Caution(
            "orphaned_files",
            f"The directory {each.path} ({each.files} files, {utc_text(each.newest)} UTC) in the "
            "server's data directory belongs to no database. A crash of the server in the midst of CREATE DATABASE "
            "leaves such files, and PostgreSQL never deletes them. snapkit cannot prove whose they are, and leaves "
            "them. If no database is missing, delete that directory on the server.",
        )
        for each in orphaned_files.orphaned_directories(connection)
    )


@dataclass(frozen=True, slots=True)
class Recovery(DropOutcome):
    """What interrupted runs had left, and what became of it; ``ended`` are forgotten sessions of ours.

    ``resumed`` are databases of poolers that were paused, and are so no more; ``sealed`` the entries that a shell had
    left open.
    """

    removed: tuple[Entry, ...]
    failed: tuple[Failure, ...]
    ended: tuple[ClientSession, ...]
    resumed: tuple[PoolerReceipt, ...] = ()
    sealed: tuple[Entry, ...] = ()
    opened: tuple[Entry, ...] = ()
    """Those that were opened to their owners, since pg_upgrade wants it so."""
    restores_forgotten: int = 0
    """How many restores can be taken back no more: what they had kept was dropped."""
    cautions: tuple[Caution, ...] = ()
