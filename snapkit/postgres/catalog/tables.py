"""The system catalogs and views that several modules query, with the columns that they need.

https://www.postgresql.org/docs/current/catalogs.html
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnClause,
    ColumnElement,
    DateTime,
    Integer,
    TableClause,
    Text,
    cast,
    column,
    func,
    literal,
    table,
)
from sqlalchemy.dialects.postgresql import ARRAY, OID


def catalog_table(name: str, *columns: ColumnClause[Any]) -> TableClause:
    """Describe a system catalog or view, with the columns that are needed."""
    return table(name, *columns, schema="pg_catalog")


pg_class = catalog_table(
    "pg_class",
    column("oid", OID),
    column("relname", Text),
    column("relnamespace", OID),
    column("relowner", OID),
    column("relkind", Text),
    column("relpersistence", Text),
    column("relisshared", Boolean),
    column("relpages", Integer),
    column("relallvisible", Integer),
)
pg_namespace = catalog_table("pg_namespace", column("oid", OID), column("nspname", Text))
pg_attribute = catalog_table(
    "pg_attribute",
    column("attrelid", OID),
    column("attnum", BigInteger),
    column("attname", Text),
    column("attisdropped", Boolean),
    column("attgenerated", Text),
    column("atttypid", OID),
    column("atttypmod", BigInteger),
)


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
"""The OID of pg_database itself: the class of a database in pg_locks and in the shared catalogs."""

PG_CLASS_OID = 1259
"""The OID of pg_class itself."""


def is_one_of(oid: ColumnElement[Any], oids: Collection[int]) -> ColumnElement[bool]:
    """Whether an OID is one of these; they may be many, and go up to 2^32."""
    return oid == func.any(cast(literal(list(oids), ARRAY(BigInteger)), ARRAY(OID)))


FIRST_OWN = 16384
"""The first OID of objects that users make (FirstNormalObjectId)."""
