"""Open an entry to its owner, so that it can be looked into, and seal it again, just as it was.

What tells an entry that somebody looks into from one that was left open is the entry's lock (``postgres.opened``): the
run that opened it holds that, on a session of its own, until it has sealed the entry. Whoever seals one holds it too;
so sealing needs no lock of the source, and does not wait for a backup that is being made.

A guard keeps its backup from being dropped, by a lock of its own, while its command runs.
"""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import field, replace
from datetime import timedelta
from time import monotonic, sleep

from snapkit.core.inventory import metadata as comments
from snapkit.core.inventory.database import Database
from snapkit.core.inventory.entry import Entry, check_usable
from snapkit.core.inventory.kinds import State
from snapkit.core.inventory.metadata import Metadata
from snapkit.core.inventory.opened import Grant, Opened
from snapkit.core.inventory.recognition import Inventory
from snapkit.core.inventory.selection import select_one
from snapkit.core.plans.identity import Facts, check_facts_found, facts_of
from snapkit.core.plans.opening import (
    READ_ONLY,
    named,
    privileges_when_open,
    statement_to_shut,
    statements_to_open,
    statements_to_restore,
    written_while_open,
)
from snapkit.core.plans.properties import Privilege
from snapkit.core.plans.statements import CommentOnDatabase, FreezeDatabase
from snapkit.core.reporting import Caution, Observe, unobserved
from snapkit.core.server.replication import at_work_while_open
from snapkit.core.values import dataclass
from snapkit.errors import NOTHING_CHANGED, BusyError, ConnectionFailedError, PrivilegeError, SnapkitError
from snapkit.postgres.catalog import databases, roles, server_facts, sessions
from snapkit.postgres.catalog.replication import replication_of
from snapkit.postgres.connection.driver import driver_connection, take_unconfirmed
from snapkit.postgres.connection.libpq_environment import environment_for
from snapkit.postgres.connection.server import Connection, Server
from snapkit.postgres.connection.spare_sessions import Reserve
from snapkit.postgres.connection.sqlstates import SERVER_ERRORS, server_errors
from snapkit.postgres.copying.programs import find_psql
from snapkit.postgres.probe.write_counters import settled_counters
from snapkit.postgres.sql.ddl import quote_name, sql_text
from snapkit.postgres.sql.entry_locks import (
    Use,
    connect_grants,
    end_holder,
    is_taken,
    release_entry,
    role_names,
    stay_idle,
    take_entry,
    user_of,
)
from snapkit.postgres.sql.execution import commit, committing_locally, run, transaction
from snapkit.postgres.sql.identity import check_overwritten, read_facts
from snapkit.services.outage.emptying import empty_sealed
from snapkit.services.run.commit_outcome import went_through
from snapkit.services.run.standby_confirmation import telling, unconfirmed
from snapkit.services.run.survey import (
    Standing,
    blockers_named,
    check_rights,
    gather,
    interruptions,
    locked,
    need_known,
)

PATIENCE = timedelta(seconds=20)
"""How long a server that cannot be reached at the end, since it is starting anew say, is asked again."""

_PAUSE = 0.2


@dataclass(frozen=True, slots=True)
class ShellRequest:
    """Which entry is to be opened, and for which command, with its program found; None is psql.

    ``url`` is what the user gave for the source, if it was a URL; ``own`` the URLs in the variables that programs read.
    """

    wanted: str
    command: tuple[str, ...] | None = None
    url: str | None = field(default=None, repr=False)  # it may hold a password
    own: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class OpenEntry:
    """An entry that is open, as it is while it is sealed; the command, and the variables by which that reaches it."""

    entry: Entry
    command: tuple[str, ...]
    environment: Mapping[str, str | None] = field(repr=False)
    cautions: tuple[Caution, ...]
    sealed: list[Entry] = field(default_factory=list, hash=False)
    """Once it is over: the entry as it is then, unless it is gone."""
    afterwards: list[Caution] = field(default_factory=list, hash=False)
    """Once it is over: what is to be said of the sealing."""


