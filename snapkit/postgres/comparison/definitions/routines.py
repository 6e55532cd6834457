"""Functions, procedures and aggregates, and what is made of them: languages, casts, operators, conversions, transforms.

https://www.postgresql.org/docs/current/catalog-pg-proc.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Boolean, Select, Text, case, cast, column, func, select
from sqlalchemy.dialects.postgresql import OID

from snapkit.postgres.catalog.tables import catalog_table
from snapkit.postgres.comparison.definitions.pieces import (
    CLASSES,
    Piece,
    address,
    catalog,
    defined,
    depend,
    described,
    glued,
    identified,
    is_own,
    is_told,
    lines,
    listed,
    namespace,
    needs_extension,
    qualified,
    quoted,
    row_of,
    rows_where,
    when,
    words,
)


def routines() -> Iterator[Select[Any]]:
    yield _functions()
    yield _languages()
    yield _casts()
    yield _operators()
    yield _operator_families()
    yield _operator_classes()
    yield _conversions()
    yield _transforms()
    yield _access_methods()


def in_schema(
    rows: Any, kind: Any, own_name: Any, title: Piece, text: Piece, *, schema: str, owner: str, **more: Any
) -> Select[Any]:
    """Select users' rows of a catalog whose objects lie in schemas; ``schema`` and ``owner`` are its columns."""
    return (
        defined(
            address(rows.name, rows.c.oid),
            kind,
            (own_name,),
            title,
            text,
            schema=namespace.c.nspname,
            scope=address("pg_namespace", namespace.c.oid),
            owner=rows.c[owner] if owner else None,
            **more,
        )
        .join_from(rows, namespace, namespace.c.oid == rows.c[schema])
        .where(is_own(rows), is_told(namespace))
    )


def by_itself(rows: Any, kind: str, own_name: Any, title: Piece, text: Piece, **more: Any) -> Select[Any]:
    """Select users' rows of a catalog whose objects lie in no schema."""
    at = address(rows.name, rows.c.oid)
    return defined(at, kind, (own_name,), title, text, **more).select_from(rows).where(is_own(rows))


def _functions() -> Select[Any]:
    rows = catalog("pg_proc", "proname", "pronamespace", "proowner", "prokind", "proargtypes", "proparallel")
    c = rows.c
    aggregate = catalog_table("pg_aggregate", column("aggfnoid"))
    is_aggregate = c.prokind == "a"
    types = when(is_aggregate, func.pg_get_function_identity_arguments(c.oid), func.oidvectortypes(c.proargtypes))
    arguments = glued("(", types, ")")
    kinds = {"p": "PROCEDURE", "a": "AGGREGATE"}
    title = words(
        case(kinds, value=c.prokind, else_="FUNCTION"), glued(qualified(namespace.c.nspname, c.proname), arguments)
    )
    text = when(is_aggregate, words("CREATE", title, _aggregate(rows)), func.pg_get_functiondef(c.oid))
    return in_schema(
        rows,
        case({"p": "procedure", "a": "aggregate"}, value=c.prokind, else_="function"),
        glued(c.proname, arguments),
        title,
        text,
        schema="pronamespace",
        owner="proowner",
        tail=needs_extension("pg_proc", c.oid),
        raw=words(
            row_of(rows),
            rows_where(aggregate, cast(aggregate.c.aggfnoid, OID) == c.oid),
            needs_extension("pg_proc", c.oid),
        ),
    )


