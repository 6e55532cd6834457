from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from snapkit.core.plans.identity import AlteredMeanwhileError, check_facts_found, check_names_found, facts_of
from snapkit.errors import BusyError
from tests.unit.builders import make_database

STATE = "Nothing was changed."
SHOP = facts_of(make_database("shop"), "The shop's")


def test_databases_that_are_what_they_were_are_let_pass() -> None:
    check_names_found({7: "shop", 8: "green"}, {7: "shop", 8: "green", 9: "blue"}, STATE)
    check_facts_found({7: SHOP}, {7: replace(SHOP)}, STATE)


@pytest.mark.parametrize(
    ("found", "was"), [({7: "blue", 8: "shop"}, "renamed to 'blue'"), ({8: "shop"}, "dropped or replaced")]
)
def test_a_name_that_belongs_to_another_database_stops_the_transaction(found: dict[int, str], was: str) -> None:
    with pytest.raises(BusyError, match="'shop' is no longer the same database") as caught:
        check_names_found({7: "shop"}, found, STATE)
    assert was in caught.value.message
    assert (caught.value.state, "snapkit list" in (caught.value.hint or "")) == (STATE, True)
    with pytest.raises(BusyError, match="is no longer the same database") as caught:
        check_facts_found({7: SHOP}, {oid: replace(SHOP, name=name) for oid, name in found.items()}, STATE)
    assert not isinstance(caught.value, AlteredMeanwhileError), "to read it again would not help"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("owner", "mallory"),
        ("allow_connections", False),
        ("connection_limit", -2),
        ("is_template", True),
        ("comment", "a newer one"),
        ("comment", None),
    ],
)
def test_whatever_was_altered_meanwhile_is_named(field: str, value: Any) -> None:
    with pytest.raises(
        AlteredMeanwhileError, match=f"Somebody has changed 'shop' meanwhile: {field.replace('_', ' ')}."
    ) as caught:
        check_facts_found({7: SHOP}, {7: replace(SHOP, **{field: value})}, STATE)
    assert caught.value.state == STATE
