"""Seal an entry that is open: restore its privileges and settings, as they were before it was opened.

A shell that is at work holds the entry's lock (``postgres/sql/entry_locks.py``) in a session of its own until it has
sealed the entry. An open entry whose lock is free was left by a shell that was killed. Who seals an entry holds that
lock too. So sealing needs no lock of the source, and does not wait for a backup that is being made.

Commands that only read an entry open it for the moment in which their sessions get in. Those stay inside when it is
sealed again, and nobody else gets in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace

from snapkit.core.comparison.writes import Rows
from snapkit.core.inventory import metadata as comments
from snapkit.core.inventory.entry import Entry
from snapkit.core.inventory.kinds import State
from snapkit.core.inventory.metadata import Metadata
from snapkit.core.inventory.opened import Grant, Opened
from snapkit.core.inventory.recognition import Inventory
from snapkit.core.plans.identity import Facts, check_facts_found, facts_of
from snapkit.core.plans.opening import named, statement_to_shut, statements_to_restore, written_while_open
from snapkit.core.plans.properties import Privilege
from snapkit.core.plans.statements import FreezeDatabase
from snapkit.core.reporting import Caution
from snapkit.core.server.version import counts_from_first_use
from snapkit.core.values import dataclass
from snapkit.errors import NOTHING_CHANGED, BusyError, ConnectionFailedError, PrivilegeError, SnapkitError
from snapkit.postgres.catalog import roles, sessions
from snapkit.postgres.connection.driver import server_version, take_unconfirmed
from snapkit.postgres.connection.server import Connection
from snapkit.postgres.connection.sqlstates import SERVER_ERRORS, server_errors
from snapkit.postgres.probe.write_counters import settled_counters
from snapkit.postgres.sql.ddl import quote_name
from snapkit.postgres.sql.entry_locks import (
    Use,
    connect_grants,
    is_taken,
    release_entry,
    role_names,
    say_who,
    take_entry,
    user_of,
)
from snapkit.postgres.sql.execution import committing_locally, run, transaction
from snapkit.postgres.sql.identity import check_overwritten, read_facts
from snapkit.services.outage.emptying import empty_sealed
from snapkit.services.run.preconditions import blockers_named
from snapkit.services.run.standby_confirmation import unconfirmed


def check_can_be_given_back(
    connection: Connection, entry: Entry, connect: tuple[Grant, ...], state: str, hint: str
) -> None:
    """Raise PrivilegeError if roles other than the owner granted CONNECT, and this role cannot act as them."""
    names = role_names(connection, connect)
    grantors = {each.grantor for each in named(connect, names)} - {entry.database.owner}
    strange = sorted(each for each in grantors if not roles.role_rights(connection, each).may_act_as_owner)
    if strange:
        raise PrivilegeError(
            f"{', '.join(strange)} granted CONNECT on {entry.name!r}, too. To seal it again, your role must be "
            "able to grant CONNECT as they did, and it is not.",
            state=state,
            hint=f"{hint} as a superuser, or as a role that is a member of {', '.join(map(quote_name, strange))} too.",
        )


def facts_of_entry(entry: Entry) -> Mapping[int, Facts]:
    return {entry.database.oid: facts_of(entry.database, entry.database.document)}


def who_may_connect(connection: Connection, oid: int) -> frozenset[Privilege]:
    grants = connect_grants(connection, oid)
    return named(grants, role_names(connection, grants))


def check_not_open(connection: Connection, entry: Entry) -> Entry:
    """Return the entry; raise BusyError if a shell has it open now."""
    if entry.opened is not None and is_taken(connection, entry.database.oid):
        raise open_elsewhere(entry)
    return entry


def check_not_read(connection: Connection, entry: Entry) -> None:
    """Raise BusyError if commands are reading the entry."""
    oid = entry.database.oid
    if is_taken(connection, oid, Use.READ):
        raise BusyError(
            f"{entry.name!r} is being read by another command{user_of(connection, oid, Use.READ)}.",
            state=NOTHING_CHANGED,
            hint="Wait for that command to end, or end it, and run this one again.",
        )


def check_sealed(connection: Connection, entry: Entry) -> Entry:
    """Return the entry; raise BusyError if it is open, or was left open.

    For callers that must not seal it, and cannot use the settings and privileges of an open entry.
    """
    opened = check_not_open(connection, entry).opened
    if opened is None:
        return entry
    raise BusyError(
        f"{entry.name!r} is open: an interrupted {opened.by} ({opened.describe()}) has left it open.",
        state=NOTHING_CHANGED,
        hint="Seal it with: snapkit recover. Then run the command again.",
    )


def need_sealed(connection: Connection, entry: Entry) -> Entry:
    """Return the entry, and seal it first if it was left open; the lock of its source is held.

    Raises BusyError if a shell has it open, and PrivilegeError if this role may not restore its privileges.
    """
    if entry.opened is None:
        return entry
    sealed = _seal_unless_taken(connection, entry)
    if sealed is None:
        raise open_elsewhere(entry)
    return sealed


def take_from_readers(connection: Connection, entry: Entry, command: str) -> Entry:
    """Return the entry, sealed and empty: the sessions of commands that read it are ended.

    They find that ``command`` has taken it. The lock of its source is held. Raises as ``need_sealed`` does.
    """
    entry = need_sealed(connection, entry)
    with server_errors(NOTHING_CHANGED):
        if is_taken(connection, entry.database.oid, Use.READ):
            say_who(connection, command)
            empty_sealed(connection, entry.database.oid, entry.name, NOTHING_CHANGED)
    return entry


def _seal_unless_taken(connection: Connection, entry: Entry) -> Entry | None:
    """Seal the entry and return it; None if another run has it open, or is sealing it."""
    if not take_entry(connection, entry.database.oid):
        return None
    with released_afterwards(connection, entry.database.oid):
        return seal(connection, entry)


@contextmanager
def released_afterwards(connection: Connection, oid: int) -> Iterator[None]:
    """Release the lock of an entry, which this session has, when the block ends."""
    try:
        yield
    finally:
        with suppress(*SERVER_ERRORS):  # it goes with the connection
            release_entry(connection, oid)


def open_elsewhere(entry: Entry) -> BusyError:
    who = f" ({entry.opened.describe()})" if entry.opened else ""
    if entry.opened is not None and entry.opened.reading is not None:
        return BusyError(
            f"{entry.name!r} is just being opened by {entry.opened.by}{who}.",
            state=NOTHING_CHANGED,
            hint="That takes a moment. Run the command again.",
        )
    return BusyError(
        f"{entry.name!r} is open in a snapkit shell{who}.",
        state=NOTHING_CHANGED,
        hint="Leave that shell (in psql: \\q), or end that process, and run the command again.",
    )


def seal_what_was_left(
    connection: Connection, inventory: Inventory, source: str
) -> tuple[tuple[Entry, ...], tuple[Caution, ...]]:
    """Seal the entries that killed commands have left open; return them, and a warning for each that cannot be sealed.

    The lock of the source is held. A lost connection is raised.
    """
    sealed: list[Entry] = []
    cautions: list[Caution] = []
    for entry in inventory.of_source(source):
        if entry.opened is None or entry.state not in (State.READY, State.ALTERED):
            continue
        try:
            with server_errors(""):
                now_sealed = _seal_unless_taken(connection, entry)
        except ConnectionFailedError:
            raise
        except SnapkitError as error:
            message = (
                f"{entry.name}, which an interrupted {entry.opened.by} has left open, could not be sealed: "
                f"{error.message}"
            )
            cautions.append(Caution("not_sealed", message))
        else:
            sealed += [now_sealed] if now_sealed is not None else []
            cautions += unconfirmed_sealing(connection, entry)
    return tuple(sealed), tuple(cautions)


def unconfirmed_sealing(connection: Connection, entry: Entry) -> tuple[Caution, ...]:
    return unconfirmed(f"the sealing of {entry.name!r}", take_unconfirmed(connection))


def sealed_caution(entry: Entry) -> Caution:
    return Caution("sealed", f"Sealed {entry.name}, which an interrupted run of snapkit had left open.")


@dataclass(frozen=True, slots=True)
class Staying:
    """The sessions of commands that only read, which stay inside an entry when it is sealed, by process ID.

    ``excused`` returns what autovacuum has written to the entry while it was open.
    """

    pids: frozenset[int] = frozenset()
    excused: Callable[[], Rows] = Rows


NOBODY = Staying()


def seal(connection: Connection, entry: Entry, staying: Staying = NOBODY) -> Entry:
    """Let nobody connect to an open entry, end the sessions inside, and restore it; the entry's lock is held.

    Who is ``staying`` is left inside.

    Its document says that it is open until the last transaction. So if this run dies, the next one seals it.
    """
    metadata, database = entry.metadata, entry.database
    assert metadata is not None and metadata.opened is not None  # noqa: S101 - the caller has looked
    state = f"{entry.name!r} is open to its owner {database.owner} only."
    with blockers_named(connection, state), committing_locally(connection):
        _shut(connection, entry, state)
    state = f"{entry.name!r} does not accept connections, but is not yet as it was."
    with blockers_named(connection, state):
        empty_sealed(connection, entry.database.oid, entry.name, state, staying.pids)
        return _restore(connection, entry, metadata, state, staying.excused)


def _shut(connection: Connection, entry: Entry, state: str) -> None:
    with transaction(connection):
        run(connection, statement_to_shut(entry.name))
        check_facts_found(facts_of_entry(entry), read_facts(connection, [entry.database.oid]), state, only={"comment"})


def _restore(
    connection: Connection, entry: Entry, metadata: Metadata, state: str, excused: Callable[[], Rows]
) -> Entry:
    opened = metadata.opened
    assert opened is not None  # noqa: S101 - see ``seal``
    oid, owner = entry.database.oid, entry.database.owner
    after = metadata.with_opened(None)
    if after.altered is None:
        after = after.with_altered(_what_was_done(connection, entry, opened, excused))
    document = comments.encode(after)
    check_can_be_given_back(connection, entry, opened.connect, state, "Run: snapkit recover,")
    with transaction(connection):
        _shut(connection, entry, state)
        wanted = named(opened.connect, role_names(connection, opened.connect))
        present = who_may_connect(connection, oid)
        run(
            connection,
            *statements_to_restore(entry.name, owner, present, wanted, read_only=opened.read_only, document=document),
        )
        run(connection, FreezeDatabase(entry.name))  # both of its rows are written here, and not behind a savepoint
        found = who_may_connect(connection, oid)
        if found != wanted:
            raise PrivilegeError(
                f"Your role may not restore who can connect to {entry.name!r}: {_listed(wanted - found)} would "
                f"be missing, {_listed(found - wanted)} would be too much.",
                state=state,
                hint="Run: snapkit recover, as a superuser.",
            )
        check_overwritten(connection, facts_of_entry(entry), state, only={"comment"})
    database = replace(entry.database, allow_connections=False, is_template=False, document=document)
    state = State.READY if after.altered is None else State.ALTERED
    return replace(entry, database=database, metadata=after, state=state, altered=after.altered)


def _what_was_done(connection: Connection, entry: Entry, opened: Opened, excused: Callable[[], Rows]) -> str | None:
    """Return how the entry was altered while it was open, now that nobody is inside; None if it was not."""
    prepared = sessions.prepared_transactions(connection, [entry.name]).get(entry.name, ())
    now = settled_counters(connection, entry.database.oid)
    from_first_use = counts_from_first_use(server_version(connection))
    return written_while_open(
        opened.counted, now, prepared, begins_at_first_use=from_first_use, by=opened.by, excused=excused()
    )


def _listed(items: frozenset[Privilege]) -> str:
    return ", ".join(f"{each.grantee or 'PUBLIC'} by {each.grantor}" for each in sorted(items)) or "nothing"
