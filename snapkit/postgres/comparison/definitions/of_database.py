"""What lies in no table: schemas, extensions, event triggers, publications, foreign servers, text search.

Subscriptions and replication slots are not read: a clone has none.
https://www.postgresql.org/docs/current/catalogs.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Select, Text, case, cast, column, func, select
from sqlalchemy.dialects.postgresql import ARRAY, OID

from snapkit.core.comparison.schema.defined_objects import UNDO_SCHEMA
from snapkit.postgres.catalog.tables import catalog_table
from snapkit.postgres.comparison.definitions.pieces import (
    Piece,
    address,
    catalog,
    defined,
    glued,
    identified,
    is_member,
    lines,
    listed,
    namespace,
    qualified,
    quoted,
    row_of,
    rows_where,
    shown_options,
    when,
    words,
)
from snapkit.postgres.comparison.definitions.routines import by_itself, in_schema
from snapkit.postgres.comparison.definitions.tables_and_views import attribute, name, relation

_CONFIGURATION_MAP = catalog_table("pg_ts_config_map", *map(column, ("mapcfg", "maptokentype", "mapseqno", "mapdict")))


def of_database(version: int) -> Iterator[Select[Any]]:
    yield _schemas()
    yield _extensions()
    yield _event_triggers()
    yield _publications(version)
    yield _foreign_data_wrappers()
    yield _foreign_servers()
    yield from _text_search()


def _schemas() -> Select[Any]:
    """All schemas, but PostgreSQL's own and those of extensions. ``public`` is one like others."""
    c = namespace.c
    title = glued("SCHEMA ", quoted(c.nspname))
    at = address("pg_namespace", c.oid)
    found = defined(at, "schema", (c.nspname,), title, words("CREATE", title), raw=c.nspname, owner=c.nspowner)
    return found.select_from(namespace).where(
        ~func.starts_with(c.nspname, "pg_"),
        c.nspname.not_in(("information_schema", UNDO_SCHEMA)),
        ~is_member("pg_namespace", c.oid),
    )


def _extensions() -> Select[Any]:
    rows = catalog("pg_extension", "extname", "extowner", "extversion", "extnamespace")
    c = rows.c
    title = glued("EXTENSION ", quoted(c.extname))
    text = words(
        "CREATE",
        title,
        glued("SCHEMA ", quoted(namespace.c.nspname)),
        glued("VERSION ", func.quote_literal(c.extversion)),
    )
    found = defined(
        address("pg_extension", c.oid),
        "extension",
        (c.extname,),
        title,
        text,
        raw=words(c.extname, c.extnamespace, c.extversion),
        owner=c.extowner,
    )
    return found.join_from(rows, namespace, namespace.c.oid == c.extnamespace)


