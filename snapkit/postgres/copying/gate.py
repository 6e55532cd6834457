"""The gate: stop a CREATE DATABASE when its template is empty and locked, before it copies anything.

One transaction renames some other database to the new name, and stays open. ``CREATE DATABASE new TEMPLATE shop`` then
takes its lock on ``shop``, so that new connections wait. It waits until nobody is inside, inserts the new name into
pg_database, and has to wait there for that transaction, since names are unique. ROLLBACK lets it copy. If it is
cancelled instead, it leaves nothing behind. The transaction is never committed. So the renamed database keeps its name
whatever happens, and the gate opens by itself when its session ends. If all of that fails, CREATE DATABASE gives up
after ``LOCK_TIMEOUT``.

With or without a gate, one can see that a CREATE DATABASE has come so far: it gets a transaction ID when it has found
its template empty. Without a gate, it copies at once.
https://www.postgresql.org/docs/current/view-pg-locks.html
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import timedelta
from time import monotonic

import psycopg
from sqlalchemy import Text, and_, cast, column, func, or_, select
from sqlalchemy.exc import DBAPIError

from snapkit.core.copying.moment import Moment
from snapkit.core.inventory.database import Database
from snapkit.core.plans.identity import LOOK_AGAIN
from snapkit.core.plans.statements import RenameDatabase
from snapkit.core.values import dataclass
from snapkit.errors import BusyError, SnapkitError
from snapkit.postgres.catalog.databases import name_of
from snapkit.postgres.catalog.tables import PG_DATABASE_OID, catalog_table, pg_database
from snapkit.postgres.connection.driver import answers_within, driver_connection
from snapkit.postgres.connection.server import Connection, beside
from snapkit.postgres.connection.sqlstates import SERVER_ERRORS, is_connection_loss, server_errors
from snapkit.postgres.copying.moment import read_moment, versions_of
from snapkit.postgres.sql.entry_locks import is_in_use
from snapkit.postgres.sql.execution import limited, run

_TRIES = 3
"""How many databases are tried for the rename. What is in the way of one is mostly in the way of all."""
_SHUT_LIMIT = timedelta(milliseconds=300)
"""How long the rename may take. PostgreSQL ends an autovacuum worker inside within a tenth of a second."""
_LIMIT = timedelta(seconds=2)
"""How long an answer may take while clients wait."""
_EAGER_INTERVAL = 0.002
_EAGER = 0.25
"""Seconds in which the CREATE DATABASE arrives if it has to wait for nobody. Clients wait between two looks."""
_INTERVAL = 0.005

_locks = catalog_table(
    "pg_locks",
    column("locktype", Text),
    column("classid"),
    column("objid"),
    column("transactionid"),
    column("pid"),
    column("mode", Text),
    column("granted"),
)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A CREATE DATABASE that has found its template empty: the OID of the template, and its own transaction ID."""

    template: int
    transaction: str


def arrival_of(connection: Connection, pid: int) -> Arrival | None:
    """Return the CREATE DATABASE of the session ``pid`` if it has arrived; None before that, and after its end."""
    is_template = and_(_locks.c.locktype == "object", _locks.c.classid == PG_DATABASE_OID, _locks.c.mode == "ShareLock")
    is_own = and_(_locks.c.locktype == "transactionid", _locks.c.mode == "ExclusiveLock")
    rows = connection.execute(
        select(_locks.c.locktype, _locks.c.objid, cast(_locks.c.transactionid, Text)).where(
            _locks.c.pid == pid, _locks.c.granted, or_(is_template, is_own)
        )
    ).all()
    found = {locktype: (objid, transaction) for locktype, objid, transaction in rows}
    if found.keys() != {"object", "transactionid"}:
        return None
    return Arrival(found["object"][0], found["transactionid"][1])


def created_by(connection: Connection, name: str, transaction: str | None) -> int | None:
    """Return the OID of the database ``name``, made by the transaction ``xid`` if that is known; None if it is gone."""
    made = select(pg_database.c.oid).where(pg_database.c.datname == name)
    if transaction is not None:
        made = made.where(cast(column("xmin"), Text) == transaction)
    return connection.execute(made).scalar_one_or_none()


