"""Copy a database while its clients work: definitions and rows, as of one moment, into a sealed partial.

Nobody is disconnected, and no connection waits. One session exports its snapshot; pg_dump and sessions that relay the
large tables all read by it. https://www.postgresql.org/docs/current/app-pgdump.html

The partial lets only its owner in while it is being filled, bears a mark of its own meanwhile, and is sealed again, and
free of sessions, before it is made a backup.
"""

from __future__ import annotations

import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import IO, TypeVar

from snapkit.core.checks.in_the_way import locked_by_others
from snapkit.core.comparison.definitions import (
    Contents,
    LeftOut,
    cautions_of,
    compare_contents,
    compare_definitions,
    compare_given,
    compare_numbers,
    compare_versions,
)
from snapkit.core.copying.division import Counted, Division, Table, divide
from snapkit.core.copying.estimates import Pace
from snapkit.core.copying.moment import Moment
from snapkit.core.copying.program_messages import event_triggers_last, kind_of
from snapkit.core.outage.workers import PG_CRON
from snapkit.core.plans.clone import ClonePlan
from snapkit.core.reporting import Caution, Progress
from snapkit.core.values import dataclass
from snapkit.errors import (
    NOTHING_CHANGED,
    BusyError,
    ConnectionFailedError,
    DiskFullError,
    PrivilegeError,
    SnapkitError,
    UsageError,
)
from snapkit.postgres.catalog import databases, server_facts
from snapkit.postgres.connection.driver import driver_connection
from snapkit.postgres.connection.libpq_environment import access_for_programs
from snapkit.postgres.connection.safe_settings import LOCK_TIMEOUT
from snapkit.postgres.connection.server import Connection
from snapkit.postgres.connection.sqlstates import (
    DISK_FULL_HINT,
    LOCK_NOT_AVAILABLE,
    QUERY_CANCELED,
    SERVER_ERRORS,
    server_errors,
    sqlstate_of,
)
from snapkit.postgres.copying import contents
from snapkit.postgres.copying import snapshot as snapshots
from snapkit.postgres.copying.gate import Check, another_database
from snapkit.postgres.copying.moment import read_moment
from snapkit.postgres.copying.programs import ProgramError, Programs, Running
from snapkit.postgres.copying.relay import StoppedError
from snapkit.postgres.copying.table_copy import (
    analyze,
    cancel,
    copy_table,
    drop_surplus,
    session_settings,
    settle,
    speak_as_stored,
    without_event_triggers,
)
from snapkit.postgres.sql.execution import run, transaction
from snapkit.postgres.sql.stall_watch import overseen
from snapkit.services.copying.clone import Cloned, untouched
from snapkit.services.copying.online.code_check import check_code, listed
from snapkit.services.copying.online.task_group import Crew
from snapkit.services.outage.emptying import empty_sealed
from snapkit.services.run.survey import RunContext

JOBS = 2
"""Tables that are relayed, and indexes that are built, at once. More was no faster on two cores, and clients work."""

PATIENCE = LOCK_TIMEOUT
"""How long somebody may wait for a lock that the copy holds, before it gives up: others queue behind them."""

_SECTIONS = ("--section=pre-data", "--section=post-data")
_RESTORING = ("--no-password", "--exit-on-error")
_LARGE = "large objects"
_HINTS = {
    PrivilegeError: "The role must be able to read everything in the database, and to make everything in it anew. Give "
    "it the right, or connect as one that has it, or leave --strategy online out.",
    DiskFullError: DISK_FULL_HINT,
}
_ANOTHER_WAY = "Mend what is told here, or leave --strategy online out: a clone by files neither dumps nor restores."


def check_locks(connection: Connection, state: str) -> None:
    """Raise UsageError if the server has no room for the locks that a copy of this database takes.

    Else it would fail when it has begun, and another session's statement, perhaps, that needs one lock at that moment.
    """
    locks = snapshots.lock_table(connection)
    if locks.is_too_small:
        raise UsageError(locks.room, state=state, hint=f"{locks.remedy}, or leave --strategy online out.")


def copy_online(context: RunContext, plan: ClonePlan, programs: Programs, check: Check) -> Cloned:
    """Make the database of the plan, fill it, compare it with its source and seal it.

    ``check`` is given what the source is at the moment that is copied, and raises for what does not go with the plan.
    Raises the error of ours that fits. What was begun is left to whoever discards it (``discarded_on_failure``).
    """
    began = monotonic()
    with _errors(untouched(plan)), _directory() as directory:
        copying = _Copying(context, plan, programs, check, directory)
        with ExitStack() as readers:
            copying.read(readers)
        copying.complete()
        copying.compare()
        copying.seal()
    duration = timedelta(seconds=monotonic() - began)
    return Cloned(copying.oid, copying.moment, copying.total, timedelta(0), (), duration, cautions=copying.cautions)


