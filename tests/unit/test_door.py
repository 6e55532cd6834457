"""How often somebody looks whether a database is empty."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from snapkit.postgres.outage.door import _interval

seconds = st.floats(0, 60)


def test_in_the_first_moments_each_millisecond_counts_at_the_beginning_and_when_the_last_leaves() -> None:
    assert _interval(0.0, 0.0, is_held=False) == _interval(0.3, 0.02, is_held=True) < _interval(0.3, 0.3, is_held=True)


@given(held_for=seconds, calm_for=seconds, is_held=st.booleans())
def test_a_long_grace_is_no_burden_to_the_server(held_for: float, calm_for: float, is_held: bool) -> None:
    """Somebody is inside all the time, then; fifty looks a second are enough."""
    if held_for >= 0.5:
        assert _interval(held_for, calm_for, is_held=is_held) >= 0.02


@given(held_for=seconds, calm_for=seconds, longer=seconds, is_held=st.booleans())
def test_the_longer_it_is_quiet_the_rarer_are_the_looks(
    held_for: float, calm_for: float, longer: float, is_held: bool
) -> None:
    now, later = _interval(held_for, calm_for, is_held=is_held), _interval(held_for, calm_for + longer, is_held=is_held)
    assert now <= later
