"""Why a server refuses a login. libpq gives no SQLSTATE for that, so its text is read.

The server's own text may be in another language (``lc_messages``). If a SQLSTATE could be had, it is used instead.
Anything else is ``UNKNOWN``, and the server's words are shown as they are.
https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum

from snapkit.core.values import dataclass


class Refusal(StrEnum):
    """What keeps a session out."""

    SLOTS = "slots"
    RESERVED_SLOTS = "reserved slots"
    ROLE_LIMIT = "role limit"
    DATABASE_LIMIT = "database limit"
    SOME_LIMIT = "some limit"
    STARTING = "starting"
    STOPPING = "stopping"
    RECOVERING = "recovering"
    NOT_YET = "not yet"
    NO_PASSWORD = "no password"  # noqa: S105 - the name of a reason
    WRONG_PASSWORD = "wrong password"  # noqa: S105
    LOGIN = "login"
    NO_ROLE = "no role"
    MAY_NOT_LOG_IN = "may not log in"
    NO_DATABASE = "no database"
    NO_CONNECT = "no connect"
    CLOSED_DATABASE = "closed database"
    INVALID_DATABASE = "invalid database"
    NO_SSL = "no ssl"
    CERTIFICATE = "certificate"
    HOST_UNKNOWN = "host unknown"
    PORT_CLOSED = "port closed"
    NO_SOCKET = "no socket"
    SHUT_SOCKET = "shut socket"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    NOT_POSTGRESQL = "not postgresql"
    HBA = "hba"
    HUNG_UP = "hung up"
    UNKNOWN = "unknown"

    @property
    def is_passing(self) -> bool:
        """Whether this may change within moments, although nobody does anything about it."""
        return self in _PASSING

    @property
    def is_of_database(self) -> bool:
        """Whether another database of the same server may accept the session."""
        return self in _OF_DATABASE


_PASSING = frozenset(
    (
        Refusal.SLOTS,
        Refusal.RESERVED_SLOTS,
        Refusal.ROLE_LIMIT,
        Refusal.DATABASE_LIMIT,
        Refusal.SOME_LIMIT,
        Refusal.STARTING,
        Refusal.STOPPING,
        Refusal.RECOVERING,
        Refusal.NOT_YET,
        Refusal.PORT_CLOSED,  # while the server restarts
        Refusal.NO_SOCKET,  # likewise
        Refusal.UNREACHABLE,
        Refusal.TIMEOUT,
        Refusal.HUNG_UP,
    )
)
_OF_DATABASE = frozenset(
    (
        Refusal.DATABASE_LIMIT,
        Refusal.SOME_LIMIT,
        Refusal.NO_DATABASE,
        Refusal.NO_CONNECT,
        Refusal.CLOSED_DATABASE,
        Refusal.INVALID_DATABASE,
        Refusal.HBA,
        Refusal.UNKNOWN,
    )
)

_TEXTS: Mapping[Refusal, str] = {
    # What is said of the login itself comes first: with sslmode=prefer libpq tries again without SSL, and of several
    # hosts it tries each; what is said of those attempts stands beside it.
    Refusal.SLOTS: r"^sorry, too many clients already|^no more connections allowed",
    Refusal.RESERVED_SLOTS: r"^remaining connection slots are reserved",
    Refusal.ROLE_LIMIT: r"^too many connections for role",
    Refusal.DATABASE_LIMIT: r"^too many connections for database",
    Refusal.STARTING: r"^the database system is starting up",
    Refusal.STOPPING: r"^the database system is shutting down",
    Refusal.RECOVERING: r"^the database system is in recovery mode",
    Refusal.NOT_YET: r"^the database system is not (?:yet )?accepting connections",
    Refusal.NO_PASSWORD: r"no password supplied$|^empty password returned by client",
    Refusal.WRONG_PASSWORD: r"^password authentication failed",
    Refusal.MAY_NOT_LOG_IN: r"^role .* is not permitted to log in",
    Refusal.NO_ROLE: r"^role .* does not exist|^no such user",
    Refusal.LOGIN: r"^\w+ authentication failed|^authentication method requirement|^channel binding",
    Refusal.INVALID_DATABASE: r"^cannot connect to invalid database",
    Refusal.CLOSED_DATABASE: r"^database .* is not currently accepting connections",
    Refusal.NO_CONNECT: r"^permission denied for database",
    Refusal.NO_DATABASE: r"^database .* does not exist|^no such database",
    Refusal.NO_SSL: r"^server does not support SSL",
    Refusal.CERTIFICATE: r"certificate verify failed|certificate file|^server certificate for|private key file",
    Refusal.HOST_UNKNOWN: r"^failed to resolve host|^could not translate host name",
    Refusal.PORT_CLOSED: r"^Connection refused(?!.*on that socket)",
    Refusal.NO_SOCKET: r"^No such file or directory|^Connection refused.*on that socket",
    Refusal.SHUT_SOCKET: r"^Permission denied.*on that socket",
    Refusal.UNREACHABLE: r"^Network is unreachable|^No route to host|^Host is down",
    Refusal.TIMEOUT: r"timeout expired$|timed out|^no answer within",
    Refusal.NOT_POSTGRESQL: r"^received invalid response|^expected authentication request|^unsupported protocol",
    Refusal.HBA: r"^no pg_hba\.conf entry|^pg_hba\.conf rejects",
    Refusal.HUNG_UP: r"server closed the connection|[Cc]onnection reset|SSL SYSCALL error|Broken pipe"
    r"|^terminating connection",
}

_SQLSTATES: Mapping[str, Refusal] = {
    "53300": Refusal.SOME_LIMIT,
    "57P03": Refusal.NOT_YET,
    "57P01": Refusal.STOPPING,
    "28P01": Refusal.WRONG_PASSWORD,
    "28000": Refusal.LOGIN,
    "3D000": Refusal.NO_DATABASE,
    "42501": Refusal.NO_CONNECT,
    "55000": Refusal.CLOSED_DATABASE,
}

_WHERE = re.compile(
    r"(?:connection (?:failed|is bad): )?connection to server (?:at|on socket) \"[^\"]*\""
    r"(?: \([^)]*\))?(?:, port \d+)? failed: "
)
_WHICH = re.compile(
    r"Multiple connection attempts failed\. All failures were:|- host: '.*?', port: .*?: (?=connection )"
)
_GUESS = re.compile(r" Is the server [^?]*\?")  # libpq asks; our hint says what to look at
_SEVERITY = re.compile(r"^(?:FATAL|ERROR|PANIC): +")


@dataclass(frozen=True, slots=True)
class Attempt:
    """What was tried: ``database`` at ``place``, as ``role``, which is empty where it is not known.

    ``is_workplace``: the database is the one to work from; ``was_named``: by the user, with --maintenance-db.
    """

    place: str
    role: str
    database: str
    is_workplace: bool = False
    was_named: bool = False


def refusal_of(text: str, sqlstate: str | None = None, *, needs_password: bool = False) -> tuple[Refusal, str]:
    """Return why, and what was said about it: the piece of ``text`` that tells, without where it was tried.

    ``needs_password`` is libpq's word that the server wanted a password, and none was given.
    """
    whole = _WHICH.sub("", " ".join(text.split()))
    pieces = [_SEVERITY.sub("", piece.strip()) for piece in _WHERE.split(whole)]
    pieces = [piece for piece in pieces if piece] or ["nothing"]
    for refusal, pattern in _TEXTS.items():
        for piece in pieces:
            if re.search(pattern, piece):
                return refusal, _GUESS.sub("", piece)
    if needs_password:
        return Refusal.NO_PASSWORD, pieces[-1]
    return _SQLSTATES.get(sqlstate or "", Refusal.UNKNOWN), pieces[-1]


_MESSAGES: Mapping[Refusal, str] = {
    Refusal.SLOTS: "All connection slots of the server {place} are taken",
    Refusal.RESERVED_SLOTS: "All connection slots of the server {place} that ordinary roles may use are taken",
    Refusal.ROLE_LIMIT: "The role {role} has as many connections as its limit allows",
    Refusal.DATABASE_LIMIT: "The database {database!r} has as many connections as its limit allows",
    Refusal.SOME_LIMIT: "The server {place} has as many connections as a limit allows (its own, the role's, or the "
    "database's)",
    Refusal.STARTING: "The server {place} is starting up",
    Refusal.STOPPING: "The server {place} is shutting down",
    Refusal.RECOVERING: "The server {place} is recovering from a crash",
    Refusal.NOT_YET: "The server {place} accepts no connections at this moment",
    Refusal.NO_PASSWORD: "The server {place} asks for a password, and none was given",
    Refusal.WRONG_PASSWORD: "The server {place} refuses the password of {role}",
    Refusal.LOGIN: "The server {place} refuses the login of {role}",
    Refusal.NO_ROLE: "The server {place} has no role {role}",
    Refusal.MAY_NOT_LOG_IN: "The role {role} may not log in",
    Refusal.NO_DATABASE: "There is no database {database!r} on the server {place}",
    Refusal.NO_CONNECT: "The role {role} lacks CONNECT on the database {database!r}",
    Refusal.CLOSED_DATABASE: "The database {database!r} does not accept connections",
    Refusal.INVALID_DATABASE: "The database {database!r} is invalid: its DROP DATABASE was interrupted",
    Refusal.NO_SSL: "The connection has to be encrypted, but the server {place} has no SSL",
    Refusal.CERTIFICATE: "The certificates for the server {place} are not in order",
    Refusal.HOST_UNKNOWN: "The host of {place} is not known",
    Refusal.PORT_CLOSED: "Nothing listens at {place}",
    Refusal.NO_SOCKET: "No server listens on the socket in {place}",
    Refusal.SHUT_SOCKET: "The user that snapkit runs as may not open the socket in {place}",
    Refusal.UNREACHABLE: "The network has no route to {place}",
    Refusal.TIMEOUT: "{place} did not answer the login in time",
    Refusal.NOT_POSTGRESQL: "The program that listens at {place} is not PostgreSQL",
    Refusal.HBA: "pg_hba.conf of the server {place} does not allow {role} to log in from here in this way",
    Refusal.HUNG_UP: "The server {place} closed the connection during the login",
    Refusal.UNKNOWN: "The server {place} cannot be reached, or refuses the login",
}

_HINTS: Mapping[Refusal, str] = {
    Refusal.SLOTS: "Close some sessions, or raise max_connections; then run the command again.",
    Refusal.RESERVED_SLOTS: "Close some sessions, or raise max_connections; then run the command again. "
    "(GRANT pg_use_reserved_connections, from PostgreSQL 16 on, lets a role use slots that "
    "reserved_connections keeps free.)",
    Refusal.ROLE_LIMIT: "Close sessions of this role, or raise its limit: "
    "ALTER ROLE {quoted_role} CONNECTION LIMIT ...; (a run of snapkit takes up to four connections).",
    Refusal.DATABASE_LIMIT: "Close sessions in it, or raise its limit: "
    "ALTER DATABASE {quoted_database} CONNECTION LIMIT ...;",
    Refusal.SOME_LIMIT: "Close some sessions, or raise the limit: max_connections, ALTER ROLE ... CONNECTION LIMIT, "
    "or ALTER DATABASE ... CONNECTION LIMIT; then run the command again.",
    Refusal.STARTING: "Wait a moment, then run the command again.",
    Refusal.STOPPING: "Run the command again when the server is back.",
    Refusal.RECOVERING: "Wait a moment, then run the command again; the server's log tells how far it is.",
    Refusal.NOT_YET: "Wait a moment, then run the command again. A standby needs hot_standby = on to be read.",
    Refusal.NO_PASSWORD: "Give a password: in the URL, in PGPASSWORD or in ~/.pgpass.",
    Refusal.WRONG_PASSWORD: "Check user and password: in the URL, PGPASSWORD or ~/.pgpass. (The server says the same "
    "of a role that does not exist.)",
    Refusal.LOGIN: "Check the user in the connection URL, and which authentication the server's pg_hba.conf demands.",
    Refusal.NO_ROLE: "Check the user in the connection URL, or PGUSER. Without either, it is the name of the operating "
    "system's user.",
    Refusal.MAY_NOT_LOG_IN: "Name a role that may, or allow it: ALTER ROLE {quoted_role} LOGIN;",
    Refusal.NO_DATABASE: "Check the database's name in the connection URL.",
    Refusal.NO_CONNECT: "Its owner, or a superuser, grants it: "
    "GRANT CONNECT ON DATABASE {quoted_database} TO {quoted_role};",
    Refusal.CLOSED_DATABASE: "Allow it: ALTER DATABASE {quoted_database} ALLOW_CONNECTIONS true;",
    Refusal.INVALID_DATABASE: "It can only be dropped: DROP DATABASE {quoted_database};",
    Refusal.NO_SSL: "Switch ssl on at the server, or take sslmode (ssl) out of the connection URL and PGSSLMODE.",
    Refusal.CERTIFICATE: "Check sslmode, sslrootcert, sslcert and sslkey in the connection URL, and the host's name in "
    "the server's certificate.",
    Refusal.HOST_UNKNOWN: "Check the host in the connection URL, or PGHOST; inside a container, the network it is in.",
    Refusal.PORT_CLOSED: "Check host and port in the connection URL, and that the server runs and listens there "
    "(listen_addresses).",
    Refusal.NO_SOCKET: "Check the socket's directory (host) and the port in the connection URL, or PGHOST and PGPORT, "
    "and that the server runs. A server in a container is reached by TCP: host=localhost.",
    Refusal.SHUT_SOCKET: "Run it as a user who may enter the socket's directory (unix_socket_permissions), or connect "
    "by TCP: host=localhost.",
    Refusal.UNREACHABLE: "Check the host in the connection URL, and the network.",
    Refusal.TIMEOUT: "Check host and port in the connection URL, and that no firewall is in between. connect_timeout "
    "in the URL says how long to wait (10 s).",
    Refusal.NOT_POSTGRESQL: "Check host and port in the connection URL.",
    Refusal.HBA: "Add a line for this user, address and database to the server's pg_hba.conf. Where it demands SSL "
    "(“no encryption”), put sslmode=require into the connection URL.",
    Refusal.HUNG_UP: "Run the command again; the server's log tells why.",
    Refusal.UNKNOWN: "Check host, port, user, password and database in the connection URL, and that the server runs "
    "and lets you in (pg_hba.conf).",
}

_AT_WORK = frozenset((*_OF_DATABASE, Refusal.TIMEOUT))


def explained(refusal: Refusal, said: str, attempt: Attempt) -> tuple[str, str]:
    """Return the message and the hint for a user; ``said`` as ``refusal_of`` returns it."""
    role = attempt.role or "this user"
    words = {
        "place": attempt.place,
        "role": role,
        "database": attempt.database,
        "quoted_role": _quoted(attempt.role) if attempt.role else "...",
        "quoted_database": _quoted(attempt.database),
    }
    hint = _HINTS[refusal].format_map(words)
    if attempt.is_workplace and refusal in _AT_WORK:
        hint = _about_workplace(refusal, attempt, hint)
    end = "" if said.endswith("?") else "."
    return f"{_MESSAGES[refusal].format_map(words)}. The message was: {said.rstrip('.')}{end}", hint


def _about_workplace(refusal: Refusal, attempt: Attempt, hint: str) -> str:
    """Most users have not chosen the database that snapkit works from: say why it is this one, and how to choose
    another."""
    if attempt.was_named:
        chosen = f"snapkit was to work from the database {attempt.database!r} (--maintenance-db)."
    else:
        chosen = f"snapkit works from {attempt.database!r}. To name another database: --maintenance-db."
    if refusal is Refusal.NO_DATABASE:
        return chosen + (" Leave the option out, or name another database." if attempt.was_named else "")
    if refusal is Refusal.TIMEOUT and attempt.database == "template1":
        return f"While somebody creates a database from template1, nobody can connect to template1. {chosen}"
    return f"{hint} {chosen}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
