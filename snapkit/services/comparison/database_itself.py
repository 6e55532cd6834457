"""The settings, privileges, comment and owner of the databases that are compared.

An entry keeps those of its source, and its document notes what of them is otherwise while it is sealed or open.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from snapkit.core.comparison.schema.database_itself import DatabaseItself
from snapkit.core.inventory.metadata import Metadata, decode
from snapkit.core.inventory.opened import Opened
from snapkit.core.plans.not_given import recall
from snapkit.core.plans.opening import CONNECT, READ_ONLY, named
from snapkit.core.plans.properties import Privilege, Properties, Setting, default_privileges
from snapkit.core.values import dataclass
from snapkit.postgres.catalog import databases
from snapkit.postgres.connection.server import Connection
from snapkit.postgres.copying.moment import names_of_roles


@dataclass(frozen=True, slots=True)
class _Found:
    """A database's properties as they are while it is not open, its own comment, and what it could not be given."""

    properties: Properties
    comment: str | None
    not_given: tuple[str, ...]


def databases_themselves(before: Connection, after: Connection) -> tuple[DatabaseItself, DatabaseItself]:
    """Return both connected databases as a whole.

    What one of them could not be given when it was made is taken to be as in the other.
    """
    one, other = _found(before), _found(after)
    return _itself(one, other), _itself(other, one)


def _found(connection: Connection) -> _Found:
    oid = databases.own_database(connection)
    comment, properties = databases.comment_of(connection, oid), databases.read_properties(connection, oid)
    document = decode(comment)
    if not isinstance(document, Metadata):
        return _Found(properties, comment, ())
    if document.opened is not None:
        properties = _as_sealed(connection, properties, document.opened)
    return _Found(properties, document.comment, document.not_given)


def _as_sealed(connection: Connection, present: Properties, opened: Opened) -> Properties:
    """Return the properties of an open entry as they were before it was opened."""
    oids = {oid for grant in opened.connect for oid in (grant.grantor, grant.grantee)}
    others = {each for each in present.privileges or () if each.privilege != CONNECT}
    settings = {each for each in present.settings if each.role or each.parameter != READ_ONLY}
    if opened.read_only is not None:
        settings.add(Setting("", READ_ONLY, opened.read_only))
    return replace(
        present,
        privileges=frozenset(others | named(opened.connect, names_of_roles(connection, oids))),
        settings=frozenset(settings),
    )


def _itself(found: _Found, other: _Found) -> DatabaseItself:
    own, lacking = found.properties, recall(found.not_given, found.properties, other.properties).wanted
    usual = default_privileges(own.owner)
    held = (usual if own.privileges is None else own.privileges) | (lacking.privileges or frozenset())
    return DatabaseItself(
        owner=own.owner,
        comment=found.comment,
        connection_limit=own.connection_limit,
        settings=frozenset((each.role, each.parameter, each.value) for each in own.settings | lacking.settings),
        privileges=frozenset((*_said("GRANT", held - usual, own.owner), *_said("REVOKE", usual - held, own.owner))),
        labels=frozenset((each.provider, each.label) for each in own.security_labels | lacking.security_labels),
    )


def _said(way: str, privileges: frozenset[Privilege], owner: str) -> Iterator[str]:
    for each in privileges:
        whom = f"{'TO' if way == 'GRANT' else 'FROM'} {each.grantee or 'PUBLIC'}"
        option = " WITH GRANT OPTION" if each.grantable else ""
        by = "" if each.grantor == owner else f" GRANTED BY {each.grantor}"
        yield f"{way} {each.privilege} ON DATABASE {whom}{option}{by};"
