"""Connections to a server's maintenance database: in autocommit mode, and safe from settings that would bite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, cast

import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from sqlalchemy import (
    Connection,
    Engine,
    Text,
    case,
    column,
    create_engine,
    false,
    func,
    select,
    table,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from snapkit.errors import ConnectionFailedError, SnapkitError, UsageError
from snapkit.postgres.conninfo import Target
from snapkit.postgres.errors import server_errors

__all__ = ["LOCK_TIMEOUT", "Connection", "Server", "driver_connection"]

NOTHING_CHANGED = "Nothing was changed."

LOCK_TIMEOUT = timedelta(seconds=5)
"""How long a statement of ours waits for a lock: somebody else's open ALTER or GRANT on the database, say. PostgreSQL
sets no limit, and clients queue behind us."""

_SAFE_SETTINGS = {
    "lock_timeout": f"{LOCK_TIMEOUT // timedelta(milliseconds=1)}ms",
    # The role or the database may set any of these, and each would cut a long clone off.
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "transaction_timeout": "0",
    # A role may be read-only by default, or acknowledge a COMMIT before it is safe on disk.
    "default_transaction_read_only": "off",
    "synchronous_commit": "on",
    # Nothing of ours may resolve to somebody's own function or operator.
    "search_path": "pg_catalog",
    "standard_conforming_strings": "on",
    "client_min_messages": "warning",
}


class _LenientText(Loader):
    """Reads text that may not be UTF-8.

    The names and comments of all databases stand in shared catalogs, each in the encoding of the database from which
    it was written; one that cannot be read must not keep the others from being read.
    """

    def load(self, data: Buffer) -> str:
        return bytes(data).decode("utf-8", errors="replace")


class Server:
    """The server that a target names, reached through its maintenance database.

    The working connection must not be inside the source database, which could then be neither cloned nor renamed.
    """

    def __init__(self, target: Target, maintenance_db: str | None = None) -> None:
        if target.source in ("template0", "template1"):
            raise UsageError(
                f"{target.source!r} is one of PostgreSQL's own template databases; it is not to be backed up.",
                state=NOTHING_CHANGED,
                hint="Name the database of your application in the connection URL.",
            )
        if maintenance_db == target.source:
            raise UsageError(
                f"The maintenance database cannot be the source database {target.source!r} itself.",
                state=NOTHING_CHANGED,
                hint="Leave --maintenance-db out, or name another database.",
            )
        self.source = target.source
        # Without it, a maintenance database in another encoding would answer in that, or in bytes.
        self._parameters: dict[str, Any] = {**target.parameters, "client_encoding": "utf8"}
        candidates = [maintenance_db] if maintenance_db else ["postgres", "template1"]
        self._maintenance_dbs = [name for name in candidates if name != target.source]
        self._engine = _engine(self._open)

    @contextmanager
    def look_into_source(self) -> Iterator[Connection]:
        """Open a connection to the source database itself, to read from it.

        Raises ConnectionFailedError where the role may not. It is for a look: it would be in a clone's way.
        """
        engine = _engine(lambda: self._open_one(self.source))
        with _connected(engine) as connection:
            yield connection

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """Open a connection. The second and later ones go to the very host and database that the first one reached.

        Raises ConnectionFailedError; the state it gives holds for a first connection.
        """
        with _connected(self._engine) as connection:
            yield connection

    def _open(self) -> psycopg.Connection[Any]:
        first_error: psycopg.Error | None = None
        for dbname in self._maintenance_dbs:
            try:
                connection = self._open_one(dbname)
            except psycopg.ProgrammingError as error:
                raise UsageError(f"The connection's options are wrong: {error}", state=NOTHING_CHANGED) from error
            except psycopg.errors.ConnectionTimeout:
                raise
            except psycopg.Error as error:
                first_error = first_error or error
            else:
                self._stay_with(connection, dbname)
                return connection
        raise cast(psycopg.Error, first_error)

    def _open_one(self, dbname: str) -> psycopg.Connection[Any]:
        # Prepared statements are of no use here, and a pooler in between could not follow them.
        connection = psycopg.connect(**self._parameters, dbname=dbname, prepare_threshold=None)
        for kind in ("text", "varchar", "name"):
            connection.adapters.register_loader(kind, _LenientText)
        return connection

    def _stay_with(self, connection: psycopg.Connection[Any], dbname: str) -> None:
        """Pin the host that was reached: of several in the URL or in the DNS, another one is another server."""
        pgconn = connection.pgconn
        self._parameters |= {"host": pgconn.host.decode(), "port": pgconn.port.decode()}
        self._parameters.pop("hostaddr", None)
        if pgconn.hostaddr:
            self._parameters["hostaddr"] = pgconn.hostaddr.decode()
        self._maintenance_dbs = [dbname]


def _engine(creator: Callable[[], psycopg.Connection[Any]]) -> Engine:
    return create_engine(
        "postgresql+psycopg://",
        creator=creator,
        poolclass=NullPool,
        isolation_level="AUTOCOMMIT",
        use_native_hstore=False,
    )


@contextmanager
def _connected(engine: Engine) -> Iterator[Connection]:
    try:
        connection = engine.connect()
    except DBAPIError as error:  # SQLAlchemy wraps what psycopg raises
        raise _refused(error) from error
    try:
        with server_errors(NOTHING_CHANGED):
            _make_safe(connection)
        yield connection
    finally:
        _close(connection)


def driver_connection(connection: Connection) -> psycopg.Connection[Any]:
    """Return psycopg's own connection, for what SQLAlchemy has no word for: transactions, cancelling, libpq's facts."""
    return cast("psycopg.Connection[Any]", connection.connection.driver_connection)


def _refused(error: DBAPIError) -> SnapkitError:
    pgconn = error.orig.pgconn if isinstance(error.orig, psycopg.Error) else None
    hint = "Check host, port and user in the connection URL, and that the server runs and lets you in (pg_hba.conf)."
    if pgconn is not None and pgconn.needs_password:
        hint = "Give a password: in the URL, in PGPASSWORD or in ~/.pgpass."
    elif pgconn is not None and pgconn.used_password:
        hint = "Check user, password (in the URL, PGPASSWORD or ~/.pgpass) and database."
    return ConnectionFailedError(" ".join(str(error.orig).split()), state=NOTHING_CHANGED, hint=hint)


def _make_safe(connection: Connection) -> None:
    setting = table("pg_settings", column("name", Text), schema="pg_catalog")
    value = case(_SAFE_SETTINGS, value=setting.c.name)
    connection.execute(
        select(func.set_config(setting.c.name, value, false())).where(setting.c.name.in_(_SAFE_SETTINGS))
    )


def _close(connection: Connection) -> None:
    try:
        connection.close()
    except DBAPIError:
        connection.invalidate()  # the server hung up; there is nothing left to close
