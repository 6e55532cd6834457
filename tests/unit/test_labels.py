"""How long a label may be."""

from __future__ import annotations

import pytest

from snapkit.core.inventory.metadata import checked_label, shown_label
from snapkit.errors import UsageError


@pytest.mark.parametrize("label", [None, "", "v42", "ü" * 200])
def test_what_is_short_enough_stays_as_it_is(label: str | None) -> None:
    assert checked_label(label) == label
    assert shown_label(label) == (label or "")


def test_a_longer_one_is_refused_and_one_that_stands_somewhere_is_cut() -> None:
    with pytest.raises(UsageError, match="has 201 characters"):
        checked_label("ü" * 201)
    assert shown_label("ü" * 60_000) == "ü" * 199 + "…"
