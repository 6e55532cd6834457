"""What is said of standbys, and where a replica's URL leads."""

from __future__ import annotations

import os

import pytest

from snapkit.core.outage.standbys import Standby
from snapkit.errors import UsageError
from snapkit.postgres.connection.conninfo import target_of_replica
from snapkit.services.outage.standbys import replicas_of, untold_caution

ONE = Standby("one", "10.0.0.2")
TWO = Standby(None, None)


@pytest.fixture(autouse=True)
def no_libpq_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PG")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("standbys", "told", "displaced_oid", "words"),
    [
        ((), 0, 16384, None),
        ((ONE,), 0, None, None),
        ((ONE,), 0, 16384, "1 standby streams from this server (one at 10.0.0.2). Sessions there"),
        ((ONE, TWO), 1, 16384, "(one at 10.0.0.2, name unknown); --replica-url named 1 of them. Sessions"),
        ((ONE, TWO, TWO), 2, 16384, "3 standbys stream from this server"),
        ((ONE, TWO, TWO), 2, 16384, "--replica-url named 2 of them."),
    ],
)
def test_the_warning_of_standbys_that_nobody_told_of(
    standbys: tuple[Standby, ...], told: int, displaced_oid: int | None, words: str | None
) -> None:
    cautions = untold_caution(standbys, told, displaced_oid)
    assert len(cautions) == (words is not None)
    if words is not None:
        assert cautions[0].code == "standbys_not_told"
        assert words in cautions[0].message
        assert "datid = 16384;" in cautions[0].message


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("postgresql://u:s3cret@replica:5433/app", "replica:5433"),
        ("postgresql://replica", "replica:5432"),
        ("postgresql://u:s3cret@/app?host=/run/pg&port=5433", "/run/pg:5433"),
        ("postgresql:///app?hostaddr=10.0.0.2", "10.0.0.2:5432"),
        ("postgresql:///app", "localhost:5432"),
    ],
)
def test_where_a_replica_is(url: str, place: str) -> None:
    target = target_of_replica(url, "shop")
    assert (target.source, target.place) == ("shop", place)
    assert "s3cret" not in repr(target)


def test_libpq_s_variables_complete_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "elsewhere")
    monkeypatch.setenv("PGPORT", "6000")
    assert target_of_replica("postgresql:///app", "app").place == "elsewhere:6000"


@pytest.mark.parametrize("url", ["postgresql://one,two/app", "postgresql:///app?hostaddr=10.0.0.1,10.0.0.2"])
def test_one_url_is_one_replica(url: str) -> None:
    with pytest.raises(UsageError, match="several hosts"):
        target_of_replica(url, "app")


def test_what_a_replica_s_url_passes_over_is_told() -> None:
    (replica,) = replicas_of(["postgresql://replica/app?nonsense=1"], "app", None)
    assert [caution.code for caution in replica.cautions] == ["ignored_parameter"]
