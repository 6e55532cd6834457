"""Where a run acts: what names the connection, and whether something else names another one.

Only libpq knows what a URL means. What is read here is read before the connection, to compare and to show it. Where it
is not clear, nothing is said.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import unquote

from snapkit.core.connection.connection_url import split_url
from snapkit.core.values import dataclass
from snapkit.errors import UsageError

_THIS_MACHINE = frozenset(("", "localhost", "127.0.0.1", "::1"))
_DEFAULT_PORT = "5432"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The hosts and ports (several are separated by commas), database and user that something names; None where it
    names none."""

    host: str | None
    port: str | None
    database: str | None
    user: str | None

    def __str__(self) -> str:
        return f"{self.database} at {self.host or 'localhost'}:{self.port or _DEFAULT_PORT}"

    @property
    def servers(self) -> frozenset[tuple[str, str]]:
        """The hosts with their ports, each in one spelling only."""
        hosts = ["localhost" if host in _THIS_MACHINE else host.lower() for host in (self.host or "").split(",")]
        ports = [port or _DEFAULT_PORT for port in (self.port or "").split(",")]
        return frozenset(zip(hosts, ports * len(hosts) if len(ports) == 1 else ports, strict=False))


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where a run acts, and what has named it. Before the connection this is as it was named, afterwards as it is."""

    host: str | None
    port: int | None
    """None where several are named, and none was reached yet."""
    database: str | None
    user: str | None
    named_by: str

    def __str__(self) -> str:
        port = f":{self.port}" if self.port is not None else ""
        user = f", as {self.user}" if self.user else ""
        return f"{self.host or 'localhost'}{port}, database {self.database}{user} ({self.named_by})"


def endpoint_of(url: str | None, variables: Mapping[str, str]) -> Endpoint | None:
    """Return what ``url`` names, completed by libpq's variables; without a URL, what the variables name.

    None if a service file names it, or if the URL is malformed.
    https://www.postgresql.org/docs/current/libpq-envars.html
    """
    given = _parts(url) if url is not None else {"dbname": variables.get("PGDATABASE")}
    if given is None or "service" in given or (url is None and variables.get("PGSERVICE")):
        return None
    host = given.get("host") or given.get("hostaddr") or variables.get("PGHOST") or variables.get("PGHOSTADDR")
    return Endpoint(
        host or None,
        given.get("port") or variables.get("PGPORT") or None,
        given.get("dbname") or None,
        given.get("user") or variables.get("PGUSER") or None,
    )


def is_malformed(url: str) -> bool:
    """Whether a URL cannot be taken apart, so that nobody can tell which of it is the password."""
    return _parts(url) is None


def _parts(url: str) -> Mapping[str, str | None] | None:
    """Return the parameters in ``url`` that say where it leads; None if it is malformed.

    A password with a "/" or a "?" that is not percent-encoded splits the URL in the wrong place: parts of the password
    look like a port, a database or a query. None of that must ever be shown.
    """
    try:
        parts = split_url(url)
    except UsageError:
        return None
    credentials, _, rest = parts.place.rpartition("@")
    place, _, database = rest.partition("/")
    hosts = [_host_and_port(each) for each in place.split(",")]
    ports = ",".join(port for _, port in hosts)
    if "@" in parts.query or not all(re.fullmatch("[0-9]{0,5}", port) for _, port in hosts):
        return None
    found: dict[str, str | None] = {
        "user": unquote(credentials.partition(":")[0]),
        "host": ",".join(unquote(host) for host, _ in hosts),
        "port": ports.strip(",") and ports,
        "dbname": unquote(database),
    }
    for piece in filter(None, parts.query.split("&")):
        name, _, value = piece.partition("=")
        found[unquote(name)] = unquote(value)
    return found


def _host_and_port(text: str) -> tuple[str, str]:
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        return host, port.removeprefix(":")
    host, _, port = text.partition(":")
    return host, port


def is_another(one: Endpoint | None, other: Endpoint | None, *, by_database_only: bool) -> bool:
    """Whether they are certainly not the same database of the same server. A pooler has another host anyway."""
    if one is None or other is None:
        return False
    if one.database != other.database:
        return None not in (one.database, other.database)
    return not by_database_only and one.servers != other.servers


@dataclass(frozen=True, slots=True)
class Place:
    """A server, and the role on it: as it was reached or, before that, as the settings name it.

    ``host`` is a directory for a Unix socket. ``role`` is None if nothing names one.
    """

    host: str
    port: str
    role: str | None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Address:
    """Where the server was reached; ``host`` is a directory for a Unix socket."""

    host: str
    port: int
    server_version: int