@contextmanager
def opened_entry(
    server: Server,
    request: ShellRequest,
    lock_wait: timedelta,
    observe: Observe = unobserved,
    shielded: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Iterator[OpenEntry]:
    """Open an entry, read-only and to its owner alone; seal it when the block ends, however it does.

    Should we be killed, the next run that changes something seals it. psql is looked for before anything is touched.
    The sealing runs under ``shielded``, which holds Ctrl-C back. Raises BusyError for an entry that is open already,
    and the error that fits, with how things stand, where it could not be sealed.
    """
    with server.connect() as keeper:
        ours: _Ours | None = None
        sealed: list[Entry] = []
        afterwards: list[Caution] = []
        try:
            with (
                interruptions(NOTHING_CHANGED) as standing,
                locked(server, lock_wait, observe) as connection,
                server_errors(NOTHING_CHANGED),
            ):
                gathered = gather(connection, server.source)
                need_known(gathered, server.source)
                chosen = select_one(gathered.inventory.of_source(server.source), request.wanted, server.source)
                _check_openable(chosen)
                check_rights(connection, chosen.database, createdb=False)
                command = request.command or (find_psql(gathered.facts.version),)
                entry = need_sealed(connection, chosen)
                stay_idle(keeper)
                if not take_entry(keeper, entry.database.oid):
                    raise _busy(entry)
                replication = replication_of(connection, [entry.database.oid])
                ours = _ours(entry, _note(connection, entry))
                untold = _open(server, connection, entry, ours.document, standing, observe)
                ours = replace(ours, was_open=True)
            cautions = ((sealed_caution(entry),) if chosen.opened else ()) + at_work_while_open(replication) + untold
            leading = environment_for(keeper, entry.name, request.url, request.own)
            opened = OpenEntry(entry, command, leading, cautions, sealed, afterwards)
            yield opened
        finally:
            if ours is not None:
                with shielded():
                    found, said = _seal_ours(server, keeper, ours)
                    sealed += found
                    afterwards += said


def _check_openable(entry: Entry) -> None:
    """Raise UsageError for what is not to be looked into. One that was altered is: who else knows what it holds?"""
    if entry.state is not State.ALTERED:
        check_usable(entry)


def open_to_owner(server: Server, connection: Connection, entry: Entry, observe: Observe) -> tuple[Caution, ...]:
    """Open an entry to its owner alone, until the next run that changes something seals it; its source's lock is held.

    Raises BusyError if somebody looks into it, and PrivilegeError if this role could not give back what is taken.
    """
    oid = entry.database.oid
    with server_errors(NOTHING_CHANGED):
        check_rights(connection, entry.database, createdb=False)
        if not take_entry(connection, oid):
            raise _busy(entry)
        try:
            document = _ours(entry, _note(connection, entry)).document
            return _open(server, connection, entry, document, Standing(NOTHING_CHANGED), observe)
        finally:
            with suppress(*SERVER_ERRORS):  # it goes with the connection
                release_entry(connection, oid)


@dataclass(frozen=True, slots=True)
class _Ours:
    """What we have opened: another run may have sealed it meanwhile, and opened it for itself."""

    oid: int
    name: str
    opened: Opened
    document: str
    """What its comment says while it is open."""
    was_open: bool = False
    """Whether it is known to have been open."""


def _ours(entry: Entry, opened: Opened) -> _Ours:
    assert entry.metadata is not None  # noqa: S101 - ``_check_openable`` has seen to it
    # That it was altered showed by its seal, perhaps, which is another one afterwards.
    document = comments.encode(entry.metadata.with_opened(opened).with_altered(entry.altered))
    return _Ours(entry.database.oid, entry.name, opened, document)


def _note(connection: Connection, entry: Entry) -> Opened:
    """Return what is to be noted of an entry before it is opened; raise if this role could not give it back."""
    oid = entry.database.oid
    connect = connect_grants(connection, oid)
    _check_that_it_can_be_given_back(connection, entry, connect, NOTHING_CHANGED, "Run the command")
    settings = databases.read_properties(connection, oid).settings
    read_only = next((each.value for each in settings if (each.role, each.parameter) == ("", READ_ONLY)), None)
    return Opened(
        at=server_facts.server_facts(connection).now.replace(microsecond=0),
        user=_user(),
        host=_host(),
        pid=os.getpid(),
        connect=connect,
        read_only=read_only,
        counted=settled_counters(connection, oid),
    )


def _host() -> str:
    try:
        return socket.gethostname()
    except OSError:
        return "a machine without a name"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container whose user has no name
        return f"uid {os.getuid()}"


def _check_that_it_can_be_given_back(
    connection: Connection, entry: Entry, connect: tuple[Grant, ...], state: str, hint: str
) -> None:
    """Raise PrivilegeError where others than the owner have granted CONNECT, and this role cannot act as they."""
    names = role_names(connection, connect)
    grantors = {each.grantor for each in named(connect, names)} - {entry.database.owner}
    strange = sorted(each for each in grantors if not roles.role_rights(connection, each).may_act_as_owner)
    if strange:
        raise PrivilegeError(
            f"CONNECT on {entry.name!r} was granted by {', '.join(strange)} too, and this role cannot grant it again "
            "as they did, which sealing takes.",
            state=state,
            hint=f"{hint} as a superuser, or as a role that is a member of {', '.join(map(quote_name, strange))} too.",
        )


def _open(
    server: Server, connection: Connection, entry: Entry, document: str, standing: Standing, observe: Observe
) -> tuple[Caution, ...]:
    """Open the entry; return only if it is open. A Ctrl-C is raised all the same: it is to be sealed then, not used."""
    opening = f"the opening of {entry.name!r}"
    oid, owner = entry.database.oid, entry.database.owner

    def work() -> None:
        present = _who_may_connect(connection, oid)
        run(connection, *statements_to_open(entry.name, owner, present, document))
        check_overwritten(connection, _facts(entry))
        found = _who_may_connect(connection, oid)
        if found != privileges_when_open(owner):
            raise SnapkitError(
                f"Others than {owner} could connect to {entry.name!r} if it were opened: "
                + ", ".join(sorted({each.grantee or "PUBLIC" for each in found} - {owner})),
                state=NOTHING_CHANGED,
                hint="Please report this, with the access list that psql shows with \\l",
            )
        standing.state = f"{entry.name!r} is sealed, or the next run seals it. See what there is: snapkit list"

    def ask(lost_pid: int) -> bool:
        expected = f"the comment of {entry.name!r} is now: {document}"
        return went_through(
            server, lost_pid, lambda asked: databases.comment_of(asked, oid) == document, opening, expected
        )

    with blockers_named(connection, NOTHING_CHANGED):
        done = commit(connection, work, ask, standing.undone, goes_on=False, waits=telling(observe, opening))
    return unconfirmed(opening, done.unconfirmed)


def _facts(entry: Entry) -> Mapping[int, Facts]:
    return {entry.database.oid: facts_of(entry.database, entry.database.document)}


def _who_may_connect(connection: Connection, oid: int) -> frozenset[Privilege]:
    grants = connect_grants(connection, oid)
    return named(grants, role_names(connection, grants))


# --- sealing --------------------------------------------------------------------------------------------------------


def check_not_open(connection: Connection, entry: Entry) -> Entry:
    """Return the entry; raise BusyError if somebody looks into it at this moment."""
    if entry.opened is not None and is_taken(connection, entry.database.oid):
        raise _busy(entry)
    return entry


def check_sealed(connection: Connection, entry: Entry) -> Entry:
    """Return the entry; raise BusyError if it is open, be it that nobody looks into it any more.

    For what is not to seal it, and would not do with an entry whose settings and privileges are those of an open one.
    """
    opened = check_not_open(connection, entry).opened
    if opened is None:
        return entry
    raise BusyError(
        f"{entry.name!r} is open: a snapkit shell that was interrupted ({opened.describe()}) has left it so.",
        state=NOTHING_CHANGED,
        hint="Seal it with: snapkit recover, and run the command again.",
    )


def need_sealed(connection: Connection, entry: Entry) -> Entry:
    """Return the entry as it is sealed: one that was left open is sealed now. The source's lock is held.

    Raises BusyError if somebody looks into it, and PrivilegeError if this role may not give back what was taken.
    """
    if entry.opened is None:
        return entry
    sealed = _seal_unless_taken(connection, entry)
    if sealed is None:
        raise _busy(entry)
    return sealed


def _seal_unless_taken(connection: Connection, entry: Entry) -> Entry | None:
    """Return the entry as it is sealed; None if somebody looks into it, or seals it."""
    oid = entry.database.oid
    if not take_entry(connection, oid):
        return None
    try:
        return _seal(connection, entry)
    finally:
        with suppress(*SERVER_ERRORS):  # it goes with the connection
            release_entry(connection, oid)


def _busy(entry: Entry) -> BusyError:
    who = f" ({entry.opened.describe()})" if entry.opened else ""
    return BusyError(
        f"{entry.name!r} is open in a snapkit shell{who}.",
        state=NOTHING_CHANGED,
        hint="Leave that shell (in psql: \\q), or end that process, and run the command again.",
    )


def check_not_way_back(connection: Connection, entry: Entry) -> None:
    """Raise BusyError if a guard would roll back to an entry at this moment."""
    if is_taken(connection, entry.database.oid, Use.WAY_BACK):
        raise _way_back_of_another(connection, entry)


def _way_back_of_another(connection: Connection, entry: Entry) -> BusyError:
    return BusyError(
        f"{entry.name!r} is what a snapkit guard rolls back to{user_of(connection, entry.database.oid, Use.WAY_BACK)}.",
        state=NOTHING_CHANGED,
        hint="Wait for that guard to end, and run the command again.",
    )


@contextmanager
def to_be_dropped(connection: Connection, entry: Entry) -> Iterator[None]:
    """Keep guards away from an entry that is dropped in the block; raise BusyError if one would roll back to it."""
    oid = entry.database.oid
    if not take_entry(connection, oid, Use.WAY_BACK):
        raise _way_back_of_another(connection, entry)
    try:
        yield
    finally:
        with suppress(*SERVER_ERRORS):  # it goes with the connection
            release_entry(connection, oid, Use.WAY_BACK)


@contextmanager
def way_back(server: Server, entry: Entry) -> Iterator[Reserve]:
    """Keep other runs from dropping an entry until the block ends. Its source's lock is held when it begins.

    It is the lock of a session, which goes with it: should the server be restarted meanwhile, it is taken again within
    seconds. That session is the first of a reserve, which is yielded. Raises BusyError if the entry is gone.
    """
    oid = entry.database.oid

    def claim(session: Connection) -> None:
        with server_errors(NOTHING_CHANGED):
            if not take_entry(session, oid, Use.WAY_BACK) or databases.name_of(session, oid) != entry.name:
                raise BusyError(f"{entry.name!r} has been dropped by somebody else.")

    def let_go(session: Connection) -> None:  # closing alone would let go of it a moment later
        release_entry(session, oid, Use.WAY_BACK)

    with server.in_reserve(claim, let_go) as reserve:
        yield reserve


def seal_what_was_left(
    connection: Connection, inventory: Inventory, source: str
) -> tuple[tuple[Entry, ...], tuple[Caution, ...]]:
    """Seal what shells that were killed have left open; return that, and a caution for what cannot be sealed.

    The source's lock is held. A lost connection is raised.
    """
    sealed: list[Entry] = []
    cautions: list[Caution] = []
    for entry in inventory.of_source(source):
        if entry.opened is None or entry.state is not State.READY:
            continue
        try:
            with server_errors(""):
                now_sealed = _seal_unless_taken(connection, entry)
        except ConnectionFailedError:
            raise
        except SnapkitError as error:
            message = f"{entry.name}, which a shell that was interrupted had left open, was not sealed: {error.message}"
            cautions.append(Caution("not_sealed", message))
        else:
            sealed += [now_sealed] if now_sealed is not None else []
            cautions += _unconfirmed_sealing(connection, entry)
    return tuple(sealed), tuple(cautions)


def _unconfirmed_sealing(connection: Connection, entry: Entry) -> tuple[Caution, ...]:
    return unconfirmed(f"the sealing of {entry.name!r}", take_unconfirmed(connection))


def sealed_caution(entry: Entry) -> Caution:
    return Caution("sealed", f"Sealed {entry.name}, which a shell that was interrupted had left open.")


def _seal(connection: Connection, entry: Entry) -> Entry:
    """Shut an open entry, empty it of sessions, and give it back what was taken; the entry's lock is held.

    Until the last transaction its document says that it is open, so that whatever ends us before leaves it to the next.
    """
    metadata, database = entry.metadata, entry.database
    assert metadata is not None and metadata.opened is not None  # noqa: S101 - the caller has looked
    state = f"{entry.name!r} is open to its owner {database.owner}, and to nobody else."
    with blockers_named(connection, state), committing_locally(connection):
        _shut(connection, entry, state)
    state = f"{entry.name!r} lets nobody in, but is not yet what it was."
    with blockers_named(connection, state):
        empty_sealed(connection, entry.database.oid, entry.name, state)
        return _restore(connection, entry, metadata, metadata.opened, state)


def _shut(connection: Connection, entry: Entry, state: str) -> None:
    with transaction(connection):
        run(connection, statement_to_shut(entry.name))
        check_facts_found(_facts(entry), read_facts(connection, [entry.database.oid]), state, only={"comment"})


def _restore(connection: Connection, entry: Entry, metadata: Metadata, opened: Opened, state: str) -> Entry:
    oid, owner = entry.database.oid, entry.database.owner
    after = metadata.with_opened(None)
    if after.altered is None:
        after = after.with_altered(_what_was_done(connection, entry, opened))
    document = comments.encode(after)
    _check_that_it_can_be_given_back(connection, entry, opened.connect, state, "Run: snapkit recover,")
    with transaction(connection):
        _shut(connection, entry, state)
        wanted = named(opened.connect, role_names(connection, opened.connect))
        present = _who_may_connect(connection, oid)
        run(connection, *statements_to_restore(entry.name, owner, present, wanted, opened.read_only, document))
        run(connection, FreezeDatabase(entry.name))  # both of its rows are written here, and not behind a savepoint
        found = _who_may_connect(connection, oid)
        if found != wanted:
            raise PrivilegeError(
                f"This role may not give back who may connect to {entry.name!r}: "
                f"{_listed(wanted - found)} would be missing, {_listed(found - wanted)} too much.",
                state=state,
                hint="Run: snapkit recover, as a superuser.",
            )
        check_overwritten(connection, _facts(entry), state, only={"comment"})
    database = replace(entry.database, allow_connections=False, is_template=False, document=document)
    state = State.READY if after.altered is None else State.ALTERED
    return replace(entry, database=database, metadata=after, state=state, altered=after.altered)


def _what_was_done(connection: Connection, entry: Entry, opened: Opened) -> str | None:
    """Say why the entry, in which nobody is any more, is not what it was before it was opened; None if it is."""
    prepared = sessions.prepared_transactions(connection, [entry.name]).get(entry.name, ())
    now = settled_counters(connection, entry.database.oid)
    is_early = driver_connection(connection).info.server_version < 150000
    return written_while_open(opened.counted, now, prepared, begins_at_first_use=is_early)


def _listed(items: frozenset[Privilege]) -> str:
    return ", ".join(f"{each.grantee or 'PUBLIC'} by {each.grantor}" for each in sorted(items)) or "nothing"


_Sealed = tuple[list[Entry], tuple[Caution, ...]]
"""The entry as it is once it is sealed, nothing if it is gone; and what is to be said of the sealing."""


def _seal_ours(server: Server, keeper: Connection, ours: _Ours) -> _Sealed:
    """Seal what we have opened, unless that has been done; a server that is away is asked again for a while."""
    deadline = monotonic() + PATIENCE.total_seconds()
    lost_pid = driver_connection(keeper).info.backend_pid
    try:
        with server_errors(""):
            return _seal_if_ours(server, keeper, ours)
    except SnapkitError as error:
        if not isinstance(error, ConnectionFailedError):
            raise _still_open(error) from error
    while True:
        try:
            with server.connect() as connection, server_errors(""):
                end_holder(connection, ours.oid, lost_pid)
                if _found(server, connection, ours) is None:
                    return _seal_if_ours(server, connection, ours)
                if take_entry(connection, ours.oid):  # else another run seals it, or our session is about to end
                    return _seal_if_ours(server, connection, ours)
                problem = SnapkitError("Another session holds its lock.")
        except SnapkitError as error:
            if not isinstance(error, ConnectionFailedError):
                raise _still_open(error) from error
            problem = error
        if monotonic() > deadline:
            raise _still_open(problem)
        sleep(_PAUSE)


def _seal_if_ours(server: Server, connection: Connection, ours: _Ours) -> _Sealed:
    """Return the entry, sealed by us or by somebody else."""
    entry = _found(server, connection, ours)
    if entry is not None:
        return [_seal(connection, entry)], _unconfirmed_sealing(connection, entry)
    return _present(gather(connection, server.source).inventory, ours.oid), ()


def _found(server: Server, connection: Connection, ours: _Ours) -> Entry | None:
    """Return the entry, if it is still as we have opened it, under whatever name; None if another run has sealed it.

    Raises _NotSealedError if it is not to be known for ours any more: what somebody has made of it is left alone.
    """
    inventory = gather(connection, server.source).inventory
    for entry in _present(inventory, ours.oid):
        if entry.opened == ours.opened:
            return entry
        if entry.opened is not None or not entry.database.allow_connections:
            return None
    if not ours.was_open:
        return None
    database = next((each for each in inventory.databases.values() if each.oid == ours.oid), None)
    raise _changed_while_open(database, ours, server.source)


def _present(inventory: Inventory, oid: int) -> list[Entry]:
    return [entry for entry in (*inventory.entries, *inventory.distrusted) if entry.database.oid == oid]


class _NotSealedError(BusyError):
    """An entry that was open is not sealed, and not to be; it says all that there is to say."""


def _changed_while_open(database: Database | None, ours: _Ours, source: str) -> _NotSealedError:
    if database is None:
        return _NotSealedError(
            f"{ours.name!r} was dropped by somebody else while it was open.",
            state="There is nothing left to seal.",
            hint="See what there is: snapkit list",
        )
    name, read_only = quote_name(database.name), f"ALTER DATABASE {quote_name(database.name)} RESET {READ_ONLY};"
    if database.name == source:
        return _NotSealedError(
            f"{ours.name!r} was made the live database {source!r} by somebody else while it was open.",
            state="It was left alone: it lets in its owner alone, and is read-only unless a session says otherwise.",
            hint=f"If it is to be as it was: {read_only} GRANT CONNECT ON DATABASE {name} TO PUBLIC; (or some roles)",
        )
    still = "still lets its owner in" if database.allow_connections else "lets nobody in"
    return _NotSealedError(
        f"{database.name!r} was not sealed again: its comment, by which it is known, was changed by somebody else "
        "while it was open.",
        state=f"It {still}.",
        hint="To have it as it was: snapkit recover, after: "
        + sql_text(CommentOnDatabase(database.name, ours.document))
        + ";",
    )


def _still_open(error: SnapkitError) -> SnapkitError:
    """Say of an entry that could not be sealed who will, and how to have it done now."""
    if isinstance(error, _NotSealedError):
        return error
    kind = type(error)
    return kind(
        f"The entry could not be sealed again: {error.message}",
        state=error.state or "It may still be open to its owner, and to nobody else.",
        hint="The next run that changes something seals it; to have it done now: snapkit recover",
    )
