from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapkit.core.carrying.three_versions import (
    OWN,
    TOUCHED,
    UNTOUCHED,
    Action,
    AtBoundary,
    Decision,
    Fit,
    Values,
    decide,
    fit,
)

A, B, C, D = ("1", "old"), ("1", "new"), ("2", "old"), ("2", "new")


def known(values: Values | None) -> AtBoundary:
    return AtBoundary(is_known=True, values=values)


@pytest.mark.parametrize(
    ("backup", "boundary", "now", "action", "columns", "merged"),
    [
        (None, UNTOUCHED, A, Action.INSERT, (), False),
        (A, UNTOUCHED, B, Action.UPDATE, (1,), False),
        (A, UNTOUCHED, None, Action.DELETE, (), False),
        (A, UNTOUCHED, A, Action.NOTHING, (), False),
        (None, UNTOUCHED, None, Action.NOTHING, (), False),
        # Written while the command ran, and not since.
        (A, known(B), B, Action.LEAVE, (), False),
        (None, known(A), A, Action.LEAVE, (), False),
        (A, known(None), None, Action.LEAVE, (), False),
        # Written while it ran, and since.
        (A, known(B), A, Action.NOTHING, (), False),
        (A, known(B), D, Action.UPDATE, (0,), True),
        (A, known(B), C, Action.CONFLICT, (), False),
        (A, known(B), None, Action.CONFLICT, (), False),
        (None, known(A), B, Action.CONFLICT, (), False),
        (None, known(A), None, Action.NOTHING, (), False),
        (A, known(None), B, Action.CONFLICT, (), False),
        (A, known(None), A, Action.NOTHING, (), False),
        # Somebody wrote it while the command ran, and how it was left is not known.
        (A, TOUCHED, B, Action.LEAVE, (), False),
        (None, TOUCHED, A, Action.LEAVE, (), False),
        (A, TOUCHED, None, Action.LEAVE, (), False),
        (A, TOUCHED, A, Action.NOTHING, (), False),
        # Known, and as in the backup.
        (A, known(A), B, Action.UPDATE, (1,), False),
        (A, known(A), None, Action.DELETE, (), False),
        (None, known(None), A, Action.INSERT, (), False),
    ],
)
def test_a_row_in_three_versions(
    backup: Values | None,
    boundary: AtBoundary,
    now: Values | None,
    action: Action,
    columns: tuple[int, ...],
    merged: bool,
) -> None:
    decision = decide(backup, boundary, now)
    assert (decision.action, decision.columns, decision.merged) == (action, columns, merged)
    assert (decision.reason is not None) == (action in (Action.LEAVE, Action.CONFLICT))


def test_what_was_written_while_the_command_ran_is_told_as_such() -> None:
    assert decide(A, known(B), B).reason == OWN


_VALUES = st.tuples(*[st.sampled_from(("0", "1", None))] * 3)
_VERSIONS = st.one_of(st.none(), _VALUES)


@given(_VERSIONS, _VERSIONS, _VERSIONS)
def test_what_is_carried_is_what_clients_wrote_late_and_nothing_of_the_command(
    backup: Values | None, boundary: Values | None, now: Values | None
) -> None:
    decision = decide(backup, known(boundary), now)
    carried = _applied(decision, backup, now)
    if boundary == backup:
        assert carried == now  # the command has done nothing to this row: all of it is the clients'
    if now == boundary:
        assert carried == backup  # clients have done nothing late: nothing is brought
    if carried is not None and backup is not None:
        for was, then, late, brought in zip(backup, boundary or backup, now or backup, carried, strict=True):
            assert brought == was or (brought == late and was == then)  # never a value that the command has written
    if carried != backup:
        assert decision.action in (Action.INSERT, Action.UPDATE, Action.DELETE)
    elif now not in (backup, boundary) and not (backup is None and now is None):
        assert decision.action is Action.CONFLICT  # what is late, and is not brought, is named


@given(_VERSIONS, _VERSIONS, _VERSIONS)
def test_less_knowledge_never_brings_more(backup: Values | None, boundary: Values | None, now: Values | None) -> None:
    """A row of which only that it was touched is known stays aside, or needs nothing."""
    assert decide(backup, TOUCHED, now).action in (Action.LEAVE, Action.NOTHING)


def _applied(decision: Decision, backup: Values | None, now: Values | None) -> Values | None:
    match decision.action:
        case Action.INSERT:
            assert backup is None
            return now
        case Action.DELETE:
            return None
        case Action.UPDATE:
            assert backup is not None and now is not None
            return tuple(now[i] if i in decision.columns else backup[i] for i in range(len(backup)))
        case _:
            return backup


INSERT, DELETE, UPDATE = Decision(Action.INSERT), Decision(Action.DELETE), Decision(Action.UPDATE, (1,))


@pytest.mark.parametrize(
    ("decision", "backup", "now", "live", "expected"),
    [
        (INSERT, None, A, None, Fit.FITS),
        (INSERT, None, A, A, Fit.DONE),
        (INSERT, None, A, B, Fit.TAKEN),
        (DELETE, A, None, A, Fit.FITS),
        (DELETE, A, None, None, Fit.DONE),
        (DELETE, A, None, B, Fit.CHANGED),
        (UPDATE, A, B, A, Fit.FITS),
        (UPDATE, A, B, C, Fit.FITS),  # another column was changed since
        (UPDATE, A, B, B, Fit.DONE),
        (UPDATE, A, B, ("1", "third"), Fit.CHANGED),
        (UPDATE, A, B, None, Fit.GONE),
    ],
)
def test_the_live_row_must_be_what_the_decision_was_made_for(
    decision: Decision, backup: Values | None, now: Values | None, live: Values | None, expected: Fit
) -> None:
    assert fit(decision, backup, now, live) is expected


def test_only_what_can_be_known_is_compared() -> None:
    with pytest.raises(ValueError, match="zip"):
        decide(("1",), UNTOUCHED, ("1", "2"))
