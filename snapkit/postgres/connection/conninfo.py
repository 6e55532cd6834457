"""libpq's parameters, from a URL and the environment. libpq itself parses and checks them."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import field
from urllib.parse import unquote

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from snapkit.core.connection.connection_url import NOTHING_TOUCHED, malformed_url, no_database, split_url
from snapkit.core.connection.endpoint import Place
from snapkit.core.reporting import Caution
from snapkit.core.values import dataclass
from snapkit.errors import UsageError

FOREIGN_PARAMETERS = frozenset(
    (
        "schema",
        "pgbouncer",
        "connection_limit",
        "pool_timeout",
        "pool_size",
        "max_overflow",
        "pool_recycle",
        "pool_pre_ping",
        "socket_timeout",
        "statement_cache_size",
        "prepared_statement_cache_size",
        "prepared_statement_name_func",
        "prepare_threshold",
        "server_settings",
        "command_timeout",
        "prepared_statements",
        "statement_timeout",
        "pool",
        "pool_max_conns",
        "pool_min_conns",
        "encoding",
        "reaping_frequency",
        "checkout_timeout",
        "conn_max_age",
        "conn_health_checks",
        "currentSchema",
        "ApplicationName",
        "search_path",
        "uselibpqcompat",
    )
)
"""Parameters that ORMs, drivers and poolers put into a URL for themselves. They say nothing about how to reach the
server, so they are ignored without a warning. Any other parameter that libpq does not know is ignored with one."""

_PLAIN_WORD = re.compile(r"[\w.-]{1,40}", re.ASCII)
_SSL_MODES = frozenset(("disable", "allow", "prefer", "require", "verify-ca", "verify-full"))
_NOWHERE = "/nonexistent-snapkit-option-check"
_KEEPALIVE = {
    "keepalives": "1",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "6",
    "connect_timeout": "10",
}
"""A clone of a large database may send nothing for hours. Keepalives hold the path open, and notice when it is dead."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect: libpq's parameters without the database, and the database that is to be backed up."""

    source: str
    parameters: Mapping[str, str] = field(repr=False)  # they may hold a password
    cautions: tuple[Caution, ...] = ()
    is_named_by_service: bool = False
    """Whether PGSERVICE names the server, and nothing that takes precedence over it does."""

    @property
    def place(self) -> str:
        """The host and the port, as far as the URL or the environment says."""
        return str(self.whereabouts)

    @property
    def whereabouts(self) -> Place:
        """The host, the port and the role."""
        named = self.parameters
        host = named.get("host") or named.get("hostaddr") or os.environ.get("PGHOST") or named.get("service")
        port = named.get("port") or os.environ.get("PGPORT") or "5432"
        return Place(host or "localhost", port, named.get("user") or os.environ.get("PGUSER"))


def target_of_replica(url: str, source: str) -> Target:
    """Return the target for a standby of the source's server. The database is ``source``, whatever ``url`` names."""
    return _of_one_host(target_of(url, source), "--replica-url")


def target_of_console(url: str) -> Target:
    """Return the target for the admin console of a PgBouncer. Its database is ``pgbouncer`` unless the URL names one.

    PGHOST, PGUSER and the like complete the URL, PGDATABASE does not.
    """
    database = parse_url(url)[0].get("dbname") or "pgbouncer"
    return _of_one_host(target_of(url, database), "--pgbouncer-url")


def _of_one_host(target: Target, option: str) -> Target:
    """Return the target. Raise UsageError if it names several hosts: each of them needs a URL of its own."""
    if "," in target.parameters.get("host", "") + target.parameters.get("hostaddr", ""):
        raise UsageError(
            "The URL names several hosts, and only one of them would be reached.",
            state=NOTHING_TOUCHED,
            hint=f"Give {option} once for each of them.",
        )
    return target


def target_of(url: str | None, source: str | None = None) -> Target:
    """Return the target that ``url`` names. Without a URL, libpq's environment names it.

    ``source`` is the database, where that is known already.

    Raises UsageError for a URL that is malformed or names no database, and for options that libpq refuses. The
    messages never repeat the URL, which may hold a password.
    https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING
    """
    given, cautions = ({}, ()) if url is None else parse_url(url)
    effective = _ask_libpq(given)
    # PGDATABASE does not complete a URL: a URL that was cut short must not lead to another database.
    may_complete = url is None or "service" in given
    source = source or given.get("dbname") or (effective.get("dbname") if may_complete else None)
    if not source:
        raise no_database(url)
    parameters = {key: value for key, value in given.items() if key != "dbname"}
    defaults = {key: value for key, value in _KEEPALIVE.items() if key not in effective}
    by_service = url is None and bool(os.environ.get("PGSERVICE"))
    return Target(source, {**defaults, "fallback_application_name": "snapkit", **parameters}, cautions, by_service)