class Gate:
    """One gate. It is shut by the transaction of a session of its own."""

    def __init__(self, session: Connection) -> None:
        self.session = session
        self.is_shut = False
        self._driver = driver_connection(session)  # a session that is lost cannot be asked
        self.pid = self._driver.info.backend_pid
        self._transaction: AbstractContextManager[psycopg.Transaction] | None = None

    def shut(self, lenders: Iterable[Database], name: str) -> None:
        """Shut it for a CREATE DATABASE of ``name``, by renaming one of the ``lenders``: sealed databases of ours.

        One that is in use, or kept by a guard, is left alone. The gate stays open if none can be renamed at once.
        """
        for lender in list(lenders)[:_TRIES]:
            try:
                with answers_within(self.session, _LIMIT):
                    self._try(lender, name)
            except DBAPIError as error:
                self.open()
                if is_connection_loss(error):
                    return
            if self.is_shut:
                return

    def _try(self, lender: Database, name: str) -> None:
        if is_in_use(self.session, lender.oid) or name_of(self.session, lender.oid) != lender.name:
            return
        transaction = self._driver.transaction(force_rollback=True)
        transaction.__enter__()
        self._transaction = transaction
        with limited(self.session, _SHUT_LIMIT):
            run(self.session, RenameDatabase(lender.name, name))
        with limited(self.session, _LIMIT):  # for the questions that follow
            self.is_shut = name_of(self.session, lender.oid) == name
        if not self.is_shut:
            self.open()

    def open(self) -> None:
        """Open it: the CREATE DATABASE goes on. If the session of the gate does not answer, it is ended."""
        transaction, self._transaction, self.is_shut = self._transaction, None, False
        if transaction is None:
            return
        is_lost = self.session.invalidated
        with suppress(*SERVER_ERRORS), nullcontext() if is_lost else answers_within(self.session, _LIMIT):
            transaction.__exit__(None, None, None)
        if is_lost or self._driver.closed:
            with suppress(SnapkitError, *SERVER_ERRORS), beside(self.session) as another:
                _end_gate(another, self.pid)


def _end_gate(connection: Connection, pid: int) -> None:
    """End a session of ours whose connection is lost. It would hold its gate until the server notices."""
    holds = and_(_locks.c.classid == PG_DATABASE_OID, _locks.c.mode == "AccessExclusiveLock", _locks.c.pid == pid)
    connection.execute(select(func.pg_terminate_backend(_locks.c.pid)).where(holds, _locks.c.granted).limit(1)).all()


Check = Callable[[Moment], None]
"""Is given the moment that a clone would be of. Raises our error if the clone has to be given up."""


@contextmanager
def kept(gate: Gate, creator: Connection, before: Moment, check: Check, state: str) -> Iterator[GateKeeper]:
    """Run the block's CREATE DATABASE on ``creator`` while the gate is kept; see ``GateKeeper``."""
    keeper = GateKeeper(gate, creator, before, check, state)
    keeper.start()
    try:
        yield keeper
    finally:
        keeper.finish()


class GateKeeper:
    """Reads the template's properties when its CREATE DATABASE has arrived, and opens the gate. It has its own thread.

    Without a gate, the copy may be complete before they are read. Then ``moment`` is None, and the template has to be
    compared with ``before``. ``state`` is what errors say.
    """

    def __init__(self, gate: Gate, creator: Connection, before: Moment, check: Check, state: str) -> None:
        self.moment: Moment | None = None
        self.transaction: str | None = None
        """The transaction ID of the CREATE DATABASE, if it was seen."""
        self.refusal: SnapkitError | None = None
        """Why the CREATE DATABASE was cancelled, or its clone has to be dropped."""
        self._gate = gate
        self._creator = driver_connection(creator)
        self._pid = self._creator.info.backend_pid
        self._before = before
        self._check = check
        self._state = state
        self._finished = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def finish(self) -> None:
        """End the thread: the CREATE DATABASE has ended."""
        self._finished.set()
        self._thread.join(2 * _LIMIT.total_seconds())  # by then it can only be a lost connection

    def _keep(self) -> None:
        try:
            with answers_within(self._gate.session, _LIMIT), server_errors(self._state):
                self._watch()
        except Exception:  # there is nobody to raise to; without a moment, the template is compared afterwards
            self.moment = None
        finally:
            with suppress(Exception):  # after an interruption it is closed already
                self._gate.open()

    def _watch(self) -> None:
        arrival = self._await()
        if arrival is None:
            return
        self.transaction = arrival.transaction
        try:
            moment = self._read(arrival)
            if moment is not None:
                self._check(moment)
        except SnapkitError as refusal:
            self._refuse(refusal)
        else:
            self.moment = moment

    def _await(self) -> Arrival | None:
        eager_until = monotonic() + _EAGER
        while not self._finished.wait(_EAGER_INTERVAL if monotonic() < eager_until else _INTERVAL):
            arrival = arrival_of(self._gate.session, self._pid)
            if arrival is not None:
                return arrival
        return None

    def _read(self, arrival: Arrival) -> Moment | None:
        """Read the template's properties; None if the copy was complete before that."""
        session, before = self._gate.session, self._before
        if arrival.template != before.database.oid:
            raise another_database(before.database.name, self._state)
        moment = before
        if versions_of(session, before.database.oid) != before.versions:
            found = read_moment(session, before.database.oid, self._state)
            if found is None:
                raise another_database(before.database.name, self._state)
            moment = found
        if not self._gate.is_shut and arrival_of(session, self._pid) != arrival:
            return None
        return moment

    def _refuse(self, refusal: SnapkitError) -> None:
        """Cancel the CREATE DATABASE, and keep the gate shut until it has ended."""
        self.refusal = refusal
        self._creator.cancel_safe()
        self._finished.wait()


def another_database(name: str, state: str) -> BusyError:
    """Return the error for a template whose name belongs to another database now."""
    return BusyError(
        f"{name!r} is no longer the same database: it was renamed or replaced meanwhile.",
        state=state,
        hint=LOOK_AGAIN,
    )
