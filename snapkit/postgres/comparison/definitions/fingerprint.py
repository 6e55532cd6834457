"""A fingerprint of the catalogs in which definitions are kept.

A clone by files has the very rows of its source. So if two related databases have the same fingerprint, their
definitions are the same, and nothing has to be printed.
https://www.postgresql.org/docs/current/catalogs.html
"""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlalchemy import BigInteger, CompoundSelect, Connection, Text, cast, func, literal, select, union_all

from snapkit.core.server.version import major_version
from snapkit.postgres.catalog.tables import catalog_table
from snapkit.postgres.comparison.definitions.pieces import as_text, row_of
from snapkit.postgres.comparison.definitions.tables_and_views import relation
from snapkit.postgres.connection.driver import server_version

_CATALOGS = (
    *("pg_aggregate", "pg_am", "pg_amop", "pg_amproc", "pg_attrdef", "pg_attribute", "pg_cast", "pg_collation"),
    *("pg_constraint", "pg_conversion", "pg_default_acl", "pg_depend", "pg_description", "pg_enum"),
    *("pg_event_trigger", "pg_extension", "pg_foreign_data_wrapper", "pg_foreign_server", "pg_foreign_table"),
    *("pg_index", "pg_inherits", "pg_init_privs", "pg_language", "pg_namespace", "pg_opclass", "pg_operator"),
    *("pg_opfamily", "pg_partitioned_table", "pg_policy", "pg_proc", "pg_publication", "pg_publication_rel"),
    *("pg_range", "pg_rewrite", "pg_seclabel", "pg_sequence", "pg_statistic_ext", "pg_transform", "pg_trigger"),
    *("pg_ts_config", "pg_ts_config_map", "pg_ts_dict", "pg_ts_parser", "pg_ts_template", "pg_type"),
    "pg_user_mappings",
)
"""Without pg_class, in which VACUUM and ANALYZE write as well."""


def fingerprint(connection: Connection) -> frozenset[Any]:
    """Return the number of rows of each catalog, and the sum of a 64-bit hash of each row."""
    return frozenset(tuple(row) for row in connection.execute(_query(major_version(server_version(connection)))))


@cache
def _query(version: int) -> CompoundSelect[Any]:
    names = (*_CATALOGS, *(("pg_publication_namespace",) if version >= 15 else ()))
    rows = [(name, catalog_table(name)) for name in names]
    texts = [(name, table, row_of(table)) for name, table in rows]
    texts.append(("pg_class", relation, as_text(*relation.c)))
    return union_all(
        *(
            select(
                literal(name, Text),
                func.count(type_=BigInteger),
                cast(func.sum(func.hashtextextended(text, 0)), Text),
            ).select_from(table)
            for name, table, text in texts
        )
    )
