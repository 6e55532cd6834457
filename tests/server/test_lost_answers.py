"""The answer to COMMIT, or the connection, is lost: what is said agrees with what happened."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from snapkit.errors import ConnectionFailedError, UnknownOutcomeError
from snapkit.services import outcome
from snapkit.services.backup import BackupRequest, back_up
from snapkit.services.rollback import SwapRequest, swap
from tests.cluster import PASSWORD, SUPERUSER
from tests.proxy import Loss, Proxy
from tests.sandbox import LOCK_WAIT, Sandbox


@pytest.fixture
def through_proxy(sandbox: Sandbox) -> Callable[..., Any]:
    """Return a way to reach the source through a proxy that loses a connection."""

    @contextmanager
    def open_proxy(trigger: bytes, loss: Loss, **options: bool) -> Iterator[str]:
        proxy = Proxy(sandbox.cluster.port, trigger, loss, **options)
        try:
            yield f"postgresql://{SUPERUSER}:{PASSWORD.replace('%', '%25')}@127.0.0.1:{proxy.port}/{sandbox.name}"
            assert proxy.triggered.is_set()
        finally:
            proxy.close()

    return open_proxy


def _back_up(sandbox: Sandbox, url: str) -> object:
    return back_up(sandbox.server(url), BackupRequest(), LOCK_WAIT, lambda progress: None)


def _roll_back(sandbox: Sandbox, url: str) -> object:
    return swap(sandbox.server(url), SwapRequest(), LOCK_WAIT, lambda progress: None)


def test_a_rollback_whose_answer_is_lost_is_found_to_have_gone_through(
    sandbox: Sandbox, through_proxy: Callable[..., Any]
) -> None:
    before = sandbox.items()
    sandbox.back_up()
    sandbox.ruin()
    with through_proxy(b"COMMIT", Loss.AFTER) as url:
        _roll_back(sandbox, url)
    assert sandbox.items() == before


@pytest.mark.parametrize("loss", list(Loss))
def test_a_server_that_does_not_hear_of_the_loss_is_told(
    sandbox: Sandbox, through_proxy: Callable[..., Any], loss: Loss
) -> None:
    """Its session would hold the lock for hours, until the server's keepalive notices."""
    before = sandbox.items()
    sandbox.back_up()
    sandbox.ruin()
    ruined = sandbox.items()
    with through_proxy(b"COMMIT", loss, linger=True) as url:
        if loss is Loss.AFTER:
            _roll_back(sandbox, url)
        else:
            with pytest.raises(ConnectionFailedError):
                _roll_back(sandbox, url)
    assert sandbox.items() == (before if loss is Loss.AFTER else ruined)


def test_a_rollback_whose_commit_never_arrived_is_found_not_to_have_gone_through(
    sandbox: Sandbox, through_proxy: Callable[..., Any]
) -> None:
    sandbox.back_up()
    sandbox.ruin()
    ruined = sandbox.items()
    names = sandbox.databases()
    with through_proxy(b"COMMIT", Loss.BEFORE) as url, pytest.raises(ConnectionFailedError) as caught:
        _roll_back(sandbox, url)
    assert caught.value.state is not None
    assert "Nothing was changed" in caught.value.state
    assert sandbox.items() == ruined
    assert sandbox.databases() == names


@pytest.mark.parametrize("loss", list(Loss))
def test_a_rollback_that_cannot_ask_any_more_says_so_and_what_to_look_at(
    sandbox: Sandbox, through_proxy: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, loss: Loss
) -> None:
    monkeypatch.setattr(outcome, "PATIENCE", timedelta(seconds=1))
    backup = sandbox.back_up().backup
    with through_proxy(b"COMMIT", loss, stay_down=True) as url, pytest.raises(UnknownOutcomeError) as caught:
        _roll_back(sandbox, url)
    assert caught.value.state is not None
    assert f"OID {backup.database.oid} is named '{sandbox.name}'" in caught.value.state


def test_a_backup_whose_answer_is_lost_is_found_to_be_complete(
    sandbox: Sandbox, through_proxy: Callable[..., Any]
) -> None:
    with through_proxy(b"COMMIT", Loss.AFTER) as url:
        _back_up(sandbox, url)
    assert len(sandbox.entries()) == 1


@pytest.mark.parametrize("loss", list(Loss))
@pytest.mark.parametrize("trigger", [b"COMMIT", b"COMMENT ON DATABASE", b"RENAME TO"])
def test_a_backup_that_was_lost_on_the_way_leaves_nothing(
    sandbox: Sandbox, through_proxy: Callable[..., Any], trigger: bytes, loss: Loss
) -> None:
    if (trigger, loss) == (b"COMMIT", Loss.AFTER):
        pytest.skip("that one is complete")
    with through_proxy(trigger, loss) as url, pytest.raises(ConnectionFailedError) as caught:
        _back_up(sandbox, url)
    assert caught.value.state is not None
    assert "No backup was made" in caught.value.state
    assert sandbox.databases() == [sandbox.name]


def test_a_clone_that_the_server_finishes_alone_is_swept_by_the_next_backup(
    sandbox: Sandbox, through_proxy: Callable[..., Any]
) -> None:
    with through_proxy(b"CREATE DATABASE", Loss.AFTER) as url, pytest.raises(ConnectionFailedError):
        _back_up(sandbox, url)
    receipt = sandbox.back_up()
    assert sandbox.databases() == [sandbox.name, receipt.backup.name]


@pytest.mark.parametrize("trigger", [b"ALLOW_CONNECTIONS", b"RENAME TO"])
def test_a_rollback_that_was_lost_before_commit_has_changed_nothing(
    sandbox: Sandbox, through_proxy: Callable[..., Any], trigger: bytes
) -> None:
    sandbox.back_up()
    names = sandbox.databases()
    with through_proxy(trigger, Loss.AFTER) as url, pytest.raises(ConnectionFailedError):
        _roll_back(sandbox, url)
    assert sandbox.databases() == names
    assert sandbox.items()
    assert sandbox.row(sandbox.name)["comment"] is None