def _event_triggers() -> Select[Any]:
    rows = catalog("pg_event_trigger", "evtname", "evtevent", "evtowner", "evtfoid", "evtenabled")
    tags = column("evttags", ARRAY(Text))
    rows = catalog_table("pg_event_trigger", *(column(each.name, each.type) for each in rows.c), tags)
    c = rows.c
    title = glued("EVENT TRIGGER ", quoted(c.evtname))
    tag = func.unnest(c.evttags).table_valued(column("tag", Text), name="tag").render_derived()
    all_tags = select(listed(func.quote_literal(tag.c.tag), tag.c.tag.collate("C"))).select_from(tag).scalar_subquery()
    text = words(
        glued("CREATE ", title, " ON ", c.evtevent),
        glued("WHEN TAG IN (", all_tags, ")"),
        glued("EXECUTE FUNCTION ", identified("pg_proc", c.evtfoid)),
    )
    states = {"D": "DISABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}
    return by_itself(
        rows,
        "event trigger",
        c.evtname,
        title,
        text,
        tail=case(states, value=c.evtenabled),
        raw=row_of(rows),
        owner=c.evtowner,
    )


def _publications(version: int) -> Select[Any]:
    flags = ("puballtables", "pubinsert", "pubupdate", "pubdelete", "pubtruncate", "pubviaroot")
    texts = ("pubname", "pubowner", *(("pubgencols",) if version >= 18 else ()))
    rows = catalog("pg_publication", *texts, flags=flags)
    c = rows.c
    title = glued("PUBLICATION ", quoted(c.pubname))
    actions = func.concat_ws(
        ", ", *(when(c[f"pub{action}"], action) for action in ("insert", "update", "delete", "truncate")), type_=Text
    )
    options = func.concat_ws(
        ", ",
        glued("publish = '", actions, "'"),
        when(c.pubviaroot, "publish_via_partition_root = true"),
        when(c.pubgencols == "s", "publish_generated_columns = stored") if version >= 18 else None,
        type_=Text,
    )
    tables, tables_raw = _published_tables(c.oid, version)
    schemas, schemas_raw = _published_schemas(c.oid) if version >= 15 else (None, None)
    text = lines(
        words("CREATE", title, when(c.puballtables, "FOR ALL TABLES")),
        tables,
        schemas,
        glued("WITH (", options, ")"),
    )
    raw = words(row_of(rows), tables_raw, schemas_raw)
    return by_itself(rows, "publication", c.pubname, title, text, raw=raw, owner=c.pubowner)


def _published_tables(publication: Any, version: int) -> tuple[Piece, Piece]:
    """The tables of a publication, with their columns and conditions."""
    more = ("prqual", "prattrs") if version >= 15 else ()
    rows = catalog_table("pg_publication_rel", column("prpubid", OID), column("prrelid", OID), *map(column, more))
    r = rows.c
    columns = where = None
    if version >= 15:
        where = glued("WHERE (", func.pg_get_expr(r.prqual, r.prrelid), ")")
        a = attribute.c
        named = select(listed(quoted(a.attname), a.attnum)).where(
            a.attrelid == r.prrelid, a.attnum == func.any(cast(r.prattrs, ARRAY(_small()))), r.prattrs.is_not(None)
        )
        columns = glued("(", named.scalar_subquery(), ")")
    one = words(glued("    FOR TABLE ", name), columns, where)
    found = (
        select(listed(one, cast(name, Text).collate("C"), separator="\n"))
        .join_from(rows, relation, relation.c.oid == r.prrelid)
        .join(namespace, namespace.c.oid == relation.c.relnamespace)
        .where(r.prpubid == publication)
        .scalar_subquery()
    )
    return found, rows_where(rows, r.prpubid == publication)


def _small() -> Any:
    from sqlalchemy import SmallInteger

    return SmallInteger


def _published_schemas(publication: Any) -> tuple[Piece, Piece]:
    rows = catalog_table("pg_publication_namespace", column("pnpubid", OID), column("pnnspid", OID))
    one = glued("    FOR TABLES IN SCHEMA ", quoted(namespace.c.nspname))
    found = (
        select(listed(one, namespace.c.nspname, separator="\n"))
        .join_from(rows, namespace, namespace.c.oid == rows.c.pnnspid)
        .where(rows.c.pnpubid == publication)
        .scalar_subquery()
    )
    return found, rows_where(rows, rows.c.pnpubid == publication)


def _foreign_data_wrappers() -> Select[Any]:
    rows = catalog(
        "pg_foreign_data_wrapper", "fdwname", "fdwowner", "fdwhandler", "fdwvalidator", "fdwoptions", "fdwacl"
    )
    c = rows.c
    title = glued("FOREIGN DATA WRAPPER ", quoted(c.fdwname))
    text = words(
        "CREATE",
        title,
        glued("HANDLER ", identified("pg_proc", c.fdwhandler)),
        glued("VALIDATOR ", identified("pg_proc", c.fdwvalidator)),
        shown_options(c.fdwoptions),
    )
    return by_itself(
        rows,
        "foreign data wrapper",
        c.fdwname,
        title,
        text,
        raw=row_of(rows),
        owner=c.fdwowner,
        secret=c.fdwoptions,
    )


def _foreign_servers() -> Select[Any]:
    names = ("srvname", "srvowner", "srvfdw", "srvtype", "srvversion", "srvoptions", "srvacl")
    rows = catalog("pg_foreign_server", *names)
    c = rows.c
    wrapper = catalog("pg_foreign_data_wrapper", "fdwname")
    of_wrapper = select(quoted(wrapper.c.fdwname)).where(wrapper.c.oid == c.srvfdw).scalar_subquery()
    title = glued("SERVER ", quoted(c.srvname))
    text = words(
        "CREATE",
        title,
        glued("TYPE ", func.quote_literal(c.srvtype)),
        glued("VERSION ", func.quote_literal(c.srvversion)),
        glued("FOREIGN DATA WRAPPER ", of_wrapper),
        shown_options(c.srvoptions),
    )
    return by_itself(
        rows,
        "foreign server",
        c.srvname,
        title,
        text,
        raw=row_of(rows),
        owner=c.srvowner,
        secret=c.srvoptions,
    )


def user_mappings() -> Select[Any]:
    """Select the user mappings, with those of their options that this role may see, and no value but of ``user``.

    https://www.postgresql.org/docs/current/view-pg-user-mappings.html
    """
    rows = catalog_table(
        "pg_user_mappings", *(column(each) for each in ("umid", "srvname", "umuser", "usename", "srvid", "umoptions"))
    )
    c = rows.c
    who = when(c.umuser == 0, "public", quoted(c.usename))
    own_name = glued(who, "@", c.srvname)
    title = glued("USER MAPPING FOR ", who, " SERVER ", quoted(c.srvname))
    one = func.unnest(c.umoptions).table_valued(column("option", Text), name="one").render_derived()
    word = func.split_part(one.c.option, "=", 1)
    value = func.substr(one.c.option, func.length(word) + 2)
    shown = when(word.in_(("user", "username")), func.quote_literal(value), "'***'")
    options = select(listed(words(word, shown), word.collate("C"))).select_from(one).scalar_subquery()
    server = address("pg_foreign_server", c.srvid)
    return defined(
        address("pg_user_mapping", c.umid),
        "user mapping",
        (own_name,),
        title,
        words("CREATE", title, glued("OPTIONS (", options, ")")),
        raw=words(c.umid, c.umuser, c.umoptions),
        scope=server,
        parent=server,
        secret=c.umoptions,
    ).select_from(rows)


def _text_search() -> Iterator[Select[Any]]:
    config = catalog("pg_ts_config", "cfgname", "cfgnamespace", "cfgowner", "cfgparser")
    c = config.c
    m = _CONFIGURATION_MAP.c
    title = glued("TEXT SEARCH CONFIGURATION ", qualified(namespace.c.nspname, c.cfgname))
    token = func.ts_token_type(c.cfgparser).table_valued(column("tokid"), column("alias", Text), name="token")
    alias = select(token.c.alias).where(token.c.tokid == m.maptokentype).scalar_subquery()
    one = glued("    FOR ", alias, " WITH ", identified("pg_ts_dict", m.mapdict))
    mapping = select(listed(one, m.maptokentype, m.mapseqno, separator="\n")).where(m.mapcfg == c.oid).scalar_subquery()
    yield in_schema(
        config, "text search configuration", c.cfgname, title,
        words("CREATE", title, glued("(PARSER = ", identified("pg_ts_parser", c.cfgparser), ")")),
        schema="cfgnamespace", owner="cfgowner", tail=mapping,
        raw=words(row_of(config), rows_where(_CONFIGURATION_MAP, m.mapcfg == c.oid)),
    )  # fmt: skip
    dictionary = catalog("pg_ts_dict", "dictname", "dictnamespace", "dictowner", "dicttemplate", "dictinitoption")
    d = dictionary.c
    title = glued("TEXT SEARCH DICTIONARY ", qualified(namespace.c.nspname, d.dictname))
    parts = func.concat_ws(", ", glued("TEMPLATE = ", identified("pg_ts_template", d.dicttemplate)), d.dictinitoption)
    yield in_schema(
        dictionary, "text search dictionary", d.dictname, title, words("CREATE", title, glued("(", parts, ")")),
        schema="dictnamespace", owner="dictowner", raw=row_of(dictionary),
    )  # fmt: skip
    yield _ts("parser", "prs", ("start", "token", "end", "lextype", "headline"))
    yield _ts("template", "tmpl", ("init", "lexize"))


def _ts(word: str, prefix: str, functions: tuple[str, ...]) -> Select[Any]:
    """A parser or a template, which is a list of functions and has no owner."""
    rows = catalog(f"pg_ts_{word}", f"{prefix}name", f"{prefix}namespace", *(f"{prefix}{each}" for each in functions))
    c = rows.c
    title = glued(f"TEXT SEARCH {word.upper()} ", qualified(namespace.c.nspname, c[f"{prefix}name"]))
    parts = func.concat_ws(
        ", ",
        *(glued(f"{each.upper()} = ", identified("pg_proc", cast(c[f"{prefix}{each}"], OID))) for each in functions),
    )
    return in_schema(
        rows, f"text search {word}", c[f"{prefix}name"], title, words("CREATE", title, glued("(", parts, ")")),
        schema=f"{prefix}namespace", owner="", raw=row_of(rows),
    )  # fmt: skip
