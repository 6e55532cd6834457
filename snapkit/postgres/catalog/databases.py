"""What the server's catalogs and statistics views say, as Core selects."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Connection,
    DateTime,
    Integer,
    Select,
    Text,
    and_,
    bindparam,
    case,
    cast,
    column,
    exists,
    false,
    func,
    literal,
    literal_column,
    null,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY, OID, aggregate_order_by

from snapkit.core.inventory.entry import ClientSession, Database, Standby
from snapkit.core.inventory.metadata import MAX_BYTES, PREFIX
from snapkit.core.outage.workers import Worker
from snapkit.core.plans.properties import Privilege, Properties, SecurityLabel, Setting
from snapkit.core.plans.seal import Unsealed
from snapkit.core.values import dataclass
from snapkit.postgres.catalog.tables import catalog_table
from snapkit.postgres.connection.server import answers_within, began_with, driver_connection

pg_database = catalog_table(
    "pg_database",
    column("oid", OID),
    column("datname", Text),
    column("datdba", OID),
    column("datallowconn", Boolean),
    column("datconnlimit", Integer),
    column("datistemplate", Boolean),
    column("dattablespace", OID),
    column("datacl"),
    column("xmin"),
)
pg_roles = catalog_table(
    "pg_roles",
    column("oid", OID),
    column("rolname", Text),
    column("rolsuper", Boolean),
    column("rolcreatedb", Boolean),
    column("rolinherit", Boolean),
)
pg_tablespace = catalog_table("pg_tablespace", column("oid", OID), column("spcname", Text))
pg_stat_activity = catalog_table(
    "pg_stat_activity",
    column("datid", OID),
    column("pid", Integer),
    column("usesysid", OID),
    column("usename", Text),
    column("application_name", Text),
    column("client_addr"),
    column("state", Text),
    column("wait_event", Text),
    column("state_change", DateTime(timezone=True)),
    column("backend_start", DateTime(timezone=True)),
)
pg_locks = catalog_table(
    "pg_locks",
    column("locktype", Text),
    column("virtualxid", Text),
    column("database", OID),
    column("relation", OID),
    column("classid", OID),
    column("objid", OID),
    column("objsubid", Integer),
    column("pid", Integer),
    column("granted", Boolean),
    column("mode", Text),
)
pg_prepared_xacts = catalog_table(
    "pg_prepared_xacts", column("gid", Text), column("database", Text), column("owner", Text)
)
pg_settings = catalog_table(
    "pg_settings",
    column("name", Text),
    column("setting", Text),
    column("source", Text),
    column("enumvals", ARRAY(Text)),
)
pg_db_role_setting = catalog_table(
    "pg_db_role_setting", column("setdatabase", OID), column("setrole", OID), column("setconfig", ARRAY(Text))
)
pg_shseclabel = catalog_table(
    "pg_shseclabel", column("objoid", OID), column("classoid", OID), column("provider", Text), column("label", Text)
)

pg_shdescription = catalog_table(
    "pg_shdescription", column("objoid", OID), column("classoid", OID), column("description", Text), column("xmin")
)

PG_DATABASE_OID = 1262
"""The OID of pg_database itself, by which pg_locks and the shared catalogs name the class of an object."""

_me = func.current_user(type_=Text)


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What a plan has to know about the server and about who asks."""

    role: str
    is_superuser: bool
    version: int
    now: datetime
    can_share_blocks: bool
    may_checkpoint: bool
    order: int
    """The next transaction ID, in 64 bits: what entries are ordered by, whatever the clock says."""

    @property
    def quiet(self) -> dict[str, str]:
        """The setting with which no event trigger fires on a superuser's login: the function may be somebody else's.

        PostgreSQL 17 has the setting, and triggers on login; it is a superuser's.
        https://www.postgresql.org/docs/current/runtime-config-client.html#GUC-EVENT-TRIGGERS
        """
        return {"event_triggers": "off"} if self.is_superuser and self.version >= 170000 else {}