def parse_url(url: str) -> tuple[dict[str, str], tuple[Caution, ...]]:
    """Return libpq's parameters in ``url``, and warnings of what was ignored. Raise UsageError for a malformed URL."""
    parts = split_url(url)
    kept, cautions = _sort_query(parts.query)
    try:
        parsed = conninfo_to_dict("postgresql://" + parts.place + ("?" + "&".join(kept) if kept else ""))
    except (psycopg.Error, UnicodeError):
        raise malformed_url() from None
    parameters = {key: str(value) for key, value in parsed.items() if value is not None}
    _check_ports(parameters.get("port", ""))
    return parameters, cautions


def _check_ports(ports: str) -> None:
    for port in filter(None, ports.split(",")):
        if not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535):
            raise malformed_url()


def _sort_query(query: str) -> tuple[list[str], tuple[Caution, ...]]:
    """Split a query into the pieces that are for libpq, and a warning for each other piece that may matter."""
    known = libpq_keywords()
    kept: list[str] = []
    cautions: list[Caution] = []
    pieces = [(unquote(piece.partition("=")[0]), piece) for piece in query.split("&") if piece]
    for name, piece in pieces:
        if "@" in name:
            raise malformed_url()  # a password that holds a "?" would be taken for a query
        if name in known:
            kept.append(piece)
        elif name == "ssl":
            if "sslmode" not in dict(pieces):
                kept.append("sslmode=" + _ssl_mode(unquote(piece.partition("=")[2])))
        elif name not in FOREIGN_PARAMETERS:
            shown = repr(name) if _PLAIN_WORD.fullmatch(name) else "with an unusual name"
            cautions.append(
                Caution(
                    "ignored_parameter",
                    f"libpq does not know the URL's parameter {shown}; it was ignored.",
                )
            )
    return kept, tuple(cautions)


def _ssl_mode(value: str) -> str:
    """Return libpq's word for what ``ssl=`` of other drivers (JDBC, asyncpg) asks for."""
    if value in _SSL_MODES:
        return value
    if value.lower() in ("true", "1"):
        return "require"
    if value.lower() in ("false", "0"):
        return "disable"
    raise UsageError(
        "The URL's parameter ssl has a value that cannot be understood.",
        state=NOTHING_TOUCHED,
        hint="Write sslmode=disable, prefer, require, verify-ca or verify-full.",
    )


def is_for_libpq(url: str) -> bool:
    """Whether libpq takes a URL as it is: it names no driver, and has no parameters of other programs."""
    scheme, _, rest = url.partition("://")
    names = (unquote(piece.partition("=")[0]) for piece in rest.partition("?")[2].split("&") if piece)
    return scheme in ("postgresql", "postgres") and set(names) <= set(libpq_keywords())


def libpq_keywords() -> Collection[str]:
    """Return the names of the parameters that this libpq knows."""
    return {option.keyword.decode() for option in pq.Conninfo.get_defaults()}


_REPLACED = ("host", "hostaddr", "port", "user", "gssencmode")
"""What the probe below has values of its own for; encryption by GSSAPI cannot be had on a socket."""


def _ask_libpq(parameters: Mapping[str, str]) -> dict[str, str]:
    """Return the parameters as libpq completes them from its environment and service file.

    libpq completes them only when it connects. So it is told to connect to a socket that does not exist, which it
    tries last, after it has read and checked all else. The database that libpq would choose by itself, the user's
    name, is left out.
    """
    no_user = "snapkit-no-such-user"
    probe = {key: value for key, value in parameters.items() if key not in _REPLACED}
    connection = pq.PGconn.connect_start(
        make_conninfo("", **probe, host=_NOWHERE, hostaddr="", port="", user=no_user, gssencmode="disable").encode()
    )
    completed = {option.keyword.decode(): os.fsdecode(option.val) for option in connection.info if option.val}
    problem = connection.get_error_message().strip()
    connection.finish()
    if problem and _NOWHERE not in problem:
        raise UsageError(f"libpq refuses the connection's options: {problem}", state=NOTHING_TOUCHED)
    if completed.get("dbname") == no_user:
        del completed["dbname"]
    return {key: value for key, value in completed.items() if key not in _REPLACED}
