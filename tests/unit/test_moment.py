from __future__ import annotations

import pytest

from snapkit.core.copying.moment import Moment, Versions
from snapkit.core.plans.properties import Privilege, Properties, Setting
from tests.unit.builders import make_database, make_properties

READER = Privilege("alice", "reader", "CONNECT", True)
LENT_ON = Privilege("reader", "guest", "CONNECT", False)
PUBLIC = Privilege("alice", "", "TEMPORARY", False)
SETTINGS = frozenset((Setting("reader", "work_mem", "3MB"), Setting("", "work_mem", "5MB")))
OIDS = {"alice": 10, "reader": 11, "guest": 12}


def moment(properties: Properties) -> Moment:
    return Moment(make_database(), None, properties, Versions("1(0,1)", None, None, None), OIDS)


@pytest.mark.parametrize("privileges", [None, frozenset((READER, LENT_ON, PUBLIC))])
def test_roles_that_are_named_as_they_were_change_nothing(privileges: frozenset[Privilege] | None) -> None:
    properties = make_properties(privileges=privileges, settings=SETTINGS)
    assert moment(properties).properties_now({10: "alice", 11: "reader", 12: "guest"}) == properties


def test_roles_that_were_renamed_since_are_called_by_their_new_names() -> None:
    properties = make_properties(privileges=frozenset((READER, LENT_ON, PUBLIC)), settings=SETTINGS)
    assert moment(properties).properties_now({10: "reader", 11: "alice", 12: "guest"}) == make_properties(
        owner="reader",
        privileges=frozenset(
            (
                Privilege("reader", "alice", "CONNECT", True),
                Privilege("alice", "guest", "CONNECT", False),
                Privilege("reader", "", "TEMPORARY", False),
            )
        ),
        settings=frozenset((Setting("alice", "work_mem", "3MB"), Setting("", "work_mem", "5MB"))),
    )


def test_what_a_role_had_that_is_gone_is_left_out_and_what_it_gave() -> None:
    properties = make_properties(privileges=frozenset((READER, LENT_ON, PUBLIC)), settings=SETTINGS)
    assert moment(properties).properties_now({10: "alice", 12: "guest"}) == make_properties(
        privileges=frozenset((PUBLIC,)), settings=frozenset((Setting("", "work_mem", "5MB"),))
    )
