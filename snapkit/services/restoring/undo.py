"""Take the last restore back, from what it has kept in the live database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta

from snapkit.core.restoring.restored import RestoreConflict
from snapkit.core.values import dataclass
from snapkit.errors import NOTHING_CHANGED, NotFoundError, SnapkitError
from snapkit.postgres.catalog import databases
from snapkit.postgres.connection.driver import driver_connection
from snapkit.postgres.connection.server import Connection, Server
from snapkit.postgres.connection.sqlstates import SERVER_ERRORS
from snapkit.postgres.restoring import kept
from snapkit.postgres.restoring.kept import KeptRestore
from snapkit.postgres.restoring.live_tables import live_tables
from snapkit.postgres.restoring.stage import Stage
from snapkit.postgres.restoring.undoing import Undoing, pair_of
from snapkit.services.restoring.staging import Staged
from snapkit.services.run.survey import ServerState


@dataclass(frozen=True, slots=True)
class KeptRows:
    """The rows that a restore has kept, waiting to be written again."""

    restore: KeptRestore
    staged: Staged
    tables: tuple[Undoing, ...]

    def written_since(self) -> Iterator[RestoreConflict]:
        """Name the rows that somebody has written since the restore."""
        for each in self.tables:
            yield from each.written_since()


def last_restore(writer: Connection, source: str) -> KeptRestore:
    """Return the last restore; raise NotFoundError if there is none that can be taken back."""
    session = driver_connection(writer)
    found = kept.last(session) if kept.exists(session) else None
    if found is None:
        raise NotFoundError(
            f"There is no restore of {source!r} to be taken back.",
            state=NOTHING_CHANGED,
            hint="What a restore keeps for that is dropped by snapkit recover after seven days, and stays behind when "
            "a rollback swaps in another database.",
        )
    return found


def stage_kept(writer: Connection, restore: KeptRestore) -> KeptRows:
    """Have the rows wait that a restore has kept."""
    conflicts: list[RestoreConflict] = []
    pairs = []
    for table in restore.tables:
        pair = pair_of(writer, restore, table)
        if isinstance(pair, str):
            conflicts.append(RestoreConflict(table.schema, table.name, None, pair))
        else:
            pairs.append((table, pair))
    live = live_tables(writer, [pair for _, pair in pairs])
    undoing = []
    for number, (table, pair) in enumerate(pairs, 1):
        assert pair.after is not None  # noqa: S101 - a pair has its live table here
        stage = Stage(driver_connection(writer), number, pair, live.tables[pair.after.oid])
        stage.create()
        each = Undoing(stage, restore, table)
        each.fetch()
        undoing.append(each)
    return KeptRows(restore, Staged(tuple(each.stage for each in undoing), live, tuple(conflicts)), tuple(undoing))


_LOOK_LIMIT = timedelta(seconds=5)


def drop_outdated(server: Server, state: ServerState) -> int:
    """Drop what restores have kept in the live database for too long, or for another one. Return of how many.

    It is not worth a failure: what cannot be dropped now is dropped another time.
    """
    dropped = 0
    if state.live is None or not state.live.allow_connections:
        return dropped
    with (
        suppress(SnapkitError, *SERVER_ERRORS),
        server.enter(state.live.name, state.facts.quiet, within=_LOOK_LIMIT) as connection,
    ):
        session = driver_connection(connection)
        if databases.own_database(connection) == state.live.oid and kept.exists(session):
            for restore in kept.outdated(session):
                with session.transaction():
                    kept.one_at_a_time(session)
                    kept.forget(session, restore)
                dropped += 1
    return dropped
