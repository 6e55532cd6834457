"""Privileges, comments and security labels as definitions of their own: each belongs to the object it is said of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import NamedTuple

from snapkit.core.comparison.schema.defined_objects import Definition


class Granted(NamedTuple):
    """Some privileges of one grantee on an object: granted (``way`` GRANT), or of the usual ones revoked (REVOKE).

    ``title`` is how a statement names the object; ``who`` the end of the statement.
    """

    address: str
    title: str
    way: str
    privileges: str
    who: str


class Remark(NamedTuple):
    """A comment on an object, or a security label with its provider, as a literal."""

    address: str
    provider: str
    text: str


class Alias(NamedTuple):
    """An object that is told as another one."""

    address: str
    told_as: str
    title: str


def privileges_of(
    granted: Iterable[Granted], objects: Mapping[str, Definition], aliases: Mapping[str, Alias]
) -> Iterator[Definition]:
    """Make one definition for all privileges on an object, those of PostgreSQL and of extensions included."""
    for address, rows in groupby(granted, lambda each: each.address):
        all_rows = list(rows)
        target = _target(address, objects, aliases)
        title = target.title if target else all_rows[0].title
        text = "\n".join(f"{each.way} {each.privileges} ON {title} {each.who};" for each in all_rows)
        raw = "\n".join(f"{each.way} {each.privileges} {each.who}" for each in all_rows)
        yield _said("privilege", address, target, title, text, raw=raw)


def default_privileges_of(granted: Iterable[Granted]) -> Iterator[Definition]:
    for address, rows in groupby(granted, lambda each: each.address):
        all_rows = list(rows)
        kind, _, whose = all_rows[0].title.partition(" FOR ")
        text = "\n".join(
            f"ALTER DEFAULT PRIVILEGES FOR {whose} {each.way} {each.privileges} ON {kind} {each.who};"
            for each in all_rows
        )
        yield Definition(
            f"{address} default", "privilege", None, (f"default on {kind} for {whose}",), "", text, raw=text
        )


def comments_of(
    remarks: Iterable[Remark], objects: Mapping[str, Definition], aliases: Mapping[str, Alias]
) -> Iterator[Definition]:
    for each in remarks:
        if target := _target(each.address, objects, aliases):
            title = target.title
            yield _said("comment", each.address, target, title, f"COMMENT ON {title} IS {each.text};", raw=each.text)


def labels_of(
    remarks: Iterable[Remark], objects: Mapping[str, Definition], aliases: Mapping[str, Alias]
) -> Iterator[Definition]:
    for each in remarks:
        if target := _target(each.address, objects, aliases):
            text = f"SECURITY LABEL FOR {each.provider} ON {target.title} IS {each.text};"
            at = f"{each.address} {each.provider}"
            yield _said("security label", at, target, target.title, text, raw=each.text)


def _target(address: str, objects: Mapping[str, Definition], aliases: Mapping[str, Alias]) -> Definition | None:
    """The object that something is said of, under its own title; None if it is no user's."""
    if found := objects.get(address):
        return found
    if alias := aliases.get(address):
        told_as = objects.get(alias.told_as)
        return told_as and told_as._replace(title=alias.title)
    return objects.get(address.rpartition(".")[0] + ".0")


def _said(kind: str, address: str, target: Definition | None, title: str, text: str, *, raw: str) -> Definition:
    if target is None:
        return Definition(f"{address} {kind}", kind, None, (title,), title, text, raw=raw)
    return Definition(
        f"{address} {kind}",
        kind,
        target.schema,
        target.path,
        title,
        text,
        raw=raw,
        scope=target.address,
        parent=target.address,
    )
