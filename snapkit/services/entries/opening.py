"""Open an entry to its owner, so that a command can look into it; and seal it again afterwards."""

from __future__ import annotations

import os
from datetime import timedelta
from time import sleep

from snapkit.core.inventory import metadata as comments
from snapkit.core.inventory.database import Database
from snapkit.core.inventory.entry import Entry, check_usable
from snapkit.core.inventory.kinds import State
from snapkit.core.inventory.opened import Opened
from snapkit.core.inventory.recognition import Inventory
from snapkit.core.plans.opening import READ_ONLY, privileges_when_open, statements_to_open
from snapkit.core.plans.statements import CommentOnDatabase
from snapkit.core.reporting import Caution, Observe
from snapkit.core.values import dataclass
from snapkit.errors import NOTHING_CHANGED, BusyError, ConnectionFailedError, SnapkitError
from snapkit.postgres.catalog import databases, server_facts
from snapkit.postgres.connection.driver import driver_connection
from snapkit.postgres.connection.server import Connection, Server
from snapkit.postgres.connection.sqlstates import server_errors
from snapkit.postgres.probe.write_counters import settled_counters
from snapkit.postgres.sql.ddl import quote_name, sql_text
from snapkit.postgres.sql.entry_locks import connect_grants, end_holder, take_entry
from snapkit.postgres.sql.execution import commit, run
from snapkit.postgres.sql.identity import check_overwritten
from snapkit.processes.caller import host_name, login_name
from snapkit.processes.deadline import Deadline
from snapkit.services.entries.seal import (
    NOBODY,
    Staying,
    check_can_be_given_back,
    facts_of_entry,
    open_elsewhere,
    released_afterwards,
    seal,
    unconfirmed_sealing,
    who_may_connect,
)
from snapkit.services.run.commit_outcome import went_through
from snapkit.services.run.interruption import InterruptionState
from snapkit.services.run.preconditions import blockers_named, check_rights
from snapkit.services.run.standby_confirmation import telling, unconfirmed
from snapkit.services.run.survey import gather

PATIENCE = timedelta(seconds=20)
"""How long a server that cannot be reached at the end, since it is starting anew say, is asked again."""

_PAUSE = 0.2


def check_openable(entry: Entry) -> None:
    """Raise UsageError if the entry cannot be opened. An altered one can: you may want to see what is in it."""
    if entry.state is not State.ALTERED:
        check_usable(entry)


def open_to_owner(server: Server, connection: Connection, entry: Entry, observe: Observe) -> tuple[Caution, ...]:
    """Open an entry to its owner, until the next run that changes something seals it; the lock of its source is held.

    Raises BusyError if a shell has it open, and PrivilegeError if this role could not restore its privileges.
    """
    oid = entry.database.oid
    with server_errors(NOTHING_CHANGED):
        check_rights(connection, entry.database, createdb=False)
        if not take_entry(connection, oid):
            raise open_elsewhere(entry)
        with released_afterwards(connection, oid):
            document = opened_by_us(entry, noted_before_opening(connection, entry)).document
            return open_entry(
                server, connection, entry, document, standing=InterruptionState(NOTHING_CHANGED), observe=observe
            )


@dataclass(frozen=True, slots=True)
class OpenedByUs:
    """An entry that this run has opened. Another run may have sealed it since, and opened it for itself."""

    oid: int
    name: str
    opened: Opened
    document: str
    """What its comment says while it is open."""
    was_open: bool = False
    """Whether it is known to have been open."""


def opened_by_us(entry: Entry, opened: Opened) -> OpenedByUs:
    assert entry.metadata is not None  # noqa: S101 - ``check_openable`` has seen to it
    # That it was altered showed by its seal, perhaps, which is another one afterwards.
    document = comments.encode(entry.metadata.with_opened(opened).with_altered(entry.altered))
    return OpenedByUs(entry.database.oid, entry.name, opened, document)


def noted_before_opening(connection: Connection, entry: Entry, reading: str | None = None) -> Opened:
    """Return what the document notes before an entry is opened; raise if this role could not restore that.

    ``reading`` is the command that only reads it, if it is one.
    """
    oid = entry.database.oid
    connect = connect_grants(connection, oid)
    check_can_be_given_back(connection, entry, connect, NOTHING_CHANGED, "Run the command")
    settings = databases.read_properties(connection, oid).settings
    read_only = next((each.value for each in settings if (each.role, each.parameter) == ("", READ_ONLY)), None)
    return Opened(
        at=server_facts.server_facts(connection).now.replace(microsecond=0),
        user=login_name() or f"uid {os.getuid()}",
        host=host_name() or "a machine without a name",
        pid=os.getpid(),
        connect=connect,
        read_only=read_only,
        counted=settled_counters(connection, oid),
        reading=reading,
    )


