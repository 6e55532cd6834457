"""The catalogs of a database's own relations, with those of their columns that are asked for anywhere.

https://www.postgresql.org/docs/current/catalogs.html
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Boolean, ColumnClause, Integer, TableClause, Text, column, table
from sqlalchemy.dialects.postgresql import OID


def catalog_table(name: str, *columns: ColumnClause[Any]) -> TableClause:
    """Describe a system catalog or view, or as much of it as is needed."""
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
