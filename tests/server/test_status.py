"""``snapkit status``, for a monitor."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from psycopg import sql

from tests.sandbox import Sandbox, run_snapkit


def _make_older(sandbox: Sandbox, name: str, by: timedelta) -> None:
    """Have a backup say that it was made earlier than it was."""
    document = json.loads(sandbox.row(name)["comment"])
    at = datetime.fromisoformat(document["created_at"]) - by
    text = json.dumps(document | {"created_at": at.strftime("%Y-%m-%dT%H:%M:%SZ")}, separators=(",", ":"))
    statement = sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), sql.Literal(text))
    sandbox.execute(statement)


def _of(data: dict[str, Any], source: str) -> dict[str, Any]:
    (status,) = (each for each in data["sources"] if each["source"] == source)
    assert isinstance(status, dict)
    return status


@pytest.mark.command("status")
def test_young_too_old_and_none(sandbox: Sandbox) -> None:
    ran = sandbox.run("status", "--max-age", "24h", "--json")
    assert (ran.code, ran.document["status"], ran.document["error"]["code"]) == (10, "error", "not_found")
    status = _of(ran.document["data"], sandbox.name)
    assert (status["ok"], status["backups"], status["newest"], status["age_ms"]) == (False, 0, None, None)
    assert sandbox.run("status").code == 0

    name = sandbox.back_up().backup.name
    ran = sandbox.run("status", "--max-age", "24h", "--json")
    assert ran.data["max_age_ms"] == 86_400_000
    status = _of(ran.data, sandbox.name)
    assert (ran.code, status["ok"], status["backups"], status["newest"]["name"]) == (0, True, 1, name)
    assert 0 <= status["age_ms"] < 3_600_000
    assert status["backups_size_bytes"] is None

    _make_older(sandbox, name, timedelta(hours=25))
    ran = sandbox.run("status", "--max-age", "24h", "--json")
    assert (ran.code, ran.document["error"]["code"]) == (1, "failed")
    assert _of(ran.document["data"], sandbox.name)["ok"] is False
    ran = sandbox.run("status", "--max-age", "24h")
    assert ran.code == 1
    assert (name in ran.out, "too old" in ran.out, "1 day ago" in ran.out) == (True, True, True)
    assert f"The newest backup of '{sandbox.name}' is older than 1d (max-age)." in ran.err
    ran = sandbox.run("status", "--json")
    assert (ran.code, _of(ran.data, sandbox.name)["ok"]) == (0, None)


def test_the_limit_may_stand_in_the_settings(sandbox: Sandbox, tmp_path: Path) -> None:
    _make_older(sandbox, sandbox.back_up().backup.name, timedelta(hours=25))
    (tmp_path / "snapkit.toml").write_text('max-age = "24h"\n')
    assert run_snapkit("status", url=sandbox.url, cwd=tmp_path).code == 1
    assert run_snapkit("status", url=sandbox.url, cwd=tmp_path, SNAPKIT_MAX_AGE="2d").code == 0
    assert run_snapkit("status", "--max-age", "0s", url=sandbox.url).code == 2


def test_all_sources_and_their_sizes(sandbox: Sandbox) -> None:
    other = f'{sandbox.prefix}_it\'s "other" \\ one'
    sandbox.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(other)))
    sandbox.back_up()
    assert sandbox.run("backup", url=sandbox.cluster.url(other)).code == 0
    sandbox.roll_back()  # and so its only backup is used up
    ran = sandbox.run("status", "--all", "--sizes", "--max-age", "1h", "--json")
    assert (ran.code, ran.document["error"]["code"]) == (10, "not_found")
    assert repr(sandbox.name) in ran.document["error"]["message"]
    data = ran.document["data"]
    assert (_of(data, sandbox.name)["ok"], _of(data, other)["ok"]) == (False, True)
    assert _of(data, other)["backups_size_bytes"] > 0
    assert _of(data, sandbox.name)["old_size_bytes"] > 0
    text = sandbox.run("status", "--all", "--sizes", "--max-age", "1h").out
    assert ("no backup" in text, "OLD SIZE" in text) == (True, True)

    ran = sandbox.run("status", "--all", "--sizes", "--prometheus", "--max-age", "1h")
    assert ran.code == 10
    samples = {
        (sample.name, sample.labels["source"], sample.labels.get("kind")): sample.value
        for family in text_string_to_metric_families(ran.out)
        for sample in family.samples
    }
    assert samples["snapkit_backups", other, None] == 1
    assert samples["snapkit_backups", sandbox.name, None] == 0
    assert samples["snapkit_size_bytes", other, "backup"] == _of(data, other)["backups_size_bytes"]
    newest = datetime.fromisoformat(_of(data, other)["newest"]["created_at"])
    assert samples["snapkit_backup_last_success_timestamp_seconds", other, None] == newest.timestamp()
    assert ("snapkit_backup_age_seconds", sandbox.name, None) not in samples


def test_what_cannot_be_told(sandbox: Sandbox) -> None:
    assert sandbox.run("status", "--json", "--prometheus").code == 2
    ran = sandbox.run("status", "--json", url=sandbox.cluster.url(f"{sandbox.prefix}_misspelt"))
    assert (ran.code, ran.document["error"]["code"], ran.document["data"]) == (10, "not_found", None)
    ran = run_snapkit("status", "--prometheus", url="postgresql://app@127.0.0.1:1/app")
    assert (ran.code, ran.out) == (12, "")
