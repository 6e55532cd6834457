"""What an error says."""

from __future__ import annotations

import pytest

from snapkit.errors import (
    NOTHING_CHANGED,
    BusyError,
    ConnectionFailedError,
    DiskFullError,
    InterruptedRunError,
    NotFoundError,
    PrivilegeError,
    SnapkitError,
    Unchanged,
    UnknownOutcomeError,
    UsageError,
)


@pytest.mark.parametrize(
    "kind",
    [
        UsageError,
        NotFoundError,
        BusyError,
        ConnectionFailedError,
        PrivilegeError,
        DiskFullError,
        UnknownOutcomeError,
        InterruptedRunError,
    ],
)
def test_every_error_says_what_happened_the_state_and_what_to_do(kind: type[SnapkitError]) -> None:
    error = kind("It broke.", state="Nothing was changed.", hint="Mend it.")
    assert (str(error), error.message, error.state, error.hint) == (
        "It broke.",
        "It broke.",
        "Nothing was changed.",
        "Mend it.",
    )
    assert (kind("It broke.").state, kind("It broke.").hint) == (None, None)
    assert isinstance(error, SnapkitError)


def test_whether_anything_was_changed_is_no_matter_of_words() -> None:
    added = NOTHING_CHANGED + " Its clients wait."
    assert added == "Nothing was changed. Its clients wait."
    for state in (None, NOTHING_CHANGED, added, Unchanged("It is as it was.")):
        assert SnapkitError("It broke.", state=state).changed_nothing
    assert not SnapkitError("It broke.", state="Nothing was changed.").changed_nothing
    error = SnapkitError("It broke.", state=NOTHING_CHANGED)
    error.state = "The clone is left."
    assert not error.changed_nothing
