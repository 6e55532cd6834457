"""What kind of server this is, how it is set up, and which standbys it has."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    DateTime,
    Integer,
    Text,
    and_,
    case,
    cast,
    column,
    exists,
    func,
    literal,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import OID

from snapkit.core.outage.standbys import Standby
from snapkit.core.server.version import has_login_triggers
from snapkit.core.values import dataclass
from snapkit.postgres.catalog.roles import current_role, is_superuser
from snapkit.postgres.catalog.tables import catalog_table, pg_settings, pg_stat_activity, pg_tablespace
from snapkit.postgres.connection.driver import began_with, driver_connection


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What a plan has to know about the server and the connected role."""

    role: str
    is_superuser: bool
    version: int
    now: datetime
    can_share_blocks: bool
    may_checkpoint: bool
    order: int
    """The next transaction ID, in 64 bits. Entries are ordered by it, since a clock may be set back."""

    @property
    def quiet(self) -> dict[str, str]:
        """The setting with which no login trigger fires for a superuser: its function may be somebody else's.

        Login triggers and the setting came with PostgreSQL 17. Only superusers may set it.
        https://www.postgresql.org/docs/current/runtime-config-client.html#GUC-EVENT-TRIGGERS
        """
        return {"event_triggers": "off"} if self.is_superuser and has_login_triggers(self.version) else {}


def fact_columns() -> tuple[ColumnElement[Any], ...]:
    share = exists().where(
        pg_settings.c.name == "file_copy_method", literal("clone", Text) == func.any(pg_settings.c.enumvals)
    )
    checkpointer = cast(func.to_regrole("pg_checkpoint"), OID)  # it came with PostgreSQL 15
    may_checkpoint = or_(is_superuser(), func.coalesce(func.pg_has_role(checkpointer, "USAGE"), False))
    return (
        current_role.label("me"),
        is_superuser().label("is_superuser"),
        cast(func.current_setting("server_version_num"), Integer).label("version"),
        func.clock_timestamp(type_=DateTime(timezone=True)).label("now"),
        share.label("can_share_blocks"),
        may_checkpoint.label("may_checkpoint"),
        _next_transaction().label("order"),
    )


def _next_transaction() -> ColumnElement[int]:
    """https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-INFO-SNAPSHOT"""
    return cast(cast(func.pg_snapshot_xmax(func.pg_current_snapshot()), Text), BigInteger)


def server_facts(connection: Connection) -> ServerFacts:
    """Ask the server for these facts; ``version`` is server_version_num."""
    return ServerFacts(*connection.execute(select(*fact_columns())).one())


def is_read_only(connection: Connection) -> bool:
    """Whether the server's configuration makes transactions read-only. Settings of roles and databases do not count.

    The session has set its own value. The value that it began with, and its source, were noted before.
    https://www.postgresql.org/docs/current/view-pg-settings.html
    """
    found = began_with(connection, "default_transaction_read_only")
    return found.value == "on" and found.source in ("configuration file", "command line", "environment variable")


def system_identifier(connection: Connection) -> int | None:
    """Return the system identifier, which a primary shares with its standbys; None if the role may not read it.

    Every role may, unless an administrator has revoked that.
    https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-INFO-CONTROLDATA
    """
    may_read = func.has_function_privilege("pg_catalog.pg_control_system()", "EXECUTE")
    if not connection.execute(select(may_read)).scalar_one():
        return None
    control = func.pg_control_system().table_valued(column("system_identifier", BigInteger))
    return int(connection.execute(select(control.c.system_identifier)).scalar_one())


def standbys(connection: Connection) -> list[Standby]:
    """Return the standbys that stream from this server.

    Other clients of the WAL sender are left out: logical replication, which is inside a database; pg_basebackup; and
    programs that only receive WAL and never replay it, such as pg_receivewal. A role without pg_monitor sees little
    more than the name.
    https://www.postgresql.org/docs/current/monitoring-stats.html#MONITORING-PG-STAT-REPLICATION-VIEW
    """
    senders = catalog_table(
        "pg_stat_replication",
        column("pid", Integer),
        column("application_name", Text),
        column("client_addr"),
        column("state", Text),
        column("replay_lsn"),
    )
    name = func.coalesce(func.nullif(senders.c.application_name, ""), pg_stat_activity.c.application_name)
    hidden = senders.c.state.is_(None)
    rows = connection.execute(
        select(func.nullif(name, ""), func.host(senders.c.client_addr, type_=Text))
        .join_from(senders, pg_stat_activity, pg_stat_activity.c.pid == senders.c.pid)
        .where(
            pg_stat_activity.c.datid.is_(None),
            func.coalesce(name, "").not_in(("pg_basebackup", "pg_receivewal")),
            or_(hidden, and_(senders.c.state.in_(("streaming", "catchup")), senders.c.replay_lsn.is_not(None))),
        )
        .order_by(senders.c.pid)
    )
    return [Standby(*row) for row in rows]


def replay_is_paused(connection: Connection) -> bool:
    """Whether the replay of a standby is paused."""
    return bool(connection.execute(select(func.pg_is_wal_replay_paused())).scalar_one())


@dataclass(frozen=True, slots=True)
class Footing:
    """What is at the other end of a connection: a pooler, or a standby, which takes no writes."""

    behind_pooler: bool
    is_standby: bool


def footing(connection: Connection) -> Footing:
    """Ask what is at the other end. Behind a pooler, libpq has another process ID than the server says."""
    told = driver_connection(connection).info.backend_pid
    row = connection.execute(select(func.pg_backend_pid() != told, func.pg_is_in_recovery())).one()
    return Footing(*row)


def cron_database(connection: Connection) -> str | None:
    """Return the database of pg_cron's scheduler; None if pg_cron is not loaded, or the role may not see it."""
    name: str | None = connection.execute(
        select(pg_settings.c.setting).where(pg_settings.c.name == "cron.database_name")
    ).scalar_one_or_none()
    return name


def data_directory(connection: Connection) -> str | None:
    """Return the data directory of the server; None if the role may not see it."""
    allowed = func.pg_has_role("pg_read_all_settings", "USAGE")
    directory = func.current_setting("data_directory", True, type_=Text)
    directory_or_none: str | None = connection.execute(select(case((allowed, directory)))).scalar_one()
    return directory_or_none


def tablespaces(connection: Connection) -> list[str]:
    """Return the names of the tablespaces that a database can be put into: all except pg_global."""
    names = select(pg_tablespace.c.spcname).where(pg_tablespace.c.spcname != "pg_global")
    return list(connection.execute(names.order_by(pg_tablespace.c.spcname)).scalars())
