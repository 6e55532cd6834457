"""How a command of the user's reaches a database of the server: by its environment, which others cannot read.

A command line is everybody's to read; the environment of a process only its user's own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import quote

from sqlalchemy import Connection

from snapkit.core.connection_url import with_database
from snapkit.core.opening import READ_ONLY
from snapkit.postgres.server import driver_connection

URL_VARIABLES = ("DATABASE_URL", "DIRECT_URL")
"""Both, so that a program which prefers the other does not go to the live database."""

_NOT_HANDED_OVER = frozenset(("dbname", "service", "servicefile", "options", "password", "client_encoding"))
_IN_A_URL = ("sslmode", "sslrootcert", "sslcert", "sslkey", "gssencmode")


def environment_for(connection: Connection, database: str, url: str | None) -> Mapping[str, str | None]:
    """Return the variables that lead libpq's programs, and others, to ``database``; None takes a variable away.

    ``url`` is what the user gave for another database of this server; without one it is made of what ``connection`` was
    made with. A service would go before the other variables, so all that it says is handed over instead. Transactions
    are read-only unless a session sets that otherwise.
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
    named = with_database(url, database) if url else _url_of(connection, database)
    return environment | dict.fromkeys(URL_VARIABLES, named)


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
