"""The server with everything that a trial needs, made ready and cleared away again."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from snapkit.core.plans.properties import Properties
from snapkit.postgres.catalog import databases as catalog
from tests.cluster import PASSWORD, SUPERUSER, Cluster
from tests.crash.application import Application
from tests.crash.scenarios import CLONES, Scenario, furnish
from tests.disks import SmallDisk
from tests.gate import Gate
from tests.process import Command
from tests.sandbox import Sandbox

_numbers = itertools.count(1)


@dataclass
class Stage:
    """The server with everything that a trial needs, and what was there before."""

    cluster: Cluster
    """The one that the source is on; another one once a standby was promoted."""
    home: Cluster
    """The one that the command was started on."""
    box: Sandbox
    words: list[str]
    application: Application
    before: dict[int, dict[str, Any]]
    contents: tuple[str, ...]
    """The live database's content, and that of the other state there is."""
    properties: Properties
    command: Command | None = None
    over: threading.Event = field(default_factory=threading.Event)
    """Set when the dying is over; the command may have ended before that."""
    problem: BaseException | None = None
    """What went wrong with the dying itself."""
    standby: Cluster | None = None
    directories: frozenset[Path] = frozenset()
    """Those of the databases before the command began."""
    gate: Gate = field(init=False)

    def connect_again(self, cluster: Cluster | None = None) -> None:
        """After the server was down, or to another one that has taken its place."""
        self.box.admin.close()
        self.cluster = self.box.cluster = cluster or self.cluster
        self.box.admin = psycopg.connect(self.cluster.url("postgres"), autocommit=True)

    @property
    def live(self) -> int:
        return next(oid for oid, row in self.before.items() if row["name"] == self.box.name)


@contextmanager
def staged(cluster: Cluster, scenario: Scenario, *, with_standby: bool = False) -> Iterator[Stage]:
    box = Sandbox(cluster, psycopg.connect(cluster.url("postgres"), autocommit=True), f"c{next(_numbers)}")
    box.create()
    application = standby = None
    try:
        furnish(box)
        words = scenario.prepare(box)
        contents = (content(box, box.name), "100 rows" if content(box, box.name) != "100 rows" else "10 rows, ruined")
        before = databases(box)
        live = next(oid for oid, row in before.items() if row["name"] == box.name)
        properties, url = properties_of(box, live), box.url
        if with_standby:
            standby = Cluster(cluster.binaries)
            standby.copy_of(cluster)
            url = _url_of_both(cluster, standby, box.name)
        application = Application(url)
        yield Stage(cluster, cluster, box, words, application, before, contents, properties, standby=standby)
    finally:
        if application is not None:
            application.stop()
        if standby is not None:
            standby.remove()
            if not answers(cluster):
                cluster.launch()
            box.admin.close()
            box.cluster, box.admin = cluster, psycopg.connect(cluster.url("postgres"), autocommit=True)
        if isinstance(cluster, ClusterOnSmallDisks):
            cluster.free()
        box.remove()
        box.admin.close()


def _url_of_both(first: Cluster, second: Cluster, name: str) -> str:
    """How an application names a server and its standby: it goes to the one that takes writes."""
    hosts, ports = f"{first.root},{second.root}", f"{first.port},{second.port}"
    return f"postgresql://{SUPERUSER}@/{name}?host={hosts}&port={ports}&target_session_attrs=read-write"


def content(box: Sandbox, name: str) -> str:
    with box.connect(name, connect_timeout=20) as connection:
        cursor = connection.execute("SELECT * FROM item")
        assert cursor.description is not None
        return f"{len(cursor.fetchall())} rows" + (", ruined" if len(cursor.description) == 3 else "")


def databases(box: Sandbox) -> dict[int, dict[str, Any]]:
    return {(row := box.row(name))["oid"]: row | {"name": name} for name in box.databases()}


def properties_of(box: Sandbox, oid: int) -> Properties:
    with box.server().connect() as connection:
        return catalog.read_properties(connection, oid)


def answers(cluster: Cluster) -> bool:
    try:
        psycopg.connect(cluster.url("postgres")).close()
    except psycopg.Error:
        return False
    return True


def database_directories(cluster: Cluster) -> list[Path]:
    places = [cluster.data / "base", *(cluster.data / "pg_tblspc").glob("*/PG_*")]
    return [each for place in places for each in place.iterdir() if each.name.isdigit()]


def normal(name: str) -> Callable[[str], str]:
    """Return what makes a point's label the same in every run: the source is ``app``, times and documents are left."""

    def shorten(label: str) -> str:
        label = re.sub(r"(COMMENT ON DATABASE .* IS ).*", r"\1...", label.replace(name, "app"))
        label = re.sub(r"(SET file_copy_method TO ).*", r"\1...", label)  # by what the file system can
        label = re.sub(r"LISTEN .*", "LISTEN ...", label)  # to a channel that is named by the process
        return re.sub(r"\d{8}_\d{6}(_\d+)?", "...", label).replace('"', "")

    return shorten


def url_through(gate: Gate, name: str) -> str:
    return f"postgresql://{SUPERUSER}:{PASSWORD.replace('%', '%25')}@127.0.0.1:{gate.port}/{name}"


class ClusterOnSmallDisks(Cluster):
    """A server whose WAL, and a tablespace for clones, are on disks of their own that can be full."""

    disks: dict[str, SmallDisk]

    def start(self, *initdb: str, configuration: str = "") -> None:
        if self.user is not None:
            shutil.chown(self.root, self.user)
        self.disks = {name: SmallDisk(self.root / name, 64, self.user) for name in ("wal", "clone")}
        directories = {name: disk.directory / "pg" for name, disk in self.disks.items()}
        for directory in directories.values():
            directory.mkdir()
            if self.user is not None:
                shutil.chown(directory, self.user)
        # Small pieces that are not used again: whatever writes needs a new one soon.
        small = "min_wal_size = 2MB\nmax_wal_size = 8MB\nwal_recycle = off\nwal_keep_size = 0\n"
        super().start(f"--waldir={directories['wal']}", "--wal-segsize=1", *initdb, configuration=small + configuration)
        with psycopg.connect(self.url("postgres"), autocommit=True) as admin:
            admin.execute(f"CREATE TABLESPACE {CLONES} LOCATION '{directories['clone']}'")

    def free(self) -> None:
        for disk in self.disks.values():
            disk.free()

    def remove(self) -> None:
        with suppress(subprocess.CalledProcessError):
            self.stop("immediate")
        for disk in self.disks.values():
            disk.remove()
        super().remove()
