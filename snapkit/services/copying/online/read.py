"""Read the source, as of one moment: copy the definitions that come before the rows, and all rows.

One session exports its snapshot. pg_dump and the sessions that copy the large tables read by that snapshot.
https://www.postgresql.org/docs/current/app-pgdump.html
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import TypeVar

from snapkit.core.checks.in_the_way import locked_by_others
from snapkit.core.comparison.definitions import Contents, LeftOut, compare_versions
from snapkit.core.comparison.schema.defined_objects import Definition
from snapkit.core.copying.division import Division, Table, divide
from snapkit.core.copying.moment import Moment
from snapkit.core.outage.workers import PG_CRON
from snapkit.core.values import dataclass
from snapkit.errors import NOTHING_CHANGED, BusyError, SnapkitError, UsageError
from snapkit.postgres.catalog import databases
from snapkit.postgres.connection.server import Connection
from snapkit.postgres.connection.sqlstates import LOCK_NOT_AVAILABLE, QUERY_CANCELED, SERVER_ERRORS, sqlstate_of
from snapkit.postgres.copying import contents
from snapkit.postgres.copying import snapshot as snapshots
from snapkit.postgres.copying.gate import another_database
from snapkit.postgres.copying.moment import read_moment
from snapkit.postgres.copying.programs import Running
from snapkit.postgres.copying.relay import StoppedError
from snapkit.postgres.copying.table_copy import copy_table, drop_surplus, session_settings, settle, speak_as_stored
from snapkit.postgres.sql.execution import run, transaction
from snapkit.services.copying.online.code_check import check_code
from snapkit.services.copying.online.context import DUMPING, JOBS, RESTORING, CopyContext, SourceContents

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Held:
    """The moment that is copied, the session that counts rows and objects, and those that copy the large tables."""

    snapshot: str
    moment: Moment
    division: Division
    counter: Connection
    readers: Sequence[Connection]


def read(context: CopyContext, stack: ExitStack) -> SourceContents:
    """Copy the definitions that come before the rows, and all rows; return what the source holds.

    The sessions in ``stack`` keep the source's tables locked, and its dead rows from being vacuumed, until they are
    closed.
    """
    template = context.plan.template
    context.total = databases.sizes(context.ddl, [template.oid]).get(template.oid)
    with context.server.enter(context.server.source, context.quiet) as source:
        _check_extensions(source)
        context.settings = session_settings(source)
    _make(context)
    exporter = context.at_source(stack)
    with context.server.enter(context.plan.name, context.quiet) as copy:
        drop_surplus(
            copy,
            contents.schemas(copy) - contents.schemas(exporter),
            (contents.extension_versions(copy).keys() - contents.extension_versions(exporter).keys())
            | (contents.given_extensions(copy) - contents.given_extensions(exporter)),
        )
    held = _hold(context, stack, exporter)
    with closing(_dump_rest(context, held)) as rest:
        _copy_definitions(context, held.snapshot)
        context.idle = [exporter]
        found = _copy_rows(context, rest, held)
    context.idle, context.holder = [], None
    return found


def _hold(context: CopyContext, stack: ExitStack, exporter: Connection) -> _Held:
    """Lock all tables, and give all sessions that read them one snapshot.

    That takes as long as others keep tables locked. Meanwhile the sessions that have their locks already are kept
    awake.
    """
    context.phase, context.holder = "Locking tables", exporter
    held: list[_Held] = []

    def lock(connection: Connection, take: Callable[[], _T]) -> _T:
        with context.cancelled_with_us(connection), _locks(context):
            result = take()
        context.idle = [*context.idle, connection]
        return result

    def begin() -> tuple[str, list[Table], Moment]:
        begun = snapshots.begin_snapshot(exporter, context.group.stopped)
        if context.is_superuser:
            check_code(exporter, context.state)
        return *begun, _moment_of(context, exporter)

    def joined(snapshot: str, tables: Sequence[Table]) -> Connection:
        connection = context.at_source(stack)
        lock(connection, lambda: snapshots.join_snapshot(connection, snapshot, tables))
        return connection

    def work() -> None:
        snapshot, found, moment = lock(exporter, begin)
        division = divide(found, context.encoding)
        counter = joined(snapshot, [table for table in found if table not in division.relayed])
        readers = [joined(snapshot, division.relayed) for _ in range(min(JOBS, len(division.relayed)))]
        held.append(_Held(snapshot, moment, division, counter, readers))

    context.group.run(work)
    return held[0]


def _moment_of(context: CopyContext, exporter: Connection) -> Moment:
    """Return the source's properties as of the snapshot; raise if this is another database than was planned for."""
    template = context.plan.template
    oid = databases.own_database(exporter)
    moment = read_moment(exporter, oid, context.state) if oid == template.oid else None
    if moment is None:
        raise another_database(template.name, context.state)
    context.check(moment)
    return moment


