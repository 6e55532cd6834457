"""Background workers of extensions that a backup and a rollback have to end, on a server that has one."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from tests.cluster import Cluster
from tests.sandbox import Sandbox, wait_until

pytestmark = [pytest.mark.any_version, pytest.mark.server]

KIND = "pg_cron launcher"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The worker, built for the machine's own PostgreSQL, and the directory with that server's programs."""
    config, compiler = shutil.which("pg_config"), shutil.which("cc")
    if config is None or compiler is None:
        pytest.skip("no pg_config or no C compiler: no background worker can be built")

    def of(what: str) -> Path:
        return Path(subprocess.check_output([config, what], text=True).strip())

    headers, programs = of("--includedir-server"), of("--bindir")
    if not (headers / "postgres.h").exists() or not (programs / "initdb").exists():
        pytest.skip("no server, or none of its headers (postgresql-server-dev-NN): no background worker can be built")
    place = tmp_path_factory.mktemp("worker")
    place.chmod(0o755)
    built = place / "snapkit_test_worker.so"
    source = Path(__file__).with_name("worker.c")
    subprocess.run([compiler, "-shared", "-fPIC", f"-I{headers}", str(source), "-o", str(built)], check=True)
    return built, programs


@contextmanager
def working(library: tuple[Path, Path], *, comes_back: bool) -> Iterator[Sandbox]:
    """A server of its own, whose worker is in the source."""
    built, programs = library
    cluster = Cluster(programs)
    try:
        own = cluster.root / built.name  # where the server's user may read it
        shutil.copy(built, own)
        own.chmod(0o755)
        cluster.start(
            configuration=(
                f"shared_preload_libraries = 'snapkit_test_worker'\ndynamic_library_path = '{cluster.root}:$libdir'\n"
                f"cron.database_name = 'w_app'\ncron.comes_back = {'on' if comes_back else 'off'}\n"
            )
        )
        with psycopg.connect(cluster.url("postgres"), autocommit=True) as admin:
            box = Sandbox(cluster, admin, "w")
            box.create()
            wait_until(lambda: bool(pids(box)))
            yield box
    finally:
        cluster.remove()


def pids(box: Sandbox) -> list[int]:
    rows = box.execute("SELECT pid FROM pg_stat_activity WHERE backend_type = %s AND datname = %s", KIND, box.name)
    return [pid for (pid,) in rows]


def test_what_would_not_come_back_is_not_ended_unless_that_is_wanted(library: tuple[Path, Path]) -> None:
    with working(library, comes_back=False) as box:
        before = pids(box)
        checks = {each["name"]: each for each in box.run("doctor", "--json").document["data"]["checks"]}
        assert checks["background_workers"]["status"] == "problem"
        for words in (("backup",), ("backup", "--dry-run"), ("guard", "--", "true")):
            done = box.run(*words, "--json") if words[0] != "guard" else box.run("guard", "--json", "--", "true")
            assert (done.code, done.document["error"]["code"]) == (11, "busy"), done
            assert f"pid {before[0]}" in done.document["error"]["message"]
            assert "--stop-workers" in done.document["error"]["hint"]
        assert pids(box) == before, "it was ended though that was refused"
        assert box.entries() == ()
        done = box.run("backup", "--stop-workers", "--json")
        assert done.code == 0, done
        (warning,) = [each for each in done.document["warnings"] if each["code"] == "workers_gone"]
        assert f"{KIND} (pid {before[0]})" in warning["message"]
        assert pids(box) == []
        # Nobody is there any more who would not come back.
        assert box.run("rollback", "--latest").code == 0


def test_a_guard_takes_its_way_back_whatever_has_started(library: tuple[Path, Path]) -> None:
    with working(library, comes_back=False) as box:
        write = ("psql", box.url, "-c", "DELETE FROM item", "-c", "SELECT no_such_column")
        done = box.run("guard", "--stop-workers", "--json", "--", *write)
        assert (done.code, done.document["data"]["rollback"] is None) == (20, False), done
        assert "workers_gone" in [each["code"] for each in done.document["warnings"]]
        assert len(box.items()) == 100


def test_a_copy_online_ends_nobody(library: tuple[Path, Path]) -> None:
    with working(library, comes_back=False) as box:
        before = pids(box)
        assert box.run("backup", "--strategy", "online").code == 0
        assert pids(box) == before


def test_what_comes_back_is_not_warned_of(library: tuple[Path, Path]) -> None:
    with working(library, comes_back=True) as box:
        before = pids(box)
        done = box.run("backup", "--stop-workers", "--json")
        assert (done.code, [each["code"] for each in done.document["warnings"]]) == (0, []), done
        assert len(pids(box)) == 1
        assert pids(box) != before
        done = box.run("rollback", "--latest", "--stop-workers", "--json")
        assert (done.code, [each["code"] for each in done.document["warnings"]]) == (0, []), done
        assert len(pids(box)) == 1


@pytest.mark.usefixtures("client_programs")
def test_a_copy_online_says_that_pg_cron_can_be_in_one_database_only(sandbox: Sandbox) -> None:
    with sandbox.connect() as connection:
        connection.execute("SET allow_system_table_mods = on")  # there is no pg_cron here to be made
        connection.execute("INSERT INTO pg_extension VALUES (90000, 'pg_cron', 10, 11, false, '1.5')")
    done = sandbox.run("backup", "--strategy", "online", "--json")
    assert (done.code, done.document["error"]["code"]) == (2, "usage"), done
    assert "which only one database of a server can have" in done.document["error"]["message"]
    assert sandbox.databases() == [sandbox.name]
