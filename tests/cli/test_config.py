"""``snapkit config`` shows what is in force, where it comes from, and no secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.sandbox import run_snapkit

URL = "postgresql://app:s3cret@127.0.0.1:1/app"


def _settings(*words: str, cwd: Path, **environment: str) -> dict[str, Any]:
    ran = run_snapkit("config", "--json", *words, cwd=cwd, **environment)
    assert "s3cret" not in ran.out + ran.err
    return {each["name"]: (each["value"], each["from"]) for each in ran.data["settings"]}


@pytest.mark.command("config")
def test_each_setting_is_shown_with_where_it_comes_from(tmp_path: Path) -> None:
    (tmp_path / "snapkit.toml").write_text("keep = 7\nmax-age = '1d'\n[hooks]\non-failure = 'notify s3cret'\n")
    (tmp_path / ".env").write_text(f"DATABASE_URL={URL}\nSNAPKIT_KEEP_OLD=2\n")
    settings = _settings("--lock-wait", "3s", cwd=tmp_path, SNAPKIT_MAX_AGE="2d")
    assert settings["keep"] == ("7", "snapkit.toml")
    assert settings["keep-old"] == ("2", ".env")
    assert settings["max-age"] == ("2d", "SNAPKIT_MAX_AGE")
    assert settings["lock-wait"] == ("3s", "--lock-wait")
    assert settings["tablespace"] == (None, "default")
    assert settings["url"][0].endswith("@127.0.0.1:1/app")
    assert settings["url"][1] == ".env DATABASE_URL"


def test_as_text_and_without_a_connection(tmp_path: Path) -> None:
    ran = run_snapkit("config", cwd=tmp_path)
    assert ran.code == 0
    lines = [line.split() for line in ran.out.splitlines()]
    assert lines[0] == ["NAME", "VALUE", "FROM"]
    assert ["url", "not", "set", "default"] in lines
    assert ["lock-wait", "10s", "default"] in lines


def test_what_is_wrong_with_a_setting_is_said(tmp_path: Path) -> None:
    (tmp_path / "snapkit.toml").write_text("keep = 'x'\n")
    ran = run_snapkit("config", cwd=tmp_path)
    assert (ran.code, "keep in snapkit.toml" in ran.err) == (2, True), ran