def _aggregate(function: Any) -> Piece:
    functions = {
        "SFUNC": "aggtransfn",
        "FINALFUNC": "aggfinalfn",
        "COMBINEFUNC": "aggcombinefn",
        "SERIALFUNC": "aggserialfn",
        "DESERIALFUNC": "aggdeserialfn",
        "MSFUNC": "aggmtransfn",
        "MINVFUNC": "aggminvtransfn",
        "MFINALFUNC": "aggmfinalfn",
    }
    rest = (
        "aggtranstype",
        "aggmtranstype",
        "aggsortop",
        "agginitval",
        "aggminitval",
        "aggtransspace",
        "aggmtransspace",
    )
    flags = ("aggfinalextra", "aggmfinalextra")
    modes = ("aggkind", "aggfinalmodify", "aggmfinalmodify")
    names = ("aggfnoid", *functions.values(), *rest, *modes)
    rows = catalog_table("pg_aggregate", *map(column, names), *(column(flag, Boolean) for flag in flags))
    a = rows.c
    modifies = {"r": "READ_ONLY", "s": "SHAREABLE", "w": "READ_WRITE"}
    usual = when(a.aggkind == "n", "r", "w")
    parts = words_with_commas(
        *(glued(f"{word} = ", identified("pg_proc", cast(a[name], OID))) for word, name in functions.items()),
        glued("STYPE = ", func.format_type(a.aggtranstype, None)),
        when(a.aggtransspace != 0, glued("SSPACE = ", a.aggtransspace)),
        when(a.aggfinalextra, "FINALFUNC_EXTRA"),
        when(a.aggfinalmodify != usual, glued("FINALFUNC_MODIFY = ", case(modifies, value=a.aggfinalmodify))),
        glued("INITCOND = ", func.quote_literal(a.agginitval)),
        when(a.aggmtranstype != 0, glued("MSTYPE = ", func.format_type(a.aggmtranstype, None))),
        when(a.aggmtransspace != 0, glued("MSSPACE = ", a.aggmtransspace)),
        when(a.aggmfinalextra, "MFINALFUNC_EXTRA"),
        when(a.aggmfinalmodify != usual, glued("MFINALFUNC_MODIFY = ", case(modifies, value=a.aggmfinalmodify))),
        glued("MINITCOND = ", func.quote_literal(a.aggminitval)),
        glued("SORTOP = ", identified("pg_operator", a.aggsortop)),
        when(a.aggkind == "h", "HYPOTHETICAL"),
        glued("PARALLEL = ", case({"s": "SAFE", "r": "RESTRICTED"}, value=function.c.proparallel)),
    )
    return (
        select(glued("(\n    ", parts, "\n)"))
        .where(cast(a.aggfnoid, OID) == function.c.oid)
        .correlate(function)
        .scalar_subquery()
    )


def words_with_commas(*pieces: Any) -> Piece:
    return func.concat_ws(",\n    ", *pieces, type_=Text)


def _languages() -> Select[Any]:
    rows = catalog(
        "pg_language", "lanname", "lanowner", "lanplcallfoid", "laninline", "lanvalidator", flags=("lanpltrusted",)
    )
    c = rows.c
    title = glued("LANGUAGE ", quoted(c.lanname))
    text = words(
        "CREATE",
        when(c.lanpltrusted, "TRUSTED"),
        title,
        glued("HANDLER ", identified("pg_proc", c.lanplcallfoid)),
        glued("INLINE ", identified("pg_proc", c.laninline)),
        glued("VALIDATOR ", identified("pg_proc", c.lanvalidator)),
    )
    return by_itself(rows, "language", c.lanname, title, text, raw=row_of(rows), owner=c.lanowner)


def _casts() -> Select[Any]:
    rows = catalog("pg_cast", "castsource", "casttarget", "castfunc", "castcontext", "castmethod")
    c = rows.c
    own_name = glued("(", func.format_type(c.castsource, None), " AS ", func.format_type(c.casttarget, None), ")")
    title = glued("CAST ", own_name)
    text = words(
        "CREATE",
        title,
        case(
            (c.castmethod == "f", glued("WITH FUNCTION ", identified("pg_proc", c.castfunc))),
            (c.castmethod == "i", "WITH INOUT"),
            else_="WITHOUT FUNCTION",
        ),
        case({"a": "AS ASSIGNMENT", "i": "AS IMPLICIT"}, value=c.castcontext),
    )
    return by_itself(rows, "cast", own_name, title, text, raw=row_of(rows))


def _operators() -> Select[Any]:
    rows = catalog(
        "pg_operator",
        *("oprname", "oprnamespace", "oprowner", "oprleft", "oprright"),
        *("oprcode", "oprrest", "oprjoin", "oprcom", "oprnegate"),
        flags=("oprcanmerge", "oprcanhash"),
    )
    c = rows.c
    left = when(c.oprleft != 0, func.format_type(c.oprleft, None))
    right = func.format_type(c.oprright, None)
    types = glued("(", func.coalesce(left, "NONE"), ", ", right, ")")
    title = glued("OPERATOR ", quoted(namespace.c.nspname), ".", c.oprname, " ", types)
    parts = words_with_commas(
        glued("FUNCTION = ", identified("pg_proc", cast(c.oprcode, OID))),
        glued("LEFTARG = ", left),
        glued("RIGHTARG = ", right),
        glued("COMMUTATOR = ", identified("pg_operator", c.oprcom)),
        glued("NEGATOR = ", identified("pg_operator", c.oprnegate)),
        when(c.oprcanmerge, "MERGES"),
        when(c.oprcanhash, "HASHES"),
        glued("RESTRICT = ", identified("pg_proc", cast(c.oprrest, OID))),
        glued("JOIN = ", identified("pg_proc", cast(c.oprjoin, OID))),
    )
    return in_schema(
        rows,
        "operator",
        glued(c.oprname, types),
        title,
        words("CREATE", title, glued("(\n    ", parts, "\n)")),
        schema="oprnamespace",
        owner="oprowner",
        raw=row_of(rows),
    ).where(c.oprcode != 0)