def _check_extensions(connection: Connection) -> None:
    """Raise UsageError if pg_restore could not make the same extensions.

    It installs the version that the server prefers now. And pg_cron can be in one database of the server only.
    """
    if PG_CRON in contents.extension_versions(connection):
        raise UsageError(
            "The database has the extension pg_cron, which only one database of a server can have. So it cannot "
            "be copied while clients work.",
            state=NOTHING_CHANGED,
            hint="Leave out --strategy online. If pg_cron's scheduler works from this database, a clone of the "
            "files needs --stop-workers. Or move pg_cron to another database (cron.database_name = "
            "'postgres', jobs by cron.schedule_in_database()).",
        )
    differing = compare_versions(contents.extension_versions(connection), contents.offered_versions(connection))
    if differing:
        raise UsageError(
            f"The copy would have other versions of these extensions: {', '.join(differing)}.",
            state=NOTHING_CHANGED,
            hint="Bring them up to date (ALTER EXTENSION ... UPDATE), or leave out --strategy online.",
        )


def _make(context: CopyContext) -> None:
    plan = context.plan
    run(context.ddl, *plan.settings, plan.create)
    oid = databases.oid_of(context.ddl, plan.name)
    if oid is None:
        raise BusyError(f"The copy {plan.name!r} was dropped or renamed by somebody else.", state=context.state)
    context.oid = oid
    made = databases.locale_of(context.ddl, oid)
    if made != plan.create.locale:
        raise SnapkitError(
            f"The server made a database of {made}, not of {plan.create.locale}.",
            state=context.state,
            hint="Leave out --strategy online.",
        )
    with transaction(context.ddl):
        run(context.ddl, *plan.opening)


@contextmanager
def _locks(context: CopyContext) -> Iterator[None]:
    """If a table cannot be locked, raise an error that names the sessions which have locked it."""
    try:
        yield
    except SERVER_ERRORS as error:
        if context.group.stopped():
            raise StoppedError from error
        if sqlstate_of(error) not in (LOCK_NOT_AVAILABLE, QUERY_CANCELED):
            raise
        with context.server.connect() as watcher:
            sessions = snapshots.locks_in_the_way(watcher, context.plan.template.oid)
        raise locked_by_others(sessions, context.state) from error


def _copy_definitions(context: CopyContext, snapshot: str) -> None:
    context.phase = "Copying definitions"
    source = context.directory / "source"

    def work() -> None:
        context.dump_definitions(context.plan.template.name, source, f"--snapshot={snapshot}")
        context.finished(
            context.program(
                context.programs.restore, "--section=pre-data", *RESTORING, source, database=context.plan.name
            )
        )
        if context.is_superuser:  # what was renamed in the source meanwhile may be something else here
            with context.server.enter(context.plan.name, context.quiet) as copy:
                check_code(copy, context.state)

    context.group.run(work)


def _dump_rest(context: CopyContext, held: _Held) -> Running:
    """Start pg_dump for the tables that it copies: it takes its locks now, and waits to be read."""
    excluded = [f"--exclude-table-data={table.title}" for table in held.division.relayed]
    words = ("--compress=0", "--section=data", f"--snapshot={held.snapshot}", *excluded)
    return context.program(context.programs.dump, *DUMPING, *words, database=context.plan.template.name, piped=True)


def _copy_rows(context: CopyContext, rest: Running, held: _Held) -> SourceContents:
    context.phase = "Copying rows"
    counter, division = held.counter, held.division
    rows: dict[str, Contents] = {}
    found: list[tuple[Contents, Mapping[str, int], LeftOut, Sequence[Definition]]] = []
    waiting = list(division.relayed)
    taking = threading.Lock()

    def next_table() -> Table | None:
        with taking:
            return waiting.pop(0) if waiting else None

    def relay_from(source: Connection) -> Callable[[], None]:
        def work() -> None:
            with context.server.enter(context.plan.name, context.quiet) as copy:
                settle(copy, context.settings)
                for each in (source, copy):
                    speak_as_stored(each)
                while (table := next_table()) is not None:
                    sent, arrived = copy_table(source, copy, table, context.group.stopped)
                    if sent != arrived:
                        raise context.differs([f"rows of {table.title}: {sent} were sent, {arrived} have arrived"])
                    rows.update(context.contents_of(source, [table.as_compared]))
            source.close()

        return work

    def restore_rest() -> None:
        restoring = context.program(
            context.programs.restore, *RESTORING, database=context.plan.name, stdin=rest.hand_over()
        )
        try:
            context.finished(restoring)
        finally:  # what pg_dump complains of is why pg_restore lacks something
            rest.wait(context.group.stopped)

    def count() -> None:
        rows.update(context.contents_of(counter, division.rest))
        large = context.large_objects(counter)
        objects = context.numbers_of_objects(counter)
        found.append((large, objects, context.left_out(counter), context.definitions(counter)))
        counter.close()

    context.group.run(restore_rest, count, *map(relay_from, held.readers))
    large, objects, left_out, definitions = found[0]
    return SourceContents(held.moment, division, rows, large, objects, left_out, definitions)