@contextmanager
def _directory() -> Iterator[Path]:
    """A place for definitions; of rows nothing is written on this machine."""
    with tempfile.TemporaryDirectory(prefix="snapkit-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@contextmanager
def _errors(state: str) -> Iterator[None]:
    """Turn what can go wrong into errors of ours."""
    try:
        with server_errors(state):
            yield
    except ProgramError as error:
        message = str(error)
        kind = kind_of(message)
        raise kind(message, state=state, hint=_HINTS.get(kind, _ANOTHER_WAY)) from error
    except (OSError, subprocess.SubprocessError) as error:
        raise SnapkitError(f"On this machine: {error}.", state=state) from error
    except ConnectionFailedError as error:
        error.state = state
        raise


_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Held:
    """The moment that is copied, the session that counts what there is, and those that relay large tables."""

    snapshot: str
    moment: Moment
    counter: Connection
    readers: Sequence[Connection]


class _Copying:
    """One copy under way, and what was learnt of the source for the comparison at its end."""

    def __init__(
        self,
        context: RunContext,
        plan: ClonePlan,
        programs: Programs,
        check: Check,
        directory: Path,
    ) -> None:
        self.oid = 0
        self.moment: Moment
        self.total: int | None = None
        self.cautions: tuple[Caution, ...] = ()
        self._server = context.server
        self._ddl = ddl = context.ddl
        self._plan = plan
        self._programs = programs
        self._observe = context.observe
        self._check = check
        self._directory = directory
        self._state = untouched(plan)
        self._is_superuser = server_facts.server_facts(ddl).is_superuser
        self._encoding = plan.create.locale.encoding if plan.create.locale else ""
        self._settings: dict[str, str] = {}
        self._quiet = without_event_triggers(ddl)
        self._division = Division((), ())
        self._rows: dict[str, Contents] = {}
        self._large = Contents(0, 0)
        self._objects: dict[str, int] = {}
        self._left_out = LeftOut({}, frozenset())
        self._began = monotonic()
        self._pace = Pace()
        self._phase = "Making an empty database"
        self._crew = Crew(self._beat, self._cancel)
        self._holder: Connection | None = None
        self._idle: list[Connection] = []
        self._under_way: list[Connection] = []

    # --- while the source is read ---

    def read(self, stack: ExitStack) -> None:
        """Copy the definitions that come before the rows, and all rows.

        The sessions in ``stack`` are inside the source, and hold its tables, and the rows that die meanwhile, until
        they are closed.
        """
        self.total = databases.sizes(self._ddl, [self._plan.template.oid]).get(self._plan.template.oid)
        with self._server.look_into_source(self._quiet) as source:
            self._check_extensions(source)
            self._settings = session_settings(source)
        self._make()
        exporter = self._at_source(stack)
        with self._server.enter(self._plan.name, self._quiet) as copy:
            drop_surplus(
                copy,
                contents.schemas(copy) - contents.schemas(exporter),
                (contents.extension_versions(copy).keys() - contents.extension_versions(exporter).keys())
                | (contents.given_extensions(copy) - contents.given_extensions(exporter)),
            )
        held = self._hold(stack, exporter)
        self.moment = held.moment
        with closing(self._dump_rest(held.snapshot)) as rest:
            self._copy_definitions(held.snapshot)
            self._idle = [exporter]
            self._copy_rows(rest, held.counter, held.readers)
        self._idle, self._holder = [], None

    def _hold(self, stack: ExitStack, exporter: Connection) -> _Held:
        """Lock all tables, and let the sessions that are to read them see one moment; each of them is idle afterwards.

        It takes as long as others keep tables locked, so the sessions that have their locks already are kept awake.
        """
        self._phase, self._holder = "Locking tables", exporter
        held: list[_Held] = []

        def lock(connection: Connection, take: Callable[[], _T]) -> _T:
            with self._cancelled_with_us(connection), self._locks():
                result = take()
            self._idle = [*self._idle, connection]
            return result

        def begin() -> tuple[str, list[Table], Moment]:
            begun = snapshots.begin_snapshot(exporter, self._crew.stopped)
            if self._is_superuser:
                check_code(exporter, self._state)
            return *begun, self._moment_of(exporter)

        def joined(snapshot: str, tables: Sequence[Table]) -> Connection:
            connection = self._at_source(stack)
            lock(connection, lambda: snapshots.join_snapshot(connection, snapshot, tables))
            return connection

        def work() -> None:
            snapshot, found, moment = lock(exporter, begin)
            self._division = division = divide(found, self._encoding)
            counter = joined(snapshot, [table for table in found if table not in division.relayed])
            readers = [joined(snapshot, division.relayed) for _ in range(min(JOBS, len(division.relayed)))]
            held.append(_Held(snapshot, moment, counter, readers))

        self._crew.run(work)
        return held[0]

    def _moment_of(self, exporter: Connection) -> Moment:
        """Return what the source is in the very view that is copied; raise if this is not the one that is meant."""
        template = self._plan.template
        oid = databases.own_database(exporter)
        moment = read_moment(exporter, oid, self._state) if oid == template.oid else None
        if moment is None:
            raise another_database(template.name, self._state)
        self._check(moment)
        return moment

    def _at_source(self, stack: ExitStack) -> Connection:
        connection = stack.enter_context(self._server.look_into_source(self._quiet))
        settle(connection, self._settings)
        return connection

    def _check_extensions(self, connection: Connection) -> None:
        """pg_restore has extensions installed in the version that the server prefers now.

        pg_cron can be made in one database only, so that no pg_restore brings it into another.
        """
        if PG_CRON in contents.extension_versions(connection):
            raise UsageError(
                "The database has the extension pg_cron, which can be in one database of the server only: it cannot be "
                "copied while clients work.",
                state=NOTHING_CHANGED,
                hint="Leave --strategy online out; where pg_cron's scheduler works from this database, a clone by "
                "files takes --stop-workers. Or let pg_cron be in another database (cron.database_name = 'postgres', "
                "jobs by cron.schedule_in_database()).",
            )
        differing = compare_versions(contents.extension_versions(connection), contents.offered_versions(connection))
        if differing:
            raise UsageError(
                f"These extensions would not come into the copy as they are: {', '.join(differing)}.",
                state=NOTHING_CHANGED,
                hint="Bring them up to date (ALTER EXTENSION ... UPDATE), or leave --strategy online out.",
            )

    def _make(self) -> None:
        plan = self._plan
        run(self._ddl, *plan.settings, plan.create)
        oid = databases.oid_of(self._ddl, plan.name)
        if oid is None:
            raise BusyError(f"The copy {plan.name!r} was dropped or renamed by somebody else.", state=self._state)
        self.oid = oid
        made = databases.locale_of(self._ddl, oid)
        if made != plan.create.locale:
            raise SnapkitError(
                f"The server made a database of {made}, where {plan.create.locale} was wanted.",
                state=self._state,
                hint="Leave --strategy online out.",
            )
        with transaction(self._ddl):
            run(self._ddl, *plan.opening)

    @contextmanager
    def _locks(self) -> Iterator[None]:
        """Say who is in the way if a table cannot be locked."""
        try:
            yield
        except SERVER_ERRORS as error:
            if self._crew.stopped():
                raise StoppedError from error
            if sqlstate_of(error) not in (LOCK_NOT_AVAILABLE, QUERY_CANCELED):
                raise
            with self._server.connect() as watcher:
                sessions = snapshots.locks_in_the_way(watcher, self._plan.template.oid)
            raise locked_by_others(sessions, self._state) from error

    def _copy_definitions(self, snapshot: str) -> None:
        self._phase = "Copying definitions"
        source = self._directory / "source"

        def work() -> None:
            self._dump_definitions(self._plan.template.name, source, f"--snapshot={snapshot}")
            self._finished(
                self._program(
                    self._programs.restore, "--section=pre-data", *_RESTORING, source, database=self._plan.name
                )
            )
            if self._is_superuser:  # what was renamed in the source meanwhile may be something else here
                with self._server.enter(self._plan.name, self._quiet) as copy:
                    check_code(copy, self._state)

        self._crew.run(work)

    def _dump_definitions(self, database: str, file: Path, *words: str) -> None:
        self._finished(
            self._program(self._programs.dump, *_DUMPING, *_SECTIONS, f"--file={file}", *words, database=database)
        )

    def _dump_rest(self, snapshot: str) -> Running:
        """Begin to dump what is not relayed: it takes its locks now, and waits to be read."""
        excluded = [f"--exclude-table-data={table.title}" for table in self._division.relayed]
        words = ("--compress=0", "--section=data", f"--snapshot={snapshot}", *excluded)
        return self._program(self._programs.dump, *_DUMPING, *words, database=self._plan.template.name, piped=True)

    def _copy_rows(self, rest: Running, counter: Connection, readers: Sequence[Connection]) -> None:
        self._phase = "Copying rows"
        waiting = list(self._division.relayed)
        taking = threading.Lock()

        def next_table() -> Table | None:
            with taking:
                return waiting.pop(0) if waiting else None

        def relay_from(source: Connection) -> Callable[[], None]:
            def work() -> None:
                with self._server.enter(self._plan.name, self._quiet) as copy:
                    settle(copy, self._settings)
                    for each in (source, copy):
                        speak_as_stored(each)
                    while (table := next_table()) is not None:
                        sent, arrived = copy_table(source, copy, table, self._crew.stopped)
                        if sent != arrived:
                            raise self._differs([f"rows of {table.title}: {sent} were sent, {arrived} have arrived"])
                        self._rows |= self._contents(source, [table.as_compared])
                source.close()

            return work

        def restore_rest() -> None:
            restoring = self._program(
                self._programs.restore, *_RESTORING, database=self._plan.name, stdin=rest.hand_over()
            )
            try:
                self._finished(restoring)
            finally:  # what pg_dump complains of is why pg_restore lacks something
                rest.wait(self._crew.stopped)

        def count() -> None:
            self._rows |= self._contents(counter, self._division.rest)
            self._large = self._large_objects(counter)
            self._objects = self._count(counter)
            self._left_out = self._look_at_what_is_left_out(counter)
            counter.close()

        self._crew.run(restore_rest, count, *map(relay_from, readers))

    def _contents(self, connection: Connection, counted: Iterable[Counted]) -> dict[str, Contents]:
        found: dict[str, Contents] = {}
        with self._cancelled_with_us(connection), overseen(connection):
            for some in contents.contents_of(connection, tuple(counted)):
                found |= some
                if self._crew.stopped():
                    raise StoppedError
        return found

    def _large_objects(self, connection: Connection) -> Contents:
        with self._cancelled_with_us(connection), overseen(connection):
            return contents.large_objects(connection)

    def _count(self, connection: Connection) -> dict[str, int]:
        """Count the objects, kind by kind."""
        with self._cancelled_with_us(connection), overseen(connection):
            return contents.numbers_of_objects(connection)

    def _look_at_what_is_left_out(self, connection: Connection) -> LeftOut:
        with self._cancelled_with_us(connection), overseen(connection):
            found = contents.left_out(connection)
            views = contents.contents_of_views(connection)
            own = [table.as_compared for table in contents.tables(connection) if table.is_extensions]
        return replace(found, of_extensions=self._contents(connection, own), views=views)

    @contextmanager
    def _cancelled_with_us(self, connection: Connection) -> Iterator[None]:
        """Let what a session does in the block be cancelled where all is to stop."""
        self._under_way.append(connection)
        try:
            yield
        finally:
            self._under_way.remove(connection)

    # --- afterwards, in the copy alone ---

    def complete(self) -> None:
        """Build indexes, keys, triggers and what else comes after the rows; gather the planner's statistics."""
        self._phase = "Building indexes"

        def build() -> None:
            for options in self._post_data():
                archive = self._directory / "source"
                self._finished(
                    self._program(
                        self._programs.restore,
                        "--section=post-data",
                        *options,
                        *_RESTORING,
                        archive,
                        database=self._plan.name,
                    )
                )
            self._phase = "Gathering statistics"
            with self._server.enter(self._plan.name, self._quiet) as copy:
                analyze(copy, self._crew.stopped)

        self._crew.run(build)

    def _post_data(self) -> Iterator[tuple[str, ...]]:
        """How pg_restore is called: event triggers come last, or they would fire for the views that it refreshes."""
        jobs = f"--jobs={JOBS}"
        if not self._objects.get("event triggers"):
            yield (jobs,)
            return
        listing = self._directory / "listing"
        words = ("--list", "--section=post-data", f"--file={listing}", self._directory / "source")
        self._finished(Running([self._programs.restore, *words], {}))
        parts = event_triggers_last(listing.read_text(encoding="utf-8", errors="surrogateescape"))
        for name, part, how in zip(("first", "last"), parts, (jobs, "--jobs=1"), strict=True):
            file = self._directory / name
            file.write_text(part, encoding="utf-8", errors="surrogateescape")
            yield f"--use-list={file}", how

    def compare(self) -> None:
        """Compare the copy with the source, as that was at its moment; raise SnapkitError, and name what differs."""
        self._phase = "Comparing"
        differing: list[str] = []

        def look() -> None:
            source, copied = self._directory / "source", self._directory / "copy"
            self._dump_definitions(self._plan.name, copied)
            differing.extend(compare_definitions(self._text(source), self._text(copied)))
            with self._in_copy() as copy:
                differing.extend(compare_numbers(self._objects, self._count(copy)))
                left_out = self._look_at_what_is_left_out(copy)
                differing.extend(compare_given(self._left_out.given, left_out.given)[0])
                self.cautions = cautions_of(self._left_out, left_out)
                large = self._large_objects(copy)
                differing.extend(compare_contents({_LARGE: self._large}, {_LARGE: large}))
                found.update(self._contents(copy, self._division.rest))

        def add_up(tables: Sequence[Table]) -> Callable[[], None]:
            def work() -> None:
                with self._in_copy() as copy:
                    found.update(self._contents(copy, [table.as_compared for table in tables]))

            return work

        relayed, found = self._division.relayed, dict[str, Contents]()
        self._crew.run(look, *(add_up(some) for n in range(JOBS) if (some := relayed[n::JOBS])))
        differing.extend(f"rows of {each}" for each in compare_contents(self._rows, found))
        if differing:
            raise self._differs(differing)

    @contextmanager
    def _in_copy(self) -> Iterator[Connection]:
        with self._server.enter(self._plan.name, self._quiet) as copy:
            settle(copy, self._settings)
            yield copy

    def _text(self, dump: Path) -> str:
        script = dump.with_suffix(".sql")
        self._finished(Running([self._programs.restore, f"--file={script}", dump], {}))
        return script.read_text(encoding="utf-8", errors="surrogateescape")

    def _differs(self, differing: list[str]) -> SnapkitError:
        return SnapkitError(
            f"The copy would not be what {self._plan.template.name!r} is:{listed(differing)}",
            state=self._state,
            hint="What such a copy cannot keep stands in docs/limits.md. An exact clone: leave --strategy online out.",
        )

    def seal(self) -> None:
        """Let nobody in any more, and see to it that nobody is inside."""
        run(self._ddl, *self._plan.closing)
        empty_sealed(self._ddl, self.oid, self._plan.name, self._state)

    # --- meanwhile ---

    def _beat(self) -> None:
        """Keep the sessions awake that have nothing to do, tell how far it is, and see whom the copy keeps waiting."""
        for connection in self._idle:
            driver_connection(connection).execute("SELECT 1")
        done = databases.sizes(self._ddl, [self.oid]).get(self.oid)
        if done is not None and self.total is not None:
            done = min(done, self.total)
        elapsed = timedelta(seconds=monotonic() - self._began)
        pace = self._pace.see(elapsed, done) if done is not None else None
        self._observe(Progress(self._phase, elapsed, done, self.total if done is not None else None, pace=pace))
        if self._holder is not None:
            self._give_way(driver_connection(self._holder).info.backend_pid)

    def _cancel(self) -> None:
        """Cancel what is under way and does not see by itself that it is to stop: a count, or a wait for locks."""
        for connection in tuple(self._under_way):
            cancel(connection)

    def _give_way(self, holder_pid: int) -> None:
        waiting = snapshots.kept_waiting(self._ddl, holder_pid)
        if any(seconds > PATIENCE.total_seconds() for _, seconds in waiting):
            raise BusyError(
                "Somebody wants a table wholly that the copy reads, and everybody else queues behind them; the copy "
                "gave way to:\n" + "\n".join(f"  {session.describe()}" for session, _ in waiting),
                state=self._state,
                hint="Run the command again when no ALTER TABLE, TRUNCATE or the like is under way.",
            )

    # --- programs ---

    def _finished(self, running: Running) -> None:
        with closing(running):
            running.wait(self._crew.stopped)

    def _program(
        self, program: Path, *words: str | Path, database: str, stdin: IO[bytes] | None = None, piped: bool = False
    ) -> Running:
        conninfo, environment = access_for_programs(self._server, database, {**self._settings, **self._quiet})
        environment["PGCLIENTENCODING"] = self._encoding
        return Running([program, *words, f"--dbname={conninfo}"], environment, stdin, piped=piped)


_DUMPING = (
    "--format=custom",
    "--no-password",
    "--no-subscriptions",
    f"--lock-wait-timeout={LOCK_TIMEOUT // timedelta(milliseconds=1)}",
)
