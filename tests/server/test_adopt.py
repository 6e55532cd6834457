"""Adopt, on a real server."""

from __future__ import annotations

from datetime import UTC, datetime

import psycopg
import pytest
from psycopg import sql

from snapkit.core.inventory.kinds import Kind, State
from snapkit.errors import NotFoundError, UsageError
from snapkit.services.adopt import adopt_entry
from tests.sandbox import LOCK_WAIT, Sandbox, wait_until


@pytest.mark.command("adopt")
def test_adopt_seals_dates_and_takes_the_sources_properties(sandbox: Sandbox) -> None:
    name = f"{sandbox.name}_backup_20260110_103045"
    template = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(sandbox.name))
    sandbox.execute(template)
    source = sql.Identifier(sandbox.name)
    sandbox.execute(sql.SQL("ALTER DATABASE {} SET work_mem TO '7MB'").format(source))
    sandbox.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(source))
    sandbox.execute(sql.SQL("COMMENT ON DATABASE {} IS 'the shop'").format(source))
    with sandbox.connect(name):
        report = adopt_entry(sandbox.server(), name, LOCK_WAIT)
        wait_until(lambda: sandbox.sessions(name) == 0)
    assert (report.entry.state, report.entry.kind, report.cautions) == (State.READY, Kind.BACKUP, ())
    assert report.entry.created_at == datetime(2026, 1, 10, 10, 30, 45, tzinfo=UTC)
    assert sandbox.row(name)["acl"] == sandbox.row(sandbox.name)["acl"]
    with pytest.raises(psycopg.OperationalError):
        sandbox.connect(name)
    sandbox.roll_back()
    assert sandbox.row(sandbox.name)["comment"] == "the shop"
    with sandbox.connect() as client:
        assert client.execute("SHOW work_mem").fetchone() == ("7MB",)


def test_adopt_refuses_a_stranger_and_is_content_with_what_is_ours(sandbox: Sandbox) -> None:
    stranger = f"{sandbox.prefix}_other"
    sandbox.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(stranger)))
    with pytest.raises(UsageError, match="original script"):
        adopt_entry(sandbox.server(), stranger, LOCK_WAIT)
    with pytest.raises(NotFoundError):
        adopt_entry(sandbox.server(), "no_such_database", LOCK_WAIT)
    ours = sandbox.back_up().backup.name
    report = adopt_entry(sandbox.server(), ours, LOCK_WAIT)
    assert [caution.code for caution in report.cautions] == ["already_managed"]
