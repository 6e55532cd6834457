"""Databases are known by OID: whoever renames or alters them meanwhile makes a run fail with nothing changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import pytest
from psycopg import sql

from snapkit.core.identity import AlteredMeanwhileError
from snapkit.errors import BusyError
from snapkit.services.inventory import label_entry, pin_entry, unpin_entry
from tests.cluster import PASSWORD
from tests.gate import Action, Gate, Phase, Point
from tests.sandbox import LOCK_WAIT, Sandbox

pytestmark = pytest.mark.any_version


@contextmanager
def _stopped_at(box: Sandbox, owner: str, is_it: Callable[[Point], bool], then: Callable[[], object]) -> Iterator[str]:
    """Yield a URL by which ``then`` happens once, just before the server gets a statement."""
    raised: list[Exception] = []

    def act(link: object, point: Point) -> Action:
        try:
            then()
        except Exception as error:  # it would be lost in a thread of the gate's
            raised.append(error)
        return Action.GO

    gate = Gate(box.cluster.port, lambda point: Phase.BEFORE if is_it(point) else None, act)
    try:
        yield f"postgresql://{owner}:{quote(PASSWORD, safe='')}@127.0.0.1:{gate.port}/{box.name}"
        assert not raised, raised
        assert gate.reached.is_set()
    finally:
        gate.close()


def _owner(box: Sandbox) -> str:
    """Give the source to an ordinary owner; return its name."""
    role = box.role("owner", f"LOGIN CREATEDB PASSWORD '{PASSWORD}'")
    box.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(box.name), sql.Identifier(role)))
    return role


def _exchange(box: Sandbox, one: str, other: str) -> None:
    """Give two databases each other's names."""
    rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
    between = sql.Identifier(f"{box.prefix}_between")
    box.execute(rename.format(sql.Identifier(one), between))
    box.execute(rename.format(sql.Identifier(other), sql.Identifier(one)))
    box.execute(rename.format(between, sql.Identifier(other)))


def _rows(box: Sandbox) -> dict[Any, dict[str, Any]]:
    """Return all that pg_database says of each database, by OID; not when that was written."""
    return {box.row(name)["oid"]: {"name": name, **box.row(name)} for name in box.databases()}


def _comments_on(name: str) -> Callable[[Point], bool]:
    return lambda point: point.label.startswith(f'COMMENT ON DATABASE "{name}"')


CHANGES: dict[str, Callable[..., Any]] = {
    "pin": lambda server, name: pin_entry(server, name, None, LOCK_WAIT),
    "unpin": lambda server, name: unpin_entry(server, name, LOCK_WAIT),
    "label": lambda server, name: label_entry(server, name, "x", LOCK_WAIT),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_said_of_an_entry_is_not_written_onto_another_that_has_taken_its_name(
    sandbox: Sandbox, change: str
) -> None:
    owner = _owner(sandbox)
    name, other = sandbox.back_up(label="one").backup.name, sandbox.back_up(label="other", pinned=True).backup.name
    with (
        _stopped_at(sandbox, owner, _comments_on(name), lambda: _exchange(sandbox, name, other)) as url,
        pytest.raises(BusyError, match="is another database") as caught,
    ):
        CHANGES[change](sandbox.server(url), name)
    assert caught.value.state == "The transaction was rolled back: nothing was changed."
    assert {entry.name: entry.label for entry in sandbox.entries()} == {other: "one", name: "other"}
    assert {entry.name: entry.pinned for entry in sandbox.entries()} == {other: False, name: True}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_said_of_an_entry_does_not_write_over_what_was_said_meanwhile(sandbox: Sandbox, change: str) -> None:
    owner = _owner(sandbox)
    name = sandbox.back_up(label="one").backup.name
    write = sql.SQL("COMMENT ON DATABASE {} IS {}")
    newer = sandbox.row(name)["comment"].replace('"one"', '"newer"')
    with (
        _stopped_at(
            sandbox,
            owner,
            _comments_on(name),
            lambda: sandbox.execute(write.format(sql.Identifier(name), sql.Literal(newer))),
        ) as url,
        pytest.raises(AlteredMeanwhileError, match="comment"),
    ):
        CHANGES[change](sandbox.server(url), name)
    assert sandbox.row(name)["comment"] == newer


def test_both_rows_of_an_entry_are_written_by_one_transaction(sandbox: Sandbox) -> None:
    """So that one that somebody else has written to since it was sealed can be told."""
    owner = _owner(sandbox)
    server = sandbox.server(sandbox.cluster.url(sandbox.name, user=owner))
    name = sandbox.back_up().backup.name
    for change in CHANGES.values():
        change(server, name)
        assert _written_together(sandbox, name)


def _written_together(box: Sandbox, name: str) -> bool:
    ((same,),) = box.execute(
        "SELECT d.xmin = s.xmin FROM pg_database AS d JOIN pg_shdescription AS s"
        " ON s.objoid = d.oid AND s.classoid = 'pg_database'::regclass WHERE d.datname = %s",
        name,
    )
    return bool(same)