def _i_am_superuser() -> ColumnElement[bool]:
    me = pg_roles.alias("me")
    return select(me.c.rolsuper).where(me.c.rolname == _me).scalar_subquery()


def _facts() -> tuple[ColumnElement[Any], ...]:
    share = exists().where(
        pg_settings.c.name == "file_copy_method", literal("clone", Text) == func.any(pg_settings.c.enumvals)
    )
    checkpointer = cast(func.to_regrole("pg_checkpoint"), OID)  # it came with PostgreSQL 15
    may_checkpoint = or_(_i_am_superuser(), func.coalesce(func.pg_has_role(checkpointer, "USAGE"), False))
    return (
        _me.label("me"),
        _i_am_superuser().label("is_superuser"),
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
    """Ask the server for its clock, its version and the role; ``version`` is server_version_num."""
    return ServerFacts(*connection.execute(select(*_facts())).one())


def survey(connection: Connection) -> tuple[ServerFacts, list[Database]]:
    """Return what ``server_facts`` and ``databases`` do, as one question: many commands ask no other."""
    facts, found = select(*_facts()).subquery("facts"), _databases().subquery("found")
    rows = connection.execute(select(*facts.c, *found.c).outerjoin_from(facts, found, true())).all()
    width = len(facts.c)
    # Of a server that has no database but the templates there is one row, with nothing about a database in it.
    return ServerFacts(*rows[0][:width]), [Database(*row[width:]) for row in rows if row[width] is not None]


def databases(connection: Connection) -> list[Database]:
    """Return every database but the template databases of PostgreSQL's own.

    A comment that is not ours stays on the server, however large it is; ``comment_of`` reads that of one database.
    """
    return [Database(*row) for row in connection.execute(_databases())]


def database_of(connection: Connection, oid: int) -> Database | None:
    """Return one database; None if it is gone."""
    row = connection.execute(_databases().where(pg_database.c.oid == oid)).one_or_none()
    return None if row is None else Database(*row)


def _databases() -> Select[Any]:
    comment = pg_shdescription.c.description
    return (
        select(
            pg_database.c.oid,
            pg_database.c.datname,
            func.coalesce(pg_roles.c.rolname, "").label("owner"),
            func.coalesce(pg_roles.c.rolsuper, False).label("owner_is_superuser"),
            pg_database.c.datallowconn,
            pg_database.c.datconnlimit,
            pg_database.c.datistemplate,
            func.coalesce(pg_tablespace.c.spcname, "").label("tablespace"),
            case(
                (
                    and_(func.starts_with(comment, PREFIX), func.octet_length(comment) <= MAX_BYTES),
                    comment,
                )
            ).label("document"),
            comment.is_not(None).label("has_comment"),
            func.pg_has_role(pg_database.c.datdba, "USAGE").label("is_mine"),
            access().label("access"),
            (func.age(pg_database.c.xmin) < func.age(pg_shdescription.c.xmin)).label("row_is_newer"),
        )
        .outerjoin_from(pg_database, pg_roles, pg_roles.c.oid == pg_database.c.datdba)
        .outerjoin(pg_tablespace, pg_tablespace.c.oid == pg_database.c.dattablespace)
        # The catalog itself: shobj_description() would look each comment up by itself, and takes ten times as long.
        .outerjoin(
            pg_shdescription,
            and_(pg_shdescription.c.objoid == pg_database.c.oid, pg_shdescription.c.classoid == PG_DATABASE_OID),
        )
        .where(pg_database.c.datname.not_in(("template0", "template1")))
    )


def access() -> ColumnElement[int]:
    """The hash of a database's access list, whatever the order of its items; the default one is written out."""
    items = func.coalesce(pg_database.c.datacl, func.acldefault(literal_column("'d'"), pg_database.c.datdba))
    item = cast(func.unnest(items).column_valued("item"), Text)
    separator = aggregate_order_by(literal(" ", Text), item)
    listed = select(func.string_agg(item, separator)).scalar_subquery()
    return func.hashtextextended(func.coalesce(listed, ""), 0, type_=BigInteger)


def may_set(connection: Connection, parameters: Collection[str]) -> bool:
    """Whether the role may set all of these parameters for its own session; of those for superusers, by a grant."""
    context = catalog_table("pg_settings", column("name", Text), column("context", Text))
    version = driver_connection(connection).info.server_version
    granted: ColumnElement[bool] = (
        func.has_parameter_privilege(context.c.name, "SET", type_=Boolean) if version >= 150000 else false()
    )
    allowed = or_(_i_am_superuser(), context.c.context.in_(("user", "backend")), granted)
    number = select(func.count()).where(context.c.name.in_(parameters), allowed)
    return int(connection.execute(number).scalar_one()) == len(parameters)


def access_of(connection: Connection, oid: int) -> int:
    """Return the hash of a database's access list; see ``access``."""
    return connection.execute(select(access()).where(pg_database.c.oid == oid)).scalar_one()


def comment_of(connection: Connection, oid: int) -> str | None:
    """Return the whole comment on a database."""
    return connection.execute(select(func.shobj_description(oid, "pg_database", type_=Text))).scalar_one()


def sizes(connection: Connection, oids: Collection[int]) -> Mapping[int, int | None]:
    """Return the size of each database in bytes; None for one that the role may not measure.

    pg_database_size takes CONNECT on the database or membership in pg_read_all_stats, and is an error without.
    https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-ADMIN-DBSIZE
    """
    may_measure = or_(
        func.has_database_privilege(pg_database.c.oid, "CONNECT"), func.pg_has_role("pg_read_all_stats", "USAGE")
    )
    size = case((may_measure, func.pg_database_size(pg_database.c.oid, type_=BigInteger)), else_=null())
    with answers_within(connection, None):  # it looks at every file
        rows = connection.execute(
            select(pg_database.c.oid, size.label("size")).where(
                pg_database.c.oid == func.any(bindparam("oids", list(oids), ARRAY(OID)))
            )
        ).all()
    return {row.oid: row.size for row in rows}


def unsealed_state(connection: Connection, oid: int) -> Unsealed | None:
    """Return of a database what a seal changes, and its name; None if it is gone."""
    row = connection.execute(
        select(
            pg_database.c.datname,
            pg_database.c.datallowconn,
            pg_database.c.datistemplate,
            func.shobj_description(oid, "pg_database", type_=Text),
        ).where(pg_database.c.oid == oid)
    ).one_or_none()
    return None if row is None else Unsealed(*row)


def name_of(connection: Connection, oid: int) -> str | None:
    """Return the name that a database has now; None if it is gone."""
    return connection.execute(select(pg_database.c.datname).where(pg_database.c.oid == oid)).scalar_one_or_none()


def oid_of(connection: Connection, name: str) -> int | None:
    """Return the OID of a database; None if there is none of that name."""
    return connection.execute(select(pg_database.c.oid).where(pg_database.c.datname == name)).scalar_one_or_none()


def connection_limit_of(connection: Connection, oid: int) -> int | None:
    """Return the connection limit of a database, which also tells that it is invalid; None if it is gone."""
    limit = select(pg_database.c.datconnlimit).where(pg_database.c.oid == oid)
    return connection.execute(limit).scalar_one_or_none()


def read_properties(connection: Connection, oid: int) -> Properties:
    """Return what a clone by template would not carry; the comment and the flags that the seal changes aside."""
    owner, limit, has_privileges = connection.execute(
        select(pg_roles.c.rolname, pg_database.c.datconnlimit, pg_database.c.datacl.is_not(None))
        .join_from(pg_database, pg_roles, pg_roles.c.oid == pg_database.c.datdba)
        .where(pg_database.c.oid == oid)
    ).one()
    return Properties(
        owner=owner,
        connection_limit=limit,
        privileges=_privileges(connection, oid) if has_privileges else None,
        settings=_settings(connection, oid),
        security_labels=frozenset(
            SecurityLabel(*row)
            for row in connection.execute(
                select(pg_shseclabel.c.provider, pg_shseclabel.c.label).where(
                    pg_shseclabel.c.objoid == oid, pg_shseclabel.c.classoid == PG_DATABASE_OID
                )
            )
        ),
    )


def _privileges(connection: Connection, oid: int) -> frozenset[Privilege]:
    """The access list, item by item. https://www.postgresql.org/docs/current/ddl-priv.html"""
    item = (
        func.aclexplode(pg_database.c.datacl)
        .table_valued(
            column("grantor", OID),
            column("grantee", OID),
            column("privilege_type", Text),
            column("is_grantable", Boolean),
            with_ordinality="place",
        )
        .render_derived(name="item")
        .lateral()
    )
    grantor, grantee = pg_roles.alias("grantor"), pg_roles.alias("grantee")
    # OID 0 is PUBLIC. A role that has just been dropped has no name, and must not be taken for it.
    grantee_name = case((item.c.grantee == 0, ""), else_=grantee.c.rolname)
    rows = connection.execute(
        select(grantor.c.rolname, grantee_name, item.c.privilege_type, item.c.is_grantable, item.c.place)
        .select_from(pg_database)
        .join(item, true())
        .join(grantor, grantor.c.oid == item.c.grantor)
        .outerjoin(grantee, grantee.c.oid == item.c.grantee)
        .where(pg_database.c.oid == oid, grantee_name.is_not(None))
    )
    return frozenset(Privilege(*row) for row in rows)


def _settings(connection: Connection, oid: int) -> frozenset[Setting]:
    role = case((pg_db_role_setting.c.setrole == 0, ""), else_=pg_roles.c.rolname)
    config = (
        func.unnest(pg_db_role_setting.c.setconfig)
        .table_valued(column("text", Text), with_ordinality="place")
        .render_derived(name="config")
        .lateral()
    )
    rows = connection.execute(
        select(role, config.c.text, config.c.place)
        .select_from(pg_db_role_setting)
        .join(config, true())
        .outerjoin(pg_roles, pg_roles.c.oid == pg_db_role_setting.c.setrole)
        .where(pg_db_role_setting.c.setdatabase == oid, role.is_not(None))
    )
    return frozenset(Setting(role, *_assignment(text), place) for role, text, place in rows)


def _assignment(text: str) -> tuple[str, str]:
    parameter, _, value = text.partition("=")
    return parameter, value


def may_terminate() -> ColumnElement[bool]:
    """Whether this role may end the session, as pg_signal_backend() in PostgreSQL's source decides it.

    https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-ADMIN-SIGNAL
    """
    target = pg_roles.alias("target")
    target_is_superuser = select(target.c.rolsuper).where(target.c.oid == pg_stat_activity.c.usesysid).scalar_subquery()
    return or_(
        _i_am_superuser(),
        and_(
            func.coalesce(target_is_superuser, False).is_(False),
            or_(
                func.pg_has_role(pg_stat_activity.c.usesysid, "USAGE"),
                func.pg_has_role("pg_signal_backend", "USAGE"),
            ),
        ),
    )


SESSION_COLUMNS = (
    pg_stat_activity.c.pid,
    pg_stat_activity.c.usename,
    pg_stat_activity.c.application_name,
    func.host(pg_stat_activity.c.client_addr, type_=Text),
    pg_stat_activity.c.state,
    pg_stat_activity.c.state_change,
    pg_stat_activity.c.backend_start,
)


def is_inside(oids: Collection[int]) -> ColumnElement[bool]:
    """Sessions inside these databases that PostgreSQL will not send away by itself, as it does autovacuum workers.

    Those are known by their having no user; a session's own type is hidden from roles without rights over it.
    """
    return and_(
        pg_stat_activity.c.datid == func.any(bindparam("oids", list(oids), ARRAY(OID))),
        pg_stat_activity.c.pid != func.pg_backend_pid(),
        pg_stat_activity.c.usesysid.is_not(None),
    )


def sessions_inside(connection: Connection, oids: Collection[int]) -> list[ClientSession]:
    """Return the sessions inside these databases."""
    rows = connection.execute(
        select(*SESSION_COLUMNS, may_terminate()).where(is_inside(oids)).order_by(pg_stat_activity.c.pid)
    )
    return [ClientSession(*row) for row in rows]


def wait_event(connection: Connection, pid: int) -> str | None:
    """Return what a session of this role's own waits for at this moment; None while it works.

    https://www.postgresql.org/docs/current/monitoring-stats.html#WAIT-EVENT-TABLE
    """
    event: str | None = connection.execute(
        select(pg_stat_activity.c.wait_event).where(pg_stat_activity.c.pid == pid)
    ).scalar_one_or_none()
    return event


def blockers(connection: Connection, pid: int) -> list[ClientSession]:
    """Return the sessions that hold a lock which the session ``pid`` waits for."""
    blocking = func.pg_blocking_pids(pid, type_=ARRAY(Integer))
    rows = connection.execute(
        select(*SESSION_COLUMNS, may_terminate()).where(pg_stat_activity.c.pid == func.any(blocking))
    )
    return [ClientSession(*row) for row in rows]


def waits_for_its_client(connection: Connection, pid: int) -> bool:
    """Whether the session ``pid``, one of this role's own, has answered all it was asked, or is gone."""
    idle = func.coalesce(pg_stat_activity.c.state.like("idle%"), False)
    found = connection.execute(select(idle).where(pg_stat_activity.c.pid == pid)).scalar_one_or_none()
    return found is not False


def sessions_entering(connection: Connection, oid: int) -> list[int]:
    """Return the process IDs of the sessions that start up in a database: pg_stat_activity does not show them yet.

    Each locks the database, looks whether that still bears the name that it came for and lets it in, shows itself, and
    only then lets go of the lock (InitPostgres in PostgreSQL's source). So who is not seen here, and then not among the
    sessions inside, comes in no more. The lock is of a mode that no statement takes on a database; a weaker one every
    role can hold for as long as it likes (``ALTER ROLE CURRENT_USER IN DATABASE``).
    """
    return list(
        connection.execute(
            select(pg_locks.c.pid)
            .where(
                pg_locks.c.locktype == "object",
                pg_locks.c.classid == PG_DATABASE_OID,
                pg_locks.c.objid == oid,
                pg_locks.c.mode == "RowExclusiveLock",
            )
            .order_by(pg_locks.c.pid)
        ).scalars()
    )


def prepared_transactions(connection: Connection, databases: Collection[str]) -> Mapping[str, list[str]]:
    """Return, by database, the identifiers of the prepared transactions in it; they block a clone and a rename."""
    rows = connection.execute(
        select(pg_prepared_xacts.c.database, pg_prepared_xacts.c.gid).where(pg_prepared_xacts.c.database.in_(databases))
    )
    found: dict[str, list[str]] = {}
    for database, gid in rows:
        found.setdefault(database, []).append(gid)
    return found


@dataclass(frozen=True, slots=True)
class RoleRights:
    """What the role may do; ``may_act_as_owner`` is for one owner."""

    role: str
    inherits: bool
    may_create: bool
    may_act_as_owner: bool


def role_rights(connection: Connection, owner: str) -> RoleRights:
    """Return the role's rights: CREATEDB, and to give a new database to ``owner``, for which it has to be able to
    SET ROLE to it; from PostgreSQL 16 on, that is granted apart from membership.

    https://www.postgresql.org/docs/current/sql-createdatabase.html, .../sql-grant.html
    """
    version = driver_connection(connection).info.server_version
    may_create = or_(pg_roles.c.rolsuper, pg_roles.c.rolcreatedb)
    may_act = func.pg_has_role(owner, "SET" if version >= 160000 else "MEMBER")
    row = connection.execute(
        select(pg_roles.c.rolname, pg_roles.c.rolinherit, may_create, may_act).where(pg_roles.c.rolname == _me)
    ).one()
    return RoleRights(*row)


def stale_collation(connection: Connection, oid: int) -> str | None:
    """Return the collation version that a database has noted, if the system's is another; None before PostgreSQL 15.

    https://www.postgresql.org/docs/current/sql-alterdatabase.html
    """
    if driver_connection(connection).info.server_version < 150000:
        return None
    versions = catalog_table("pg_database", column("oid", OID), column("datcollversion", Text))
    actual = func.pg_database_collation_actual_version(versions.c.oid, type_=Text)
    stale = and_(versions.c.datcollversion.is_not(None), versions.c.datcollversion.is_distinct_from(actual))
    noted = select(versions.c.datcollversion).where(versions.c.oid == oid, stale)
    return connection.execute(noted).scalar_one_or_none()


def is_there(connection: Connection, pid: int) -> bool:
    """Whether there is still a session with this process ID."""
    return bool(connection.execute(select(exists().where(pg_stat_activity.c.pid == pid))).scalar_one())


def own_database(connection: Connection) -> int:
    """Return the OID of the database that this connection is to."""
    return int(
        connection.execute(
            select(pg_database.c.oid).where(pg_database.c.datname == func.current_database())
        ).scalar_one()
    )


def keep_awake(connection: Connection) -> None:
    """Ask for nothing, so that the server does not take this session for forgotten."""
    connection.execute(select(true()))


def is_read_only(connection: Connection) -> bool:
    """Whether the server's own configuration makes transactions read-only; a role's or a database's does not count.

    This session has a value of its own by now; what it began with, and where PostgreSQL had that from, was kept.
    https://www.postgresql.org/docs/current/view-pg-settings.html
    """
    found = began_with(connection, "default_transaction_read_only")
    return found.value == "on" and found.source in ("configuration file", "command line", "environment variable")


def system_identifier(connection: Connection) -> int | None:
    """Return the number that a primary and its standbys have in common; None if the role may not read it.

    Everybody may, unless an administrator has taken the right away.
    https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-INFO-CONTROLDATA
    """
    may_read = func.has_function_privilege("pg_catalog.pg_control_system()", "EXECUTE")
    if not connection.execute(select(may_read)).scalar_one():
        return None
    control = func.pg_control_system().table_valued(column("system_identifier", BigInteger))
    return int(connection.execute(select(control.c.system_identifier)).scalar_one())


def standbys(connection: Connection) -> list[Standby]:
    """Return the standbys that stream from this server.

    Left out is what streams besides: logical replication, which is inside a database; pg_basebackup; and what only
    receives WAL and never replays it, as pg_receivewal does. A role without pg_monitor sees of a row hardly more than
    that it is there and its name.
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
    """Whether a standby has been told to replay no more for now."""
    return bool(connection.execute(select(func.pg_is_wal_replay_paused())).scalar_one())


@dataclass(frozen=True, slots=True)
class Footing:
    """What stands at the other end of a connection: a pooler, or a server that replays WAL and takes no writes."""

    behind_pooler: bool
    is_standby: bool


def footing(connection: Connection) -> Footing:
    """Ask what stands at the other end. A pooler tells libpq a process ID of its own, and the server another."""
    told = driver_connection(connection).info.backend_pid
    row = connection.execute(select(func.pg_backend_pid() != told, func.pg_is_in_recovery())).one()
    return Footing(*row)


_activity_by_kind = catalog_table(
    "pg_stat_activity", column("pid", Integer), column("datid", OID), column("backend_type", Text)
)
_NO_BACKGROUND_WORKERS = ("client backend", "autovacuum worker", "parallel worker", "walsender")


def background_workers(connection: Connection, oid: int) -> tuple[Worker, ...]:
    """Return the background workers inside a database, as far as the role may see what a session is."""
    activity = _activity_by_kind
    rows = connection.execute(
        select(activity.c.pid, activity.c.backend_type)
        .where(activity.c.datid == oid, activity.c.backend_type.not_in(_NO_BACKGROUND_WORKERS))
        .order_by(activity.c.pid)
    )
    return tuple(Worker(*row) for row in rows)


def sees_sessions(connection: Connection) -> bool:
    """Whether this role is shown what other roles' sessions are."""
    return bool(connection.execute(select(func.pg_has_role("pg_read_all_stats", "USAGE"))).scalar_one())


def cron_database(connection: Connection) -> str | None:
    """Return the database that pg_cron's scheduler works from; None if it is not loaded, or the role may not know."""
    name: str | None = connection.execute(
        select(pg_settings.c.setting).where(pg_settings.c.name == "cron.database_name")
    ).scalar_one_or_none()
    return name


def extensions(connection: Connection) -> list[str]:
    """Return the extensions of the database that this connection is to."""
    names = catalog_table("pg_extension", column("extname", Text))
    return list(connection.execute(select(names.c.extname).order_by(names.c.extname)).scalars())


def data_directory(connection: Connection) -> str | None:
    """Return where the server keeps its data; None if the role may not know."""
    allowed = func.pg_has_role("pg_read_all_settings", "USAGE")
    directory = func.current_setting("data_directory", True, type_=Text)
    directory_or_none: str | None = connection.execute(select(case((allowed, directory)))).scalar_one()
    return directory_or_none


@dataclass(frozen=True, slots=True)
class OrphanedDirectory:
    """A database's directory, below the data directory, that belongs to no database. ``newest`` is in UTC."""

    path: str
    files: int
    newest: datetime


def orphaned_directories(connection: Connection) -> list[OrphanedDirectory]:
    """Return what a crash of the server amid CREATE DATABASE has left; nothing for a role that is no superuser.

    PostgreSQL makes the directory, and enters the database into pg_database when the clone is complete; after a crash
    in between nothing remembers it. https://www.postgresql.org/docs/current/storage-file-layout.html
    """
    if not server_facts(connection).is_superuser:
        return []
    found = _unowned_directories(connection)
    # One that is being made or dropped at this moment looks the same; whoever does that holds a lock on the catalog.
    at_work = exists().where(
        pg_locks.c.locktype == "relation",
        pg_locks.c.relation == PG_DATABASE_OID,
        pg_locks.c.mode == "RowExclusiveLock",
        pg_locks.c.pid != func.pg_backend_pid(),
    )
    if not found or connection.execute(select(at_work)).scalar_one():
        return []
    found &= _unowned_directories(connection)  # what was complete by then is a database now
    return [_measured(connection, path) for path in sorted(found)]


def _unowned_directories(connection: Connection) -> set[str]:
    oids = connection.execute(select(cast(pg_database.c.oid, Text))).scalars().all()
    return {path for path in database_directories(connection) if path.rpartition("/")[2] not in oids}


def database_directories(connection: Connection) -> frozenset[str]:
    """Return the directories of databases, in whatever tablespace, below the data directory; for superusers.

    https://www.postgresql.org/docs/current/storage-file-layout.html
    """
    places = ["base"]
    version = driver_connection(connection).info.server_version // 10000
    for oid in connection.execute(select(pg_tablespace.c.oid)).scalars():
        # pg_default and pg_global have no entry here; each PostgreSQL keeps to a directory of its own version.
        names = _names_in(connection, f"pg_tblspc/{oid}")
        places += [f"pg_tblspc/{oid}/{name}" for name in names if name.startswith(f"PG_{version}_")]
    return frozenset(f"{place}/{name}" for place in places for name in _names_in(connection, place) if name.isdigit())


def tablespaces(connection: Connection) -> list[str]:
    """Return the names of the tablespaces that a database can be put into: all but the one for what is shared."""
    names = select(pg_tablespace.c.spcname).where(pg_tablespace.c.spcname != "pg_global")
    return list(connection.execute(names.order_by(pg_tablespace.c.spcname)).scalars())


def _names_in(connection: Connection, directory: str) -> list[str]:
    """https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-ADMIN-GENFILE"""
    names = func.pg_ls_dir(directory, True, False, type_=Text).column_valued("name")
    return list(connection.execute(select(names)).scalars())


def _measured(connection: Connection, path: str) -> OrphanedDirectory:
    newest = func.timezone("UTC", func.pg_stat_file(path).table_valued("modification").c.modification, type_=DateTime)
    return OrphanedDirectory(path, len(_names_in(connection, path)), connection.execute(select(newest)).scalar_one())
