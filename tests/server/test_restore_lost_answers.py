"""The answer to a restore's COMMIT is lost: what is said agrees with what happened."""

from __future__ import annotations

from datetime import timedelta

import pytest

from snapkit.core.comparison.patterns import table_pattern
from snapkit.errors import BusyError, ConnectionFailedError, InterruptedRunError, SnapkitError, UnknownOutcomeError
from snapkit.postgres.copying import relay
from snapkit.services.restore import RestoreReceipt, RestoreRequest, prepared_restore
from snapkit.services.restoring import session
from snapkit.services.restoring.staging import RestoreChoice
from tests.cluster import PASSWORD, SUPERUSER
from tests.gate import Action, Gate, Phase, Point
from tests.restoring import counts, do, rows, undo_restore
from tests.sandbox import LOCK_WAIT, Sandbox

pytestmark = pytest.mark.any_version


def _url(box: Sandbox, gate: Gate) -> str:
    return f"postgresql://{SUPERUSER}:{PASSWORD.replace('%', '%25')}@127.0.0.1:{gate.port}/{box.name}"


def _restore(box: Sandbox, loss: Phase, action: Action = Action.CUT, *, stay_down: bool = False) -> RestoreReceipt:
    """Restore the table, and lose the connection at the COMMIT of what is written."""
    box.back_up()
    do(box, "DELETE FROM item WHERE id <= 10")
    is_written = False

    def stops(point: Point) -> Phase | None:
        nonlocal is_written
        is_written |= point.label.startswith("INSERT INTO") and '"public"."item"' in point.label
        return loss if is_written and point.label == "COMMIT" else None

    gate = Gate(box.cluster.port, stops, lambda link, point: action, stay_down=stay_down)
    try:
        request = RestoreRequest(None, RestoreChoice((table_pattern("item"),)))
        with prepared_restore(box.server(_url(box, gate)), request, LOCK_WAIT) as prepared:
            return prepared.apply()
    finally:
        assert gate.reached.is_set()
        gate.close()


@pytest.mark.parametrize("action", [Action.CUT, Action.STALL])
def test_a_restore_that_went_through_is_found_to(
    sandbox: Sandbox, action: Action, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "COMMIT_LIMIT", timedelta(seconds=1))
    receipt = _restore(sandbox, Phase.AFTER, action)
    assert counts(receipt) == {"public.item": (10, 0, 0)}
    assert len(rows(sandbox, "TABLE item")) == 100
    assert counts(undo_restore(sandbox)) == {"public.item": (0, 0, 10)}


@pytest.mark.parametrize("action", [Action.CUT, Action.STALL])
def test_one_that_did_not_has_left_nothing(sandbox: Sandbox, action: Action, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "COMMIT_LIMIT", timedelta(seconds=1))
    with pytest.raises((ConnectionFailedError, SnapkitError)) as error:
        _restore(sandbox, Phase.BEFORE, action)
    assert error.value.changed_nothing
    assert not isinstance(error.value, UnknownOutcomeError)
    assert len(rows(sandbox, "TABLE item")) == 90
    assert rows(sandbox, "SELECT FROM pg_namespace WHERE nspname = 'snapkit_undo'") == []


def test_a_server_that_cannot_be_asked_leaves_it_open(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "PATIENCE", timedelta(seconds=1))
    with pytest.raises(UnknownOutcomeError) as error:
        _restore(sandbox, Phase.AFTER, stay_down=True)
    assert "pg_xact_status" in (error.value.state or "")
    assert len(rows(sandbox, "TABLE item")) == 100


def test_a_row_that_stays_locked_is_waited_for_only_so_long(sandbox: Sandbox) -> None:
    sandbox.back_up()
    do(sandbox, "UPDATE item SET name = 'damaged' WHERE id = 1")
    request = RestoreRequest(None, RestoreChoice((table_pattern("item"),)))
    with (
        prepared_restore(sandbox.server(), request, LOCK_WAIT) as prepared,
        sandbox.connect() as other,
        other.transaction(),
    ):
        other.execute("UPDATE item SET name = 'more' WHERE id = 1")
        with pytest.raises(BusyError) as error:
            prepared.apply()
    assert error.value.changed_nothing


def test_ctrl_c_while_rows_go_straight_changes_nothing(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    do(sandbox, "CREATE TABLE many (id int PRIMARY KEY)", "INSERT INTO many SELECT generate_series(1, 50000)")
    sandbox.back_up()
    do(sandbox, "TRUNCATE many")
    request = RestoreRequest(None, RestoreChoice((table_pattern("many"),)))

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with prepared_restore(sandbox.server(), request, LOCK_WAIT) as prepared:
        monkeypatch.setattr(relay, "_put", interrupted)
        with pytest.raises(InterruptedRunError) as error:
            prepared.apply()
    assert error.value.changed_nothing
    assert rows(sandbox, "SELECT FROM many") == []
    assert not any(entry.opened for entry in sandbox.entries())
