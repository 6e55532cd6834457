"""The answer to COMMIT, or the connection, is lost: what is said agrees with what happened."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from snapkit.errors import ConnectionFailedError, UnknownOutcomeError
from snapkit.postgres.connection.driver import DriverConnection
from snapkit.postgres.sql import stall_watch
from snapkit.services.backup import BackupReceipt, BackupRequest, back_up
from snapkit.services.rollback import SwapRequest, swap
from snapkit.services.run import commit_outcome
from tests.cluster import PASSWORD, SUPERUSER
from tests.gate import Action, Gate, Phase
from tests.sandbox import LOCK_WAIT, Sandbox

pytestmark = pytest.mark.any_version

LOSSES = (Phase.BEFORE, Phase.AFTER)


@pytest.fixture
def through_gate(sandbox: Sandbox) -> Callable[..., Any]:
    """Return a way to reach the source through a gate that loses a connection at a statement."""

    @contextmanager
    def open_gate(
        trigger: str, loss: Phase, *, stay_down: bool = False, action: Action = Action.CUT, occurrence: int = 1
    ) -> Iterator[str]:
        gate = Gate(
            sandbox.cluster.port,
            lambda point: loss if trigger in point.label and point.occurrence >= occurrence else None,
            lambda link, point: action,
            stay_down=stay_down,
        )
        try:
            yield f"postgresql://{SUPERUSER}:{PASSWORD.replace('%', '%25')}@127.0.0.1:{gate.port}/{sandbox.name}"
            assert gate.reached.is_set()
        finally:
            gate.close()

    return open_gate


def _back_up(sandbox: Sandbox, url: str) -> BackupReceipt:
    return back_up(sandbox.server(url), BackupRequest(), LOCK_WAIT, lambda progress: None)


def _roll_back(sandbox: Sandbox, url: str) -> object:
    return swap(sandbox.server(url), SwapRequest(), LOCK_WAIT, lambda progress: None)


@pytest.mark.promise("a lost answer to COMMIT is asked for")
def test_a_rollback_whose_answer_is_lost_is_found_to_have_gone_through(
    sandbox: Sandbox, through_gate: Callable[..., Any]
) -> None:
    before = sandbox.items()
    sandbox.back_up()
    sandbox.ruin()
    with through_gate("COMMIT", Phase.AFTER) as url:
        _roll_back(sandbox, url)
    assert sandbox.items() == before


@pytest.mark.parametrize("loss", LOSSES)
def test_a_connection_that_falls_silent_is_given_up_and_the_server_is_told(
    sandbox: Sandbox, through_gate: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, loss: Phase
) -> None:
    """The server does not hear of the loss: its session would hold the lock until its keepalive notices."""
    monkeypatch.setattr(DriverConnection, "answer_limit", timedelta(seconds=1))
    before = sandbox.items()
    sandbox.back_up()
    sandbox.ruin()
    ruined = sandbox.items()
    with through_gate("COMMIT", loss, action=Action.STALL) as url:
        if loss is Phase.AFTER:
            _roll_back(sandbox, url)
        else:
            with pytest.raises(ConnectionFailedError):
                _roll_back(sandbox, url)
    assert sandbox.items() == (before if loss is Phase.AFTER else ruined)


def test_a_rollback_whose_commit_never_arrived_is_found_not_to_have_gone_through(
    sandbox: Sandbox, through_gate: Callable[..., Any]
) -> None:
    sandbox.back_up()
    sandbox.ruin()
    ruined = sandbox.items()
    names = sandbox.databases()
    with through_gate("COMMIT", Phase.BEFORE) as url, pytest.raises(ConnectionFailedError) as caught:
        _roll_back(sandbox, url)
    assert caught.value.state is not None
    assert "Nothing was changed" in caught.value.state
    assert sandbox.items() == ruined
    assert sandbox.databases() == names


@pytest.mark.parametrize("loss", LOSSES)
def test_a_rollback_that_cannot_ask_any_more_says_so_and_what_to_look_at(
    sandbox: Sandbox, through_gate: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, loss: Phase
) -> None:
    monkeypatch.setattr(commit_outcome, "PATIENCE", timedelta(seconds=1))
    backup = sandbox.back_up().backup
    with through_gate("COMMIT", loss, stay_down=True) as url, pytest.raises(UnknownOutcomeError) as caught:
        _roll_back(sandbox, url)
    assert caught.value.state is not None
    assert f"OID {backup.database.oid} is named '{sandbox.name}'" in caught.value.state


def test_a_backup_whose_answer_is_lost_is_found_to_be_complete(
    sandbox: Sandbox, through_gate: Callable[..., Any]
) -> None:
    with through_gate("COMMIT", Phase.AFTER) as url:
        receipt = _back_up(sandbox, url)
    assert len(sandbox.entries()) == 1
    assert receipt.backup.size_bytes
    assert not receipt.cautions


@pytest.mark.parametrize("action", [Action.CUT, Action.STALL])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_backup_whose_size_cannot_be_had_is_complete(
    sandbox: Sandbox, through_gate: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, loss: Phase, action: Action
) -> None:
    monkeypatch.setattr(stall_watch, "SILENCE", timedelta(milliseconds=200))
    with through_gate("pg_database_size", loss, action=action, occurrence=2) as url:
        receipt = _back_up(sandbox, url)
    assert len(sandbox.entries()) == 1
    assert receipt.backup.size_bytes is None
    assert [caution.code for caution in receipt.cautions] == ["size_unknown"]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("trigger", ["COMMIT", "COMMENT ON DATABASE", "RENAME TO"])
def test_a_backup_that_was_lost_on_the_way_leaves_nothing(
    sandbox: Sandbox, through_gate: Callable[..., Any], trigger: str, loss: Phase
) -> None:
    if (trigger, loss) == ("COMMIT", Phase.AFTER):
        pytest.skip("that one is complete")
    with through_gate(trigger, loss) as url, pytest.raises(ConnectionFailedError) as caught:
        _back_up(sandbox, url)
    assert caught.value.state is not None
    assert "No backup was made" in caught.value.state
    assert sandbox.databases() == [sandbox.name]


def test_a_rollback_whose_clone_is_lost_has_changed_nothing(sandbox: Sandbox, through_gate: Callable[..., Any]) -> None:
    backup = sandbox.back_up().backup.name
    sandbox.ruin()
    ruined = sandbox.items()
    with through_gate("CREATE DATABASE", Phase.BEFORE) as url, pytest.raises(ConnectionFailedError) as caught:
        swap(sandbox.server(url), SwapRequest(keep_backup=True), LOCK_WAIT, lambda progress: None)
    assert caught.value.state is not None
    assert caught.value.state.startswith(f"Nothing was changed; '{sandbox.name}' is as it was.")
    assert sandbox.items() == ruined
    assert sandbox.databases() == sorted((sandbox.name, backup))


def test_a_clone_that_the_server_finishes_alone_is_swept_by_the_next_backup(
    sandbox: Sandbox, through_gate: Callable[..., Any]
) -> None:
    with through_gate("CREATE DATABASE", Phase.AFTER) as url, pytest.raises(ConnectionFailedError):
        _back_up(sandbox, url)
    receipt = sandbox.back_up()
    assert sandbox.databases() == [sandbox.name, receipt.backup.name]


@pytest.mark.parametrize(
    "trigger",
    ["ALLOW_CONNECTIONS", pytest.param("RENAME TO", marks=pytest.mark.promise("a rollback is one transaction"))],
)
def test_a_rollback_that_was_lost_before_commit_has_changed_nothing(
    sandbox: Sandbox, through_gate: Callable[..., Any], trigger: str
) -> None:
    sandbox.back_up()
    names = sandbox.databases()
    with through_gate(trigger, Phase.AFTER) as url, pytest.raises(ConnectionFailedError):
        _roll_back(sandbox, url)
    assert sandbox.databases() == names
    assert sandbox.items()
    assert sandbox.row(sandbox.name)["comment"] is None
