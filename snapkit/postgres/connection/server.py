"""Connections to a server: in autocommit mode, with safe settings."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, cast

import psycopg
from sqlalchemy import Connection, Engine, create_engine, func, select
from sqlalchemy.pool import NullPool

from snapkit.core.connection.endpoint import Place
from snapkit.core.connection.login_refusals import Attempt, Refusal
from snapkit.errors import NOTHING_CHANGED, ConnectionFailedError, UsageError
from snapkit.postgres.connection import dialect
from snapkit.postgres.connection.conninfo import Target
from snapkit.postgres.connection.driver import answers_within, driver_connection, open_connection
from snapkit.postgres.connection.login_refusals import refusal_error, why_refused
from snapkit.postgres.connection.safe_settings import (
    SAFE_IN_EVERY_VERSION,
    make_safe,
    milliseconds,
    set_settings,
    startup_options,
)
from snapkit.postgres.connection.spare_sessions import Handling, Reserve
from snapkit.postgres.connection.sqlstates import SERVER_ERRORS, server_errors

__all__ = ["Connection", "Server", "beside"]

_PING_LIMIT = timedelta(seconds=5)
"""How long a session that is kept ready may take to answer. After that it counts as lost."""

_PROBE_LIMIT = "2"
"""Seconds that ``probe`` waits for a connection."""


class Server:
    """The server that a target names, reached through its maintenance database.

    The working connection must not be inside the source database, which could then be neither cloned nor renamed.
    """

    def __init__(self, target: Target, maintenance_db: str | None = None) -> None:
        _check_names(target.source, maintenance_db)
        self.source = target.source
        self.place = target.whereabouts
        # Without it, a maintenance database in another encoding would answer in that encoding, or in bytes.
        self._parameters: dict[str, Any] = {**target.parameters, "client_encoding": "utf8"}
        self._asked_for = maintenance_db
        candidates = [maintenance_db] if maintenance_db else ["postgres", "template1"]
        self._maintenance_dbs = [name for name in candidates if name != target.source]
        self.is_named_by_service = target.is_named_by_service
        self._engine = _engine(self._open)

    @property
    def parameters(self) -> Mapping[str, Any]:
        """What libpq is given to connect with, a password too."""
        return self._parameters

    @property
    def works_from_template(self) -> bool:
        """Whether the maintenance database is template1, which CREATE DATABASE copies by default."""
        return self._maintenance_dbs == ["template1"]

    @contextmanager
    def enter(
        self, database: str, settings: Mapping[str, str], *, within: timedelta | None = None
    ) -> Iterator[Connection]:
        """Open a connection to a database of this server. ``settings`` hold from the start of the session.

        Close one to the source before a clone, which needs the source to be free of sessions.

        Raises ConnectionFailedError if the role may not connect, or if that takes longer than ``within``.
        """
        limit = {} if within is None else {"connect_timeout": str(int(within.total_seconds()))}
        engine = _engine(lambda: self._open_inside(database, **self._unfooled(settings), **limit))
        with _connected(engine) as connection:
            connection.info[_SERVER] = self
            yield connection

    @contextmanager
    def probe(self, database: str, limit: timedelta, settings: Mapping[str, str]) -> Iterator[Connection]:
        """Open a connection for a short look that a run can do without. It waits for no lock, and changes nothing.

        The block is a read-only transaction; ``limit`` is for each of its statements. ``settings`` hold from the start
        of the session, before a login trigger could fire. A row-level security policy, which is code of a table's
        owner, is an error instead of being run. Raises ConnectionFailedError, and what the server and the driver raise.
        """
        quiet = self._unfooled({**settings, "row_security": "off"})
        limits = {"statement_timeout": milliseconds(limit), "lock_timeout": milliseconds(limit / 4)}
        engine = _engine(lambda: self._open_inside(database, **quiet, connect_timeout=_PROBE_LIMIT))
        with (
            _connected(engine, settings=SAFE_IN_EVERY_VERSION | limits | {"row_security": "off"}) as connection,
            answers_within(connection, 2 * limit),
        ):
            driver = driver_connection(connection)
            driver.read_only = True
            with driver.transaction(force_rollback=True):  # pg_stat_database would count a commit
                yield connection

    def refusal(self, settings: Mapping[str, str]) -> str | None:
        """Start a session in the maintenance database with these settings, and return why the server refuses it.

        None if it does not. For a server that we have connected to before.
        """
        options = startup_options(self.given_options, settings)
        try:
            self._open_one(self._maintenance_dbs[0], options=options, connect_timeout=_PROBE_LIMIT).close()
        except psycopg.Error as error:
            return " ".join(str(error).split())
        return None

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """Open a connection to the maintenance database, or take one of the reserve.

        The first connection fixes the host and the database for all later ones. Raises ConnectionFailedError, whose
        state is that of a first connection.
        """
        with _connected(self._engine) as connection:
            yield connection

    @contextmanager
    def in_reserve(
        self, claim: Callable[[Connection], None], unclaim: Callable[[Connection], None]
    ) -> Iterator[Reserve]:
        """Keep sessions ready while the block runs. ``connect`` and ``beside`` take theirs from them.

        For ``claim`` and ``unclaim``, see ``Handling``. Raises SnapkitError if the first session cannot be opened or
        claimed.
        """

        def open_one() -> Connection:
            connection = self._engine.connect()
            try:
                refresh(connection)
            except BaseException:
                _close(connection)
                raise
            return connection

        def refresh(connection: Connection) -> None:
            with answers_within(connection, _PING_LIMIT), server_errors(NOTHING_CHANGED):
                make_safe(connection)

        def ping(connection: Connection) -> None:
            with answers_within(connection, _PING_LIMIT):
                connection.execute(select(func.pg_backend_pid()))

        reserve = Reserve(Handling(open_one, ping, refresh, _close, claim, unclaim))
        reserve.begin()
        _reserves[self._engine] = reserve
        try:
            yield reserve
        finally:
            del _reserves[self._engine]
            reserve.end()

    def _open(self) -> psycopg.Connection[Any]:
        first: tuple[Refusal, ConnectionFailedError] | None = None
        for dbname in self._maintenance_dbs:
            try:
                connection = self._open_one(dbname)
            except psycopg.Error as error:
                refused = self._refused(error, dbname, is_workplace=True)
                # That a default maintenance database is missing is not reported where another one is tried.
                if first is None or first[0] is Refusal.NO_DATABASE:
                    first = refused
                if not refused[0].is_of_database:
                    break
            else:
                self._stay_with(connection, dbname)
                return connection
        raise cast(tuple[Refusal, ConnectionFailedError], first)[1]

    def _open_inside(self, database: str, **more: str) -> psycopg.Connection[Any]:
        try:
            return self._open_one(database, **more)
        except psycopg.Error as error:
            raise self._refused(error, database, is_workplace=False)[1] from None

    def _refused(
        self, error: psycopg.Error, database: str, *, is_workplace: bool
    ) -> tuple[Refusal, ConnectionFailedError]:
        was_named = is_workplace and self._asked_for is not None
        tried = error.pgconn
        if tried is not None and tried.host and tried.user:  # as libpq has understood URL and environment
            self.place = Place(tried.host.decode(), tried.port.decode(), tried.user.decode())
        attempt = Attempt(str(self.place), self.place.role or "", database, is_workplace, was_named)
        refusal, said = why_refused(error, {**self._parameters, "dbname": database})
        return refusal, refusal_error(refusal, said, attempt, NOTHING_CHANGED)

    def _unfooled(self, settings: Mapping[str, str]) -> dict[str, str]:
        """Return start-up options under which the database's own search_path does not resolve our first call."""
        return {"options": startup_options(self.given_options, {**settings, "search_path": "pg_catalog"})}

    @property
    def given_options(self) -> str:
        """libpq's ``options`` that the user gave."""
        return self._parameters.get("options") or os.environ.get("PGOPTIONS", "")

    def _open_one(self, dbname: str, **more: str) -> psycopg.Connection[Any]:
        return open_connection({**self._parameters, **more, "dbname": dbname})

    def _stay_with(self, connection: psycopg.Connection[Any], dbname: str) -> None:
        """Stay with the host that was reached: another host of the URL, or of the DNS, is another server."""
        pgconn = connection.pgconn
        self._parameters |= {"host": pgconn.host.decode(), "port": pgconn.port.decode()}
        self.place = Place(pgconn.host.decode(), pgconn.port.decode(), pgconn.user.decode())
        self._parameters.pop("hostaddr", None)
        if pgconn.hostaddr:
            self._parameters["hostaddr"] = pgconn.hostaddr.decode()
        self._maintenance_dbs = [dbname]


