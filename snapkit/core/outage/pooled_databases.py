"""PgBouncer's console: which of its databases lead to ours, and the commands for them.

https://www.pgbouncer.org/usage.html#admin-console
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta

from snapkit.core.values import dataclass

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_]+", re.ASCII)
_LONGEST_ARGUMENT = 63
"""Bytes that the console takes behind a command, quotes included."""


@dataclass(frozen=True, slots=True)
class PooledDatabase:
    """A row of SHOW DATABASES: ``name`` is what clients call it, ``database`` what it is called on the server."""

    name: str
    database: str
    host: str | None
    port: int | None
    paused: bool
    disabled: bool


def pooled_database(row: Mapping[str, str | None]) -> PooledDatabase:
    """Read a row of SHOW DATABASES; versions differ in their columns."""
    port = row.get("port") or ""
    return PooledDatabase(
        name=row.get("name") or "",
        database=row.get("database") or "",
        host=row.get("host"),
        port=int(port) if port.isdigit() else None,
        paused=row.get("paused") not in (None, "", "0"),
        disabled=row.get("disabled") not in (None, "", "0"),
    )


def leading_to(
    databases: Iterable[PooledDatabase],
    source: str,
    hosts: Collection[str],
    port: int,
    proven: Collection[str] = (),
) -> tuple[PooledDatabase, ...]:
    """Return those that lead to the database ``source`` of the server that we reached at one of ``hosts`` and ``port``.

    Where databases of that name lead to several servers, and one of these is written as we write it, the others are
    left out, but for those that are ``proven`` to lead here too. A pooler may well call our server by another name; so
    if none is, all of them are taken: to pause one too many makes its clients wait, to pause one too few makes queries
    fail.
    """
    named = [database for database in databases if database.database == source]
    here = [each for each in named if (each.port == port and each.host in hosts) or each.name in proven]
    return tuple(here or named)


def proven_to_lead(servers: Iterable[Mapping[str, str | None]], inside: Collection[tuple[int, str | None]]) -> set[str]:
    """Return the names of the databases whose connections, by the rows of SHOW SERVERS, are sessions ``inside``.

    That is by process ID and user. One server has each process ID once; that of another may have a few of them too, but
    not with the users, for most of its connections.
    """
    found: dict[str, int] = {}
    for row in servers:
        is_ours = (_number(row, "remote_pid"), row.get("user")) in inside
        name = row.get("database") or ""
        found[name] = found.get(name, 0) + (1 if is_ours else -1)
    return {name for name, balance in found.items() if balance > 0}


def maybe_forgotten(
    databases: Collection[PooledDatabase], source: str, hosts: Collection[str], port: int
) -> tuple[str, ...]:
    """Return the names of those that an interrupted run may have left paused; the arguments are as for ``leading_to``.

    One that is known by "*" only, and has no client, is paused without being in the list, under the source's own name.
    A database of that name that is in the list and leads elsewhere is somebody else's.
    """
    leading = [each.name for each in leading_to(databases, source, hosts, port) if each.paused]
    return tuple(leading) if any(each.name == source for each in databases) else (*leading, source)


def logins_under_way(pools: Iterable[Mapping[str, str | None]], names: Collection[str]) -> bool:
    """Whether PgBouncer is logging in to the server for one of the databases, by the rows of SHOW POOLS."""
    return any(_number(row, "sv_login") for row in _of(pools, names))


def clients_wait(pools: Iterable[Mapping[str, str | None]], names: Collection[str]) -> bool:
    """Whether clients wait for a connection to the server, for which PgBouncer may log in next."""
    return any(_number(row, "cl_waiting") for row in _of(pools, names))


def not_served(pools: Iterable[Mapping[str, str | None]], names: Collection[str]) -> bool:
    """Whether clients wait in a pool that has no connection to the server by which they could be served."""
    return any(map(_lacks_servers, _of(pools, names)))


def logins_put_off(pools: Iterable[Mapping[str, str | None]], names: Collection[str]) -> bool:
    """Whether clients wait in a pool that has no connection to the server, and makes none.

    Since a login has failed, PgBouncer lets server_login_retry pass; a PAUSE fails every login that it meets.
    """
    return any(_lacks_servers(row) and not _number(row, "sv_login") for row in _of(pools, names))


def _of(pools: Iterable[Mapping[str, str | None]], names: Collection[str]) -> Iterable[Mapping[str, str | None]]:
    return (row for row in pools if row.get("database") in names)


def _lacks_servers(row: Mapping[str, str | None]) -> bool:
    of_use = sum(_number(row, column) for column in row if column.startswith("sv_") and column != "sv_login")
    return bool(_number(row, "cl_waiting")) and not of_use


def _number(row: Mapping[str, str | None], column: str) -> int:
    value = row.get(column) or "0"
    return int(value) if value.isdigit() else 0


def seconds_of(setting: str | None) -> float | None:
    """Return what a setting of PgBouncer says in seconds; None for what is not a number."""
    try:
        return float(setting or "")
    except ValueError:
        return None


def command(verb: str, name: str) -> str:
    """Return a command of the console on a database, such as PAUSE or RESUME.

    Raises ValueError for a name that the console cannot take: it reads 63 bytes, quotes included.
    """
    argument = name if _PLAIN_NAME.fullmatch(name) else '"' + name.replace('"', '""') + '"'
    if len(argument.encode()) > _LONGEST_ARGUMENT:
        raise ValueError(f"the name {name!r} is too long for PgBouncer's console")
    return f"{verb} {argument}"


def as_typed(url: str, names: Iterable[str]) -> str:
    """Return what to type in a shell so that clients of the databases are let on; ``url`` holds no password."""
    commands = " ".join(f"-c {shlex.quote(command('RESUME', name) + ';')}" for name in names)
    return f"psql {shlex.quote(url)} {commands}"


def outlasts(held: timedelta, wait_timeout: str | None) -> bool:
    """Whether a pause was longer than PgBouncer lets clients wait: query_wait_timeout, in seconds; 0 is for ever."""
    return 0 < (seconds_of(wait_timeout) or 0) < held.total_seconds()


@dataclass(frozen=True, slots=True)
class PoolerReceipt:
    """A PgBouncer that was told of, and which of its databases were paused there, or would be."""

    host: str
    port: int
    databases: tuple[str, ...]
