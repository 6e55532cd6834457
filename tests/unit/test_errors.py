"""What an error says."""

from __future__ import annotations

import pytest

from snapkit.errors import (
    BusyError,
    ConnectionFailedError,
    DiskFullError,
    InterruptedRunError,
    NotFoundError,
    PrivilegeError,
    SnapkitError,
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
