"""How a user's command, or a client program, reaches a database of the server: by its environment.

Everybody on the machine can read a command line. Only the same user can read the environment of a process.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import quote

from psycopg import pq
from psycopg.conninfo import make_conninfo
from sqlalchemy import Connection

from snapkit.core.connection.connection_url import with_database
from snapkit.core.plans.opening import READ_ONLY
from snapkit.errors import NOTHING_CHANGED, UsageError
from snapkit.postgres.connection.conninfo import is_for_libpq
from snapkit.postgres.connection.driver import driver_connection
from snapkit.postgres.connection.safe_settings import CONVERSIONS, startup_options
from snapkit.postgres.connection.server import Server

URL_VARIABLES = ("DATABASE_URL", "DIRECT_URL")
"""Both are set, so that a program that prefers one of them does not go to the live database by the other."""

_NOT_HANDED_OVER = frozenset(("dbname", "service", "servicefile", "options", "password", "client_encoding"))
_NOT_FOR_PROGRAMS = frozenset(("dbname", "password", "client_encoding", "options"))
_SECRETS = frozenset(("sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key"))
_IN_A_URL = ("sslmode", "sslrootcert", "sslcert", "sslkey", "gssencmode")


def environment_for(
    connection: Connection, database: str, url: str | None, own: Mapping[str, str]
) -> Mapping[str, str | None]:
    """Return the variables that lead libpq's programs, and others, to ``database``; None takes a variable away.

    ``url`` is what the user gave for another database of this server. Without it, the URL is made from the parameters
    of ``connection``. ``own`` are those of ``URL_VARIABLES`` that the user has set: see ``_urls``. A service would take
    precedence over the other variables, so its contents are handed over instead. Transactions are read-only unless a
    session sets that otherwise.
    https://www.postgresql.org/docs/current/libpq-envars.html
    """
    connected = driver_connection(connection)
    options = {each.keyword.decode(): each for each in connected.pgconn.info}
    environment: dict[str, str | None] = {
        option.envvar.decode(): os.fsdecode(option.val)
        for keyword, option in options.items()
        if option.envvar and option.val and keyword not in _NOT_HANDED_OVER
    }
    given = options["options"].val
    # What a client asks for goes before settings of the role, which go before those of the database.
    asked = f"{os.fsdecode(given) if given else ''} -c {READ_ONLY}=on".strip()
    environment |= {"PGSERVICE": None, "PGDATABASE": database, "PGOPTIONS": asked}
    if connected.info.password:
        environment["PGPASSWORD"] = connected.info.password
    environment.update(_urls(connection, database, url, own))
    return environment


def environment_to_live(server: Server) -> Mapping[str, str | None]:
    """Return the variables that lead libpq's programs to the server's source; None takes a variable away.

    They replace what the user has set: a guarded command goes where the guard acts. A service that names this very
    connection stays, since it may hold the password.
    """
    given = server.parameters
    environment: dict[str, str | None] = {"PGDATABASE": server.source}
    variables = {each.keyword.decode(): each.envvar.decode() for each in pq.Conninfo.get_defaults() if each.envvar}
    for keyword, value in given.items():
        if keyword in variables and keyword not in _NOT_HANDED_OVER | {"connect_timeout"}:
            environment[variables[keyword]] = str(value)
    if "service" in given:
        return environment | {"PGSERVICE": str(given["service"])}
    if given.get("password"):
        environment["PGPASSWORD"] = str(given["password"])
    if server.is_named_by_service:
        return {"PGDATABASE": server.source}
    environment |= {"PGHOST": server.place.host, "PGPORT": server.place.port, "PGSERVICE": None}
    return environment | ({"PGUSER": server.place.role} if server.place.role else {})


def access_for_programs(server: Server, database: str, settings: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Return how a client program reaches a database of this server: its connection string, and its environment.

    ``settings`` are those of its session, besides CONVERSIONS. The password and the options that were given go by
    the environment, since everybody on the machine can read a command line. Raises UsageError for a secret that
    cannot go that way.
    """
    parameters = {key: value for key, value in server.parameters.items() if key not in _NOT_FOR_PROGRAMS}
    given = server.given_options
    has_service = "service" in parameters or "PGSERVICE" in os.environ
    secrets = sorted((_SECRETS & parameters.keys()) | ({"options"} if has_service and given else set()))
    if secrets:
        raise UsageError(
            f"The connection's {', '.join(secrets)} cannot be passed to a client program without others seeing it.",
            state=NOTHING_CHANGED,
            hint="Leave out --strategy online, or use a service file, or a key without a passphrase.",
        )
    options, password = startup_options(given, {**CONVERSIONS, **settings}), server.parameters.get("password")
    environment = {"PGPASSWORD": password} if password else {}
    if has_service:  # what that says goes before the environment
        parameters["options"] = options
    else:
        environment["PGOPTIONS"] = options
    return make_conninfo("", **{**parameters, "dbname": database}), environment


def _urls(connection: Connection, database: str, url: str | None, own: Mapping[str, str]) -> Mapping[str, str]:
    """Return the URLs. Each has the form that the user's own variable has, since a program may expect that form.

    libpq does not take a URL that names a driver (``postgresql+psycopg://``), or that has parameters of an ORM.
    """
    plain = with_database(url, database) if url and is_for_libpq(url) else _url_of(connection, database)
    urls = dict.fromkeys(URL_VARIABLES, plain)
    for variable, text in own.items():
        scheme, separator, _ = text.partition("://")
        if url and separator and (not is_for_libpq(text) or not is_for_libpq(url)):
            urls[variable] = scheme + separator + with_database(url, database).partition("://")[2]
    return urls


def _url_of(connection: Connection, database: str) -> str:
    connected = driver_connection(connection)
    info = connected.info
    words = quote(info.user, safe="") + (f":{quote(info.password, safe='')}" if info.password else "")
    query: list[str] = []
    if info.host.startswith("/"):
        place = ""
        query = [f"host={quote(info.host, safe='/')}", f"port={info.port}"]
    else:
        place = (f"[{info.host}]" if ":" in info.host else info.host) + f":{info.port}"
    for option in connected.pgconn.info:
        keyword = option.keyword.decode()
        if keyword in _IN_A_URL and option.val and option.val != option.compiled:
            query.append(f"{keyword}={quote(os.fsdecode(option.val), safe='')}")
    return f"postgresql://{words}@{place}/{quote(database, safe='')}" + (f"?{'&'.join(query)}" if query else "")