def _members(of_class: Any, oid: Any) -> Piece:
    """The operators and functions of an operator family or class, of which ``of_class`` is the catalog and ``oid``."""
    parts = []
    for class_oid in (CLASSES["pg_amop"], CLASSES["pg_amproc"]):
        text = func.pg_describe_object(class_oid, depend.c.objid, 0)
        parts.append(
            select(listed(text, cast(text, Text).collate("C"), separator="\n"))
            .where(
                depend.c.classid == class_oid,
                depend.c.refclassid == CLASSES[of_class],
                depend.c.refobjid == oid,
                depend.c.deptype.in_(("i", "a")),
            )
            .scalar_subquery()
        )
    return func.nullif(lines(*parts), "")


def _operator_families() -> Select[Any]:
    rows = catalog("pg_opfamily", "opfname", "opfnamespace", "opfowner", "opfmethod")
    c = rows.c
    method = func.substr(described("pg_am", c.opfmethod), len("access method ") + 1)
    title = glued("OPERATOR FAMILY ", qualified(namespace.c.nspname, c.opfname), " USING ", method)
    return in_schema(
        rows,
        "operator family",
        glued(c.opfname, " USING ", method),
        title,
        words("CREATE", title),
        schema="opfnamespace",
        owner="opfowner",
        tail=_members("pg_opfamily", c.oid),
        raw=words(row_of(rows), _members("pg_opfamily", c.oid)),
    )


def _operator_classes() -> Select[Any]:
    rows = catalog(
        "pg_opclass",
        *("opcname", "opcnamespace", "opcowner", "opcmethod", "opcfamily", "opcintype", "opckeytype"),
        flags=("opcdefault",),
    )
    c = rows.c
    method = func.substr(described("pg_am", c.opcmethod), len("access method ") + 1)
    title = glued("OPERATOR CLASS ", qualified(namespace.c.nspname, c.opcname), " USING ", method)
    text = words(
        "CREATE",
        title,
        when(c.opcdefault, "DEFAULT"),
        glued("FOR TYPE ", func.format_type(c.opcintype, None)),
        glued("FAMILY ", identified("pg_opfamily", c.opcfamily)),
        when(c.opckeytype != 0, glued("STORAGE ", func.format_type(c.opckeytype, None))),
    )
    return in_schema(
        rows,
        "operator class",
        glued(c.opcname, " USING ", method),
        title,
        text,
        schema="opcnamespace",
        owner="opcowner",
        tail=_members("pg_opclass", c.oid),
        raw=words(row_of(rows), _members("pg_opclass", c.oid)),
    )


def _conversions() -> Select[Any]:
    rows = catalog(
        "pg_conversion",
        *("conname", "connamespace", "conowner", "conforencoding", "contoencoding", "conproc"),
        flags=("condefault",),
    )
    c = rows.c
    title = glued("CONVERSION ", qualified(namespace.c.nspname, c.conname))
    text = words(
        "CREATE",
        when(c.condefault, "DEFAULT"),
        title,
        glued("FOR ", func.quote_literal(func.pg_encoding_to_char(c.conforencoding))),
        glued("TO ", func.quote_literal(func.pg_encoding_to_char(c.contoencoding))),
        glued("FROM ", identified("pg_proc", cast(c.conproc, OID))),
    )
    return in_schema(
        rows, "conversion", c.conname, title, text, schema="connamespace", owner="conowner", raw=row_of(rows)
    )


def _transforms() -> Select[Any]:
    rows = catalog("pg_transform", "trftype", "trflang", "trffromsql", "trftosql")
    c = rows.c
    language = catalog("pg_language", "lanname")
    lang = select(quoted(language.c.lanname)).where(language.c.oid == c.trflang).scalar_subquery()
    own_name = glued("FOR ", func.format_type(c.trftype, None), " LANGUAGE ", lang)
    text = words(
        glued("CREATE TRANSFORM ", own_name),
        glued("FROM SQL WITH FUNCTION ", identified("pg_proc", cast(c.trffromsql, OID))),
        glued("TO SQL WITH FUNCTION ", identified("pg_proc", cast(c.trftosql, OID))),
    )
    return by_itself(rows, "transform", own_name, glued("TRANSFORM ", own_name), text, raw=row_of(rows))


def _access_methods() -> Select[Any]:
    rows = catalog("pg_am", "amname", "amhandler", "amtype")
    c = rows.c
    title = glued("ACCESS METHOD ", quoted(c.amname))
    text = words(
        "CREATE",
        title,
        glued("TYPE ", case({"t": "TABLE"}, value=c.amtype, else_="INDEX")),
        glued("HANDLER ", identified("pg_proc", cast(c.amhandler, OID))),
    )
    return by_itself(rows, "access method", c.amname, title, text, raw=row_of(rows))
