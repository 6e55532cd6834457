"""What the parts of a copy share: the plan, the programs, the session's settings, and a group for tasks.

While tasks run, idle sessions are kept awake, and the copy gives way to sessions that have waited for it too long.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import IO

from snapkit.core.comparison.definitions import Contents, LeftOut
from snapkit.core.comparison.schema.defined_objects import Definition
from snapkit.core.copying.division import Counted, Division
from snapkit.core.copying.estimates import Pace
from snapkit.core.copying.moment import Moment
from snapkit.core.plans.clone import ClonePlan
from snapkit.core.reporting import Progress
from snapkit.core.values import dataclass
from snapkit.errors import BusyError, SnapkitError
from snapkit.postgres.catalog import databases, server_facts
from snapkit.postgres.comparison.definitions.read import definitions_in_snapshot
from snapkit.postgres.connection.driver import driver_connection
from snapkit.postgres.connection.libpq_environment import access_for_programs
from snapkit.postgres.connection.safe_settings import LOCK_TIMEOUT
from snapkit.postgres.connection.server import Connection
from snapkit.postgres.copying import contents
from snapkit.postgres.copying import snapshot as snapshots
from snapkit.postgres.copying.gate import Check
from snapkit.postgres.copying.programs import Programs, Running
from snapkit.postgres.copying.relay import StoppedError
from snapkit.postgres.copying.table_copy import cancel, settle, without_event_triggers
from snapkit.postgres.sql.stall_watch import watching_for_stalls
from snapkit.services.copying.clone import untouched
from snapkit.services.copying.online.code_check import listed
from snapkit.services.copying.online.task_group import TaskGroup
from snapkit.services.run.survey import RunContext

JOBS = 2
"""Tables that are relayed, and indexes that are built, at once. More was no faster on two cores, and clients work."""

PATIENCE = LOCK_TIMEOUT
"""How long somebody may wait for a lock that the copy holds, before it gives up: others queue behind them."""

RESTORING = ("--no-password", "--exit-on-error")

_SECTIONS = ("--section=pre-data", "--section=post-data")

DUMPING = (
    "--format=custom",
    "--no-password",
    "--no-subscriptions",
    f"--lock-wait-timeout={LOCK_TIMEOUT // timedelta(milliseconds=1)}",
)


@dataclass(frozen=True, slots=True)
class SourceContents:
    """What the source held at the moment that is copied; the copy is compared with it."""

    moment: Moment
    division: Division
    rows: Mapping[str, Contents]
    large_objects: Contents
    objects: Mapping[str, int]
    """How many objects there are, by their kind."""
    left_out: LeftOut
    definitions: Sequence[Definition]


class CopyContext:
    """One copy under way. ``check`` is given the source's properties at the moment that is copied, and may raise."""

    def __init__(self, context: RunContext, plan: ClonePlan, programs: Programs, check: Check, directory: Path) -> None:
        self.server = context.server
        self.ddl = context.ddl
        self.plan = plan
        self.programs = programs
        self.check = check
        self.directory = directory
        """Where definitions are kept."""
        self.state = untouched(plan)
        """How things stand, for errors to say."""
        self.is_superuser = server_facts.server_facts(self.ddl).is_superuser
        self.encoding = plan.create.locale.encoding if plan.create.locale else ""
        self.settings: dict[str, str] = {}
        """Those of a session that text depends on, as they are in the source."""
        self.quiet = without_event_triggers(self.ddl)
        self.oid = 0
        """The copy's, once it is made."""
        self.total: int | None = None
        """The source's size in bytes."""
        self.phase = "Making an empty database"
        self.group = TaskGroup(self._beat, self._cancel)
        self.holder: Connection | None = None
        """The session that holds the tables' locks."""
        self.idle: list[Connection] = []
        """The sessions that have nothing to do, and are kept awake."""
        self._observe = context.observe
        self._began = monotonic()
        self._pace = Pace()
        self._under_way: list[Connection] = []

    # --- sessions and programs ---

    def at_source(self, stack: ExitStack) -> Connection:
        connection = stack.enter_context(self.server.enter(self.server.source, self.quiet))
        settle(connection, self.settings)
        return connection

    @contextmanager
    def cancelled_with_us(self, connection: Connection) -> Iterator[None]:
        """In the block, cancel what the session does if the tasks are to stop."""
        self._under_way.append(connection)
        try:
            yield
        finally:
            self._under_way.remove(connection)

    def finished(self, running: Running) -> None:
        with closing(running):
            running.wait(self.group.stopped)

    def program(
        self, program: Path, *words: str | Path, database: str, stdin: IO[bytes] | None = None, piped: bool = False
    ) -> Running:
        conninfo, environment = access_for_programs(self.server, database, {**self.settings, **self.quiet})
        environment["PGCLIENTENCODING"] = self.encoding
        return Running([program, *words, f"--dbname={conninfo}"], environment, stdin, piped=piped)

    def dump_definitions(self, database: str, file: Path, *words: str) -> None:
        self.finished(
            self.program(self.programs.dump, *DUMPING, *_SECTIONS, f"--file={file}", *words, database=database)
        )

    # --- what there is in a database ---

    def contents_of(self, connection: Connection, counted: Iterable[Counted]) -> dict[str, Contents]:
        found: dict[str, Contents] = {}
        with self.cancelled_with_us(connection), watching_for_stalls(connection):
            for some in contents.contents_of(connection, tuple(counted)):
                found |= some
                if self.group.stopped():
                    raise StoppedError
        return found

    def large_objects(self, connection: Connection) -> Contents:
        with self.cancelled_with_us(connection), watching_for_stalls(connection):
            return contents.large_objects(connection)

    def numbers_of_objects(self, connection: Connection) -> dict[str, int]:
        """Count the objects, kind by kind."""
        with self.cancelled_with_us(connection), watching_for_stalls(connection):
            return contents.numbers_of_objects(connection)

    def definitions(self, connection: Connection) -> list[Definition]:
        """Return all definitions, by the snapshot of the transaction."""
        with self.cancelled_with_us(connection), watching_for_stalls(connection):
            return definitions_in_snapshot(connection)

    def left_out(self, connection: Connection) -> LeftOut:
        with self.cancelled_with_us(connection), watching_for_stalls(connection):
            found = contents.left_out(connection)
            views = contents.contents_of_views(connection)
            own = [table.as_compared for table in contents.tables(connection) if table.is_extensions]
        return replace(found, of_extensions=self.contents_of(connection, own), views=views)

    def differs(self, differing: list[str]) -> SnapkitError:
        return SnapkitError(
            f"The copy would differ from {self.plan.template.name!r}:{listed(differing)}",
            state=self.state,
            hint="docs/limits.md lists what such a copy cannot keep. For an exact clone, leave out --strategy online.",
        )

    # --- meanwhile ---

    def _beat(self) -> None:
        """Keep idle sessions awake, tell the progress, and look who waits for the copy."""
        for connection in self.idle:
            driver_connection(connection).execute("SELECT 1")
        done = databases.sizes(self.ddl, [self.oid]).get(self.oid)
        if done is not None and self.total is not None:
            done = min(done, self.total)
        elapsed = timedelta(seconds=monotonic() - self._began)
        pace = self._pace.see(elapsed, done) if done is not None else None
        self._observe(Progress(self.phase, elapsed, done, self.total if done is not None else None, pace=pace))
        if self.holder is not None:
            self._give_way(driver_connection(self.holder).info.backend_pid)

    def _cancel(self) -> None:
        """Cancel statements that do not notice by themselves that they are to stop: a count, or a wait for locks."""
        for connection in tuple(self._under_way):
            cancel(connection)

    def _give_way(self, holder_pid: int) -> None:
        waiting = snapshots.kept_waiting(self.ddl, holder_pid)
        if any(seconds > PATIENCE.total_seconds() for _, seconds in waiting):
            raise BusyError(
                "Somebody waits for an exclusive lock on a table that the copy reads, and others wait behind "
                "them. The copy was given up for:\n" + "\n".join(f"  {session.describe()}" for session, _ in waiting),
                state=self.state,
                hint="Run the command again when no ALTER TABLE, TRUNCATE or the like is under way.",
            )
