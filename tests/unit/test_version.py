"""What PostgreSQL can do from which version on."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from snapkit.core.server import version as versions


@pytest.mark.parametrize(
    ("can", "since"),
    [
        (versions.has_strategy, 15),
        (versions.has_file_copy_method, 18),
        (versions.notes_collation_of_databases, 15),
        (versions.has_locale_provider, 15),
        (versions.has_icu_rules, 16),
        (versions.has_builtin_locales, 17),
        (versions.grants_parameters, 15),
        (versions.grants_set_role_apart, 16),
        (versions.has_login_triggers, 17),
    ],
)
def test_what_came_with_a_version_is_there_in_its_first_release(can: Callable[[int], bool], since: int) -> None:
    assert [can(each * 10000) for each in range(14, 20)] == [each >= since for each in range(14, 20)]
    assert not can(since * 10000 - 1)


def test_only_the_oldest_counts_from_the_first_use() -> None:
    assert versions.counts_from_first_use(140019)
    assert not versions.counts_from_first_use(150000)


def test_a_version_is_a_number() -> None:
    assert (versions.major_version(150004), versions.version_text(150004)) == (15, "15.4")
