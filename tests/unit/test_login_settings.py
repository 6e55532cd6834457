from __future__ import annotations

from snapkit.core.copying.login_settings import entrances
from snapkit.core.plans.properties import Setting


def test_settings_that_load_nothing_keep_nobody_out() -> None:
    assert entrances([Setting("", "work_mem", "1MB"), Setting("bob", "search_path", "x")]) == ()


def test_each_way_to_begin_a_session_is_told_with_what_it_finds_set() -> None:
    settings = [
        Setting("", "session_preload_libraries", "a"),
        Setting("", "local_preload_libraries", "b"),
        Setting("carol", "session_preload_libraries", "c"),
        Setting("carol", "jit", "off"),
    ]
    assert [(way.role, dict(way.values)) for way in entrances(settings)] == [
        ("", {"local_preload_libraries": "b", "session_preload_libraries": "a"}),
        ("carol", {"local_preload_libraries": "b", "session_preload_libraries": "c"}),
    ]
    assert str(entrances(settings)[1]) == "local_preload_libraries, session_preload_libraries for role carol"


def test_what_a_role_may_set_for_itself_stops_nobody() -> None:
    own = Setting("bob", "local_preload_libraries", "b")
    assert entrances([own]) == ()
    both = entrances([own, Setting("bob", "session_preload_libraries", "c")])
    assert [(way.role, dict(way.values)) for way in both] == [("bob", {"session_preload_libraries": "c"})]
