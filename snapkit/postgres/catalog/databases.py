"""Which databases the server has, and what each of them is: owner, flags, comment, properties, size, locale."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Connection,
    Select,
    Text,
    and_,
    bindparam,
    case,
    cast,
    column,
    func,
    literal,
    literal_column,
    null,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY, OID, aggregate_order_by

from snapkit.core.inventory.database import Database, Unsealed
from snapkit.core.inventory.metadata import MAX_BYTES, PREFIX
from snapkit.core.plans.properties import Privilege, Properties, SecurityLabel, Setting
from snapkit.core.plans.statements import Locale
from snapkit.core.server.version import (
    has_builtin_locales,
    has_icu_rules,
    has_locale_provider,
    notes_collation_of_databases,
)
from snapkit.postgres.catalog.server_facts import ServerFacts, fact_columns
from snapkit.postgres.catalog.tables import (
    PG_DATABASE_OID,
    catalog_table,
    pg_database,
    pg_db_role_setting,
    pg_roles,
    pg_shdescription,
    pg_shseclabel,
    pg_tablespace,
)
from snapkit.postgres.connection.driver import answers_within, server_version


def survey(connection: Connection) -> tuple[ServerFacts, list[Database]]:
    """Return what ``server_facts`` and ``databases`` return, by one query. Many commands send no other."""
    facts, found = select(*fact_columns()).subquery("facts"), _databases().subquery("found")
    rows = connection.execute(select(*facts.c, *found.c).outerjoin_from(facts, found, true())).all()
    width = len(facts.c)
    # A server with no database but the templates answers with one row, which has NULLs for the database.
    return ServerFacts(*rows[0][:width]), [Database(*row[width:]) for row in rows if row[width] is not None]


def databases(connection: Connection) -> list[Database]:
    """Return every database except template0 and template1.

    Comments that are not ours are not read, since they may be large. ``comment_of`` reads that of one database.
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
        # shobj_description() would look up each comment by itself. A join takes a tenth of the time.
        .outerjoin(
            pg_shdescription,
            and_(pg_shdescription.c.objoid == pg_database.c.oid, pg_shdescription.c.classoid == PG_DATABASE_OID),
        )
        .where(pg_database.c.datname.not_in(("template0", "template1")))
    )


def access() -> ColumnElement[int]:
    """The hash of a database's access list. The order of the items does not matter; NULL counts as the default list."""
    items = func.coalesce(pg_database.c.datacl, func.acldefault(literal_column("'d'"), pg_database.c.datdba))
    item = cast(func.unnest(items).column_valued("item"), Text)
    separator = aggregate_order_by(literal(" ", Text), item)
    listed = select(func.string_agg(item, separator)).scalar_subquery()
    return func.hashtextextended(func.coalesce(listed, ""), 0, type_=BigInteger)


def access_of(connection: Connection, oid: int) -> int:
    """Return the hash of a database's access list; see ``access``."""
    return connection.execute(select(access()).where(pg_database.c.oid == oid)).scalar_one()


def comment_of(connection: Connection, oid: int) -> str | None:
    """Return the whole comment on a database."""
    return connection.execute(select(func.shobj_description(oid, "pg_database", type_=Text))).scalar_one()


def sizes(connection: Connection, oids: Collection[int]) -> Mapping[int, int | None]:
    """Return the size of each database in bytes; None for one that the role may not measure.

    pg_database_size needs CONNECT on the database, or membership in pg_read_all_stats. Otherwise it is an error.
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
    """Return a database's name and what a seal changes; None if it is gone."""
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
    """Return the connection limit of a database, which is -2 if it is invalid; None if it is gone."""
    limit = select(pg_database.c.datconnlimit).where(pg_database.c.oid == oid)
    return connection.execute(limit).scalar_one_or_none()


def read_properties(connection: Connection, oid: int) -> Properties:
    """Return the properties that a clone by template lacks, except the comment and the flags that a seal changes."""
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
    # OID 0 is PUBLIC. A role that has just been dropped has no name; it must not count as PUBLIC.
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


def stale_collation(connection: Connection, oid: int) -> str | None:
    """Return the collation version that a database notes, if the system has another one. None before PostgreSQL 15.

    https://www.postgresql.org/docs/current/sql-alterdatabase.html
    """
    if not notes_collation_of_databases(server_version(connection)):
        return None
    versions = catalog_table("pg_database", column("oid", OID), column("datcollversion", Text))
    actual = func.pg_database_collation_actual_version(versions.c.oid, type_=Text)
    stale = and_(versions.c.datcollversion.is_not(None), versions.c.datcollversion.is_distinct_from(actual))
    noted = select(versions.c.datcollversion).where(versions.c.oid == oid, stale)
    return connection.execute(noted).scalar_one_or_none()


def own_database(connection: Connection) -> int:
    """Return the OID of the database that this connection is to."""
    return int(
        connection.execute(
            select(pg_database.c.oid).where(pg_database.c.datname == func.current_database())
        ).scalar_one()
    )


def extensions(connection: Connection) -> list[str]:
    """Return the extensions of the database that this connection is to."""
    names = catalog_table("pg_extension", column("extname", Text))
    return list(connection.execute(select(names.c.extname).order_by(names.c.extname)).scalars())


def locale_of(connection: Connection, oid: int) -> Locale:
    """Return the encoding and the locale that a database was created with.

    https://www.postgresql.org/docs/current/catalog-pg-database.html
    """
    version = server_version(connection)
    database = catalog_table(
        "pg_database",
        column("oid", OID),
        column("encoding"),
        *(
            column(name, Text)
            for name in ("datcollate", "datctype", "datlocprovider", "daticulocale", "datlocale", "daticurules")
        ),
    )
    icu_locale = database.c.daticulocale if has_locale_provider(version) else null()
    provider = case({"c": "libc", "i": "icu", "b": "builtin"}, value=database.c.datlocprovider)
    row = connection.execute(
        select(
            func.pg_encoding_to_char(database.c.encoding, type_=Text),
            database.c.datcollate,
            database.c.datctype,
            provider if has_locale_provider(version) else null(),
            database.c.datlocale if has_builtin_locales(version) else icu_locale,
            database.c.daticurules if has_icu_rules(version) else null(),
        ).where(database.c.oid == oid)
    ).one()
    return Locale(*row)