def open_entry(
    server: Server,
    connection: Connection,
    entry: Entry,
    document: str,
    *,
    standing: InterruptionState,
    observe: Observe,
) -> tuple[Caution, ...]:
    """Open the entry, and return when it is open. If Ctrl-C comes, it is raised: the entry is then to be sealed."""
    opening = f"the opening of {entry.name!r}"
    oid, owner = entry.database.oid, entry.database.owner

    def work() -> None:
        present = who_may_connect(connection, oid)
        run(connection, *statements_to_open(entry.name, owner, present, document))
        check_overwritten(connection, facts_of_entry(entry))
        found = who_may_connect(connection, oid)
        if found != privileges_when_open(owner):
            raise SnapkitError(
                f"If {entry.name!r} were opened, others than {owner} could connect: "
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


# --- afterwards -----------------------------------------------------------------------------------------------------


Sealed = tuple[list[Entry], tuple[Caution, ...]]
"""The entry as it is once it is sealed, nothing if it is gone; and what is to be said of the sealing."""


def seal_again(server: Server, keeper: Connection, ours: OpenedByUs, staying: Staying = NOBODY) -> Sealed:
    """Seal what this run has opened, unless another run has. If the server cannot be reached, try again for a while.

    Who is ``staying`` is left inside.
    """
    deadline = Deadline(PATIENCE)
    lost_pid = driver_connection(keeper).info.backend_pid
    try:
        with server_errors(""):
            return _seal_if_ours(server, keeper, ours, staying)
    except SnapkitError as error:
        if not isinstance(error, ConnectionFailedError):
            raise _still_open(error) from error
    while True:
        try:
            with server.connect() as connection, server_errors(""):
                end_holder(connection, ours.oid, lost_pid)
                if _found(server, connection, ours) is None:
                    return _seal_if_ours(server, connection, ours, staying)
                if take_entry(connection, ours.oid):  # else another run seals it, or our session is about to end
                    return _seal_if_ours(server, connection, ours, staying)
                problem = SnapkitError("Another session holds its lock.")
        except SnapkitError as error:
            if not isinstance(error, ConnectionFailedError):
                raise _still_open(error) from error
            problem = error
        if deadline.is_over:
            raise _still_open(problem)
        sleep(_PAUSE)


def _seal_if_ours(server: Server, connection: Connection, ours: OpenedByUs, staying: Staying) -> Sealed:
    """Return the entry as it is sealed, by this run or by another."""
    entry = _found(server, connection, ours)
    if entry is not None:
        return [seal(connection, entry, staying)], unconfirmed_sealing(connection, entry)
    return _present(gather(connection, server.source).inventory, ours.oid), ()


def _found(server: Server, connection: Connection, ours: OpenedByUs) -> Entry | None:
    """Return the entry if it is still as this run opened it, whatever its name; None if another run has sealed it.

    Raises _NotSealedError if somebody has changed its comment: then it is left alone.
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
    """An entry that was open stays unsealed, since somebody else has changed it; the error says it all."""


def _changed_while_open(database: Database | None, ours: OpenedByUs, source: str) -> _NotSealedError:
    if database is None:
        return _NotSealedError(
            f"Somebody dropped {ours.name!r} while it was open.",
            state="There is nothing left to seal.",
            hint="See what there is: snapkit list",
        )
    name, read_only = quote_name(database.name), f"ALTER DATABASE {quote_name(database.name)} RESET {READ_ONLY};"
    if database.name == source:
        return _NotSealedError(
            f"Somebody made {ours.name!r} the live database {source!r} while it was open.",
            state="snapkit left it alone: only its owner can connect, and sessions in it are read-only by default.",
            hint=f"To make it as it was: {read_only} GRANT CONNECT ON DATABASE {name} TO PUBLIC; (or to some roles)",
        )
    still = "still accepts connections of its owner" if database.allow_connections else "does not accept connections"
    return _NotSealedError(
        f"{database.name!r} was not sealed again: somebody changed its comment while it was open, and snapkit "
        "recognises it by its comment.",
        state=f"It {still}.",
        hint="To seal it: snapkit recover, after: " + sql_text(CommentOnDatabase(database.name, ours.document)) + ";",
    )


def _still_open(error: SnapkitError) -> SnapkitError:
    """Say of an entry that could not be sealed that the next run seals it, and what to type to have it done now."""
    if isinstance(error, _NotSealedError):
        return error
    kind = type(error)
    return kind(
        f"The entry could not be sealed again: {error.message}",
        state=error.state or "It may still be open to its owner, but to nobody else.",
        hint="The next command that changes something seals it. To seal it now: snapkit recover",
    )