def _check_names(source: str, maintenance_db: str | None) -> None:
    if source in ("template0", "template1"):
        raise UsageError(
            f"{source!r} is one of PostgreSQL's own template databases. snapkit does not back it up.",
            state=NOTHING_CHANGED,
            hint="Name the database of your application in the connection URL.",
        )
    if maintenance_db == source:
        raise UsageError(
            f"The maintenance database cannot be the source database {source!r} itself.",
            state=NOTHING_CHANGED,
            hint="Leave out --maintenance-db, or name another database.",
        )


def _engine(creator: Callable[[], psycopg.Connection[Any]]) -> Engine:
    return create_engine(
        dialect.URL,
        creator=creator,
        poolclass=NullPool,
        isolation_level="AUTOCOMMIT",
        use_native_hstore=False,
    )


_reserves: dict[Engine, Reserve] = {}
"""The sessions that are kept ready, by engine."""


@contextmanager
def beside(connection: Connection) -> Iterator[Connection]:
    """Open another connection to the database of this one, which is busy."""
    with _connected(connection.engine) as another:
        yield another


_SERVER = "snapkit.server"


@contextmanager
def another_to(connection: Connection) -> Iterator[Connection]:
    """Open another connection to the server of this one: to the maintenance database, if this one is inside another.

    The database that this one is inside may let nobody in by now.
    """
    server = connection.info.get(_SERVER)
    with server.connect() if isinstance(server, Server) else beside(connection) as another:
        yield another


@contextmanager
def _connected(engine: Engine, *, settings: Mapping[str, str] | None = None) -> Iterator[Connection]:
    """Open a connection and make it safe, or take one of the reserve. With ``settings``, just these are set."""
    reserve = _reserves.get(engine)
    ready = reserve.take() if reserve is not None else None
    if reserve is not None and ready is not None:
        try:
            yield ready
        finally:
            reserve.give_back(ready)
        return
    connection = engine.connect()
    try:
        with server_errors(NOTHING_CHANGED):
            if settings is None:
                make_safe(connection)
            else:
                set_settings(connection, settings)
        yield connection
    finally:
        _close(connection)


def _close(connection: Connection) -> None:
    with suppress(*SERVER_ERRORS):  # the server has closed it already
        try:
            connection.close()
        except SERVER_ERRORS:
            connection.invalidate()
