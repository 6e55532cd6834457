"""Who runs snapkit."""

from __future__ import annotations

import os

import pytest

from snapkit.processes.caller import host_name, login_name, process_user


def test_the_process_is_known_by_number_at_least(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "somebody else")
    assert process_user() != "somebody else"
    monkeypatch.setattr(os, "getuid", lambda: 3_999_999_999)
    assert process_user() == "3999999999"


def test_who_has_logged_in_may_have_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "alice")
    assert login_name() == "alice"
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 3_999_999_999)
    assert login_name() is None


def test_a_machine_may_have_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> str:
        raise OSError

    assert host_name()
    monkeypatch.setattr("socket.gethostname", fail)
    assert host_name() is None
