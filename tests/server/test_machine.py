"""Random commands, clients, crashes and look-alikes on a real server, held against a model of what must exist.

How many runs: SNAPKIT_MACHINE_RUNS (default 3), of up to 30 steps each; CONTRIBUTING.md has the long one. Others are at
work as well: they rename, grant, change the owner and write amid a command, and move the server's clock between two.
"""

from __future__ import annotations

import functools
import itertools
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from traceback import clear_frames
from typing import TypeVar, cast

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from psycopg import sql

from snapkit.core.inventory.kinds import Kind, State
from snapkit.core.inventory.metadata import Metadata, decode
from snapkit.core.inventory.retention import Policy
from snapkit.core.reporting import unobserved
from snapkit.errors import NotFoundError
from snapkit.postgres.connection.server import Server
from snapkit.services.adopt import adopt_entry
from snapkit.services.backup import BackupRequest, back_up
from snapkit.services.label import label_entry, pin_entry, unpin_entry
from snapkit.services.list import list_entries
from snapkit.services.prune import choose_by_name, choose_by_policy, remove
from snapkit.services.recover import recover
from snapkit.services.rollback import SwapRequest, swap
from tests.cluster import PASSWORD, SUPERUSER, Cluster
from tests.gate import Action, Gate, Link, Point
from tests.gate import Phase as Moment
from tests.moving_clock import CAN_MOVE, ClusterWithMovingClock
from tests.process import Command
from tests.sandbox import LOCK_WAIT, Sandbox, command_environment, wait_until

RUNS = int(os.environ.get("SNAPKIT_MACHINE_RUNS", "3"))
STEPS = 30
CRASHING = ("backup", "rollback --latest", "rollback --latest --keep-backup", "undo", "prune --keep 1")
AMID = ("backup", "rollback --latest", "rollback --latest --keep-backup", "prune --keep 1")
_numbers = itertools.count(1)
_Step = TypeVar("_Step", bound=Callable[..., None])


@dataclass(frozen=True)
class Content:
    """What a database holds: how many rows were ever written to it, and its setting of work_mem."""

    rows: int
    work_mem: str | None = None


@dataclass(frozen=True)
class Known:
    """An entry that must exist."""

    oid: int
    kind: Kind
    content: Content
    label: str | None = None
    pinned: bool = False
    gave_way_to: int | None = None
    """Of what was live once: the OID of what became live when it was put aside."""
    used_up: tuple[str, Known] | None = None
    """Of a displaced database: what then became live, as it was before."""
    order: int = 0
    """Grows from entry to entry as the server made them."""
    put_aside: int = 0
    """Grows from swap to swap."""


@dataclass
class World:
    """What must be there: the live database, and the entries from the oldest to the newest, by name."""

    live: Content
    live_oid: int
    entries: dict[str, Known] = field(default_factory=dict)

    def of(self, kind: Kind) -> list[str]:
        by_age = sorted(self.entries.items(), key=lambda item: item[1].order)
        return [name for name, known in by_age if known.kind is kind]

    @property
    def displaced(self) -> str | None:
        """What the last rollback put aside, if it is still there."""
        those = [name for name, known in self.entries.items() if known.gave_way_to == self.live_oid]
        return max(those, key=lambda name: self.entries[name].put_aside, default=None)


def only_if(is_possible: Callable[[Machine], object]) -> Callable[[_Step], _Step]:
    """Leave a step out where it makes no sense.

    Not a precondition: where a crash falls is not for Hypothesis to decide, so what it draws next must not depend on
    what the crash has left.
    """

    def decorate(step: _Step) -> _Step:
        @functools.wraps(step)
        def taken(self: Machine, **drawn: object) -> None:
            if is_possible(self):
                step(self, **drawn)
            else:
                type(self).steps -= 1

        return cast(_Step, taken)

    return decorate


class Machine(RuleBasedStateMachine):
    """One life of a database."""

    cluster: Cluster
    steps = 0

    def __init__(self) -> None:
        super().__init__()
        self.box = Sandbox(
            self.cluster, psycopg.connect(self.cluster.url("postgres"), autocommit=True), f"m{next(_numbers)}"
        )
        self.box.create()
        self.strangers: dict[str, int] = {}
        self.clients: list[psycopg.Connection[tuple[object, ...]]] = []
        self.stamps = (f"202601{day:02d}_103045" for day in range(10, 29))
        self.url = self.box.url
        self.orders = itertools.count(1)
        self.world = World(Content(100), self.box.row(self.box.name)["oid"])

    def teardown(self) -> None:
        for client in self.clients:
            client.close()
        try:
            for name, known in self.world.entries.items():
                self.box.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(name)))
                assert self._rows(name) == known.content.rows, name
        finally:
            self.box.remove()
            self.box.admin.close()

    # --- help ---

    @property
    def server(self) -> Server:
        return self.box.server(self.url)

    def _rows(self, name: str) -> int:
        with self.box.connect(name) as connection:
            row = connection.execute("SELECT count(*) FROM item").fetchone()
        assert row is not None
        return int(row[0])

    def _oid(self, name: str) -> int:
        return int(self.box.row(name)["oid"])

    def _pick(self, kind: Kind, index: int) -> str:
        names = self.world.of(kind)
        return names[index % len(names)]

    # --- rules ---

    @initialize(ordinary=st.booleans())
    def choose_owner(self, ordinary: bool) -> None:
        """A superuser's database, or that of an ordinary owner on a server that others use too."""
        if ordinary:
            owner = self.box.role("owner", "LOGIN CREATEDB IN ROLE pg_signal_backend")
            owned = sql.SQL("ALTER DATABASE {} OWNER TO {}")
            self.box.execute(owned.format(sql.Identifier(self.box.name), sql.Identifier(owner)))
            self.url = self.cluster.url(self.box.name, user=owner)

    @rule()
    def application_writes(self) -> None:
        with self.box.connect() as connection:
            connection.execute("INSERT INTO item SELECT coalesce(max(id), 0) + 1 FROM item")
        self.world.live = replace(self.world.live, rows=self.world.live.rows + 1)

    @rule(megabytes=st.integers(1, 9))
    def administrator_sets(self, megabytes: int) -> None:
        value = f"{megabytes}MB"
        self.box.execute(
            sql.SQL("ALTER DATABASE {} SET work_mem TO {}").format(sql.Identifier(self.box.name), sql.Literal(value))
        )
        self.world.live = replace(self.world.live, work_mem=value)

    @rule()
    @only_if(lambda self: len(self.clients) < 3)
    def client_comes(self) -> None:
        """It stays until it is disconnected."""
        role = psycopg.connect(self.url, autocommit=True, application_name="client")
        role.execute("BEGIN")
        role.execute("SELECT count(*) FROM pg_class")
        self.clients.append(role)

    @rule(label=st.sampled_from((None, "v1", "v2")), pinned=st.booleans())
    @only_if(lambda self: len(self.world.entries) < 6)
    def backup(self, label: str | None, pinned: bool) -> None:
        receipt = back_up(self.server, BackupRequest(label=label, pinned=pinned), LOCK_WAIT, unobserved)
        self._note_backup(receipt.backup.name, label, pinned)

    def _note_backup(self, name: str, label: str | None = None, pinned: bool = False) -> None:
        order = next(self.orders)
        self.world.entries[name] = Known(self._oid(name), Kind.BACKUP, self.world.live, label, pinned, order=order)

    @rule(index=st.none() | st.integers(0, 5), keep=st.booleans())
    @only_if(lambda self: self.world.of(Kind.BACKUP) and len(self.world.entries) < 6)
    def rollback(self, index: int | None, keep: bool) -> None:
        wanted = None if index is None else self._pick(Kind.BACKUP, index)
        swap(self.server, SwapRequest(wanted=wanted, keep_backup=keep), LOCK_WAIT, unobserved)
        self._note_swap(wanted or self.world.of(Kind.BACKUP)[-1], keep=keep)

    @rule()
    @only_if(lambda self: self.world.of(Kind.OLD) and len(self.world.entries) < 6)
    def undo(self) -> None:
        displaced = self.world.displaced
        if displaced is None:
            with pytest.raises(NotFoundError):
                swap(self.server, SwapRequest(undo=True), LOCK_WAIT, unobserved)
            return
        swap(self.server, SwapRequest(undo=True), LOCK_WAIT, unobserved)
        self._note_swap(displaced, keep=False)

    def _note_swap(self, restored: str, *, keep: bool) -> None:
        world = self.world
        (old,) = [n for n in self.box.databases() if self._oid(n) == world.live_oid]
        keep = keep or world.entries[restored].pinned
        chosen = world.entries[restored] if keep else world.entries.pop(restored)
        displaced_oid, displaced = world.live_oid, world.live
        world.live, world.live_oid = chosen.content, self._oid(self.box.name)
        assert keep or world.live_oid == chosen.oid
        now = next(self.orders)
        used_up = None if keep else (restored, chosen)
        aside = Known(displaced_oid, Kind.OLD, displaced, None, False, world.live_oid, used_up, now, now)
        if chosen.gave_way_to == displaced_oid and chosen.used_up is not None:  # that rollback is taken back
            name, was = chosen.used_up
            aside = replace(aside, label=was.label)
            if old == name:  # it was given back what it was, which it may only be if nothing was written
                assert displaced == was.content
                aside = replace(aside, kind=was.kind, order=was.order)
        world.entries[old] = aside

    @rule(keep=st.integers(1, 3), keep_old=st.sampled_from((None, 0, 1)))
    def prune(self, keep: int, keep_old: int | None) -> None:
        remove(self.server, choose_by_policy(Policy(last=keep, old=keep_old), self.box.name), LOCK_WAIT)
        self._note_prune(keep, keep_old)

    def _note_prune(self, keep: int, keep_old: int | None) -> None:
        backups, old = self.world.of(Kind.BACKUP), self.world.of(Kind.OLD)
        loose = [name for name in backups if not self.world.entries[name].pinned]
        goes = loose[:-keep]
        if keep_old is not None:
            loose = [name for name in old if not self.world.entries[name].pinned]
            goes += loose[: len(loose) - keep_old]
        for name in goes:
            del self.world.entries[name]

    @rule(index=st.integers(0, 9))
    @only_if(lambda self: self.world.entries)
    def delete(self, index: int) -> None:
        names = list(self.world.entries)
        name = names[index % len(names)]
        if self.world.entries[name].pinned:
            unpin_entry(self.server, name, LOCK_WAIT)
        remove(self.server, choose_by_name([name], self.box.name), LOCK_WAIT)
        del self.world.entries[name]

    @rule(index=st.integers(0, 9), what=st.sampled_from(("pin", "unpin", "label")))
    @only_if(lambda self: self.world.entries)
    def annotate(self, index: int, what: str) -> None:
        names = list(self.world.entries)
        name = names[index % len(names)]
        known = self.world.entries[name]
        if what == "label":
            label_entry(self.server, name, "renamed", LOCK_WAIT)
            self.world.entries[name] = replace(known, label="renamed")
        elif what == "pin":
            pin_entry(self.server, name, None, LOCK_WAIT)
            self.world.entries[name] = replace(known, pinned=True)
        else:
            unpin_entry(self.server, name, LOCK_WAIT)
            self.world.entries[name] = replace(known, pinned=False)

    @rule()
    @only_if(lambda self: len(self.world.entries) < 6)
    def script_backup_is_adopted(self) -> None:
        name = f"{self.box.name}_backup_{next(self.stamps)}"
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}")
        for client in self.clients:
            client.close()
        wait_until(lambda: self.box.sessions(self.box.name) == 0)
        owner = psycopg.conninfo.conninfo_to_dict(self.url)["user"]
        self.box.execute(create.format(*map(sql.Identifier, (name, self.box.name, str(owner)))))
        adopt_entry(self.server, name, LOCK_WAIT)
        # It is dated by its name, and so older than all that snapkit makes in this run.
        adopted = {name: Known(self._oid(name), Kind.BACKUP, self.world.live)}
        elder = {n: k for n, k in self.world.entries.items() if "_backup_202601" in n}
        younger = {n: k for n, k in self.world.entries.items() if n not in elder}
        self.world.entries = elder | adopted | younger

    @rule(form=st.sampled_from(("backup", "partial", "document", "comment")))
    @only_if(lambda self: len(self.strangers) < 4)
    def stranger_comes(self, form: str) -> None:
        """A database that merely looks like one of ours."""
        kind = form if form == "partial" else "backup"
        name = f"{self.box.name}_{kind}_{next(self.stamps)}"
        self.box.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        comment = "somebody's own"
        if form == "document":  # of a source that does not own it, or that is not there
            gone = f"{self.box.name}_gone"
            comment = f'{{"snapkit":1,"kind":"backup","source":"{gone}","created_at":"2026-11-22T18:09:47Z"}}'
        if form in ("document", "comment"):
            self.box.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), sql.Literal(comment)))
        self.strangers[name] = self._oid(name)

    @rule()
    def recovery(self) -> None:
        recovered = recover(self.server, LOCK_WAIT, unobserved)
        assert recovered.failed == ()
        assert not [name for name in self._ours_by_name() if name not in self.world.entries]

    @rule(
        words=st.sampled_from(CRASHING),
        nth=st.integers(8, 75),
        moment=st.sampled_from((Moment.BEFORE, Moment.AFTER)),
        killed=st.booleans(),
    )
    @only_if(lambda self: len(self.world.entries) < 5)
    def crash(self, words: str, nth: int, moment: Moment, killed: bool) -> None:
        """A command dies at its n-th statement: what it was for has been done wholly, or not at all."""
        if ("rollback" in words and not self.world.of(Kind.BACKUP)) or (
            words == "undo" and self.world.displaced is None
        ):
            type(self).steps -= 1
            return

        def act(link: Link, point: Point) -> Action:
            if killed:
                command.send(signal.SIGKILL)
            return Action.CUT

        command, gate = self._stopped_once(words, nth, moment, act)
        code = _run(command, gate)
        wait_until(lambda: self.box.execute("SELECT 1 FROM pg_locks WHERE locktype = 'advisory'") == [])
        done = self._settle(words)
        assert code != 0 or done or words.startswith("prune"), f"{words} said that it was done"

    def _stopped_once(
        self, words: str, nth: int, moment: Moment, act: Callable[[Link, Point], Action]
    ) -> tuple[Command, Gate]:
        """A command that stops at its n-th statement, where ``act`` is done before it goes on, and what stops it."""
        sent = itertools.count(1)

        def stops(point: Point) -> Moment | None:
            return moment if next(sent) == nth else None

        gate = Gate(self.cluster.port, stops, act)
        url = f"postgresql://{SUPERUSER}:{PASSWORD.replace('%', '%25')}@127.0.0.1:{gate.port}/{self.box.name}"
        return Command(words.split(), command_environment(url)), gate

    def _settle(self, words: str) -> bool:
        """Learn from the server whether a command that died had done its work, and let the model follow."""
        ready = {
            entry.name: entry
            for entry in list_entries(self.server, sizes=False, all_sources=False).entries
            if entry.state is State.READY
        }
        if words == "backup":
            new = [name for name in ready if name not in self.world.entries]
            for name in new:
                self._note_backup(name)
            return bool(new)
        if words.startswith("prune"):
            entries = dict(self.world.entries)
            self._note_prune(1, None)
            spared = {name for name in entries if name not in self.world.entries and name in ready}
            self.world.entries = {n: k for n, k in entries.items() if n in self.world.entries or n in spared}
            return not spared
        if self._oid(self.box.name) == self.world.live_oid:
            return False
        restored = self.world.displaced if words == "undo" else self.world.of(Kind.BACKUP)[-1]
        assert restored is not None
        self._note_swap(restored, keep="--keep-backup" in words)
        return True

    # --- what others do meanwhile ---

    @rule(
        words=st.sampled_from(AMID),
        nth=st.integers(20, 80),
        moment=st.sampled_from((Moment.BEFORE, Moment.AFTER)),
        deed=st.sampled_from(("grant", "owner", "rename")),
    )
    @only_if(lambda self: len(self.world.entries) < 5)
    def others_are_at_work(self, words: str, nth: int, moment: Moment, deed: str) -> None:
        """Somebody changes something amid a command. It does all of what it says, or nothing, with what is ours."""
        if "rollback" in words and not self.world.of(Kind.BACKUP):
            type(self).steps -= 1
            return
        meddler = Meddler(self.box, deed)

        def act(link: Link, point: Point) -> Action:
            meddler.act()
            return Action.GO

        before = self.world.live
        command, gate = self._stopped_once(words, nth, moment, act)
        try:
            code = _run(command, gate)
            if meddler.wrote_into is not None:
                self._note_written(meddler.wrote_into)
        finally:
            meddler.tidy(self.server)
        done = self._settle_amid(words, before)
        assert (code == 0) == done or words.startswith("prune"), f"{words} ended with {code}; done: {done}"

    def _note_written(self, oid: int) -> None:
        """One transaction has written a row into a database and set something on it."""
        written = Content(self.world.live.rows + 1, Meddler.SETTING)
        if oid == self.world.live_oid:
            self.world.live = written
        else:  # what was a backup until the swap, which had come by then
            ((name, known),) = [(n, k) for n, k in self.world.entries.items() if k.oid == oid]
            self.world.entries[name] = replace(known, content=Content(known.content.rows + 1, Meddler.SETTING))

    def _settle_amid(self, words: str, before: Content) -> bool:
        done = self._settle(words)
        if words == "backup" and done:  # of which moment it is, its setting tells; its rows have to be of the same
            (name, known) = list(self.world.entries.items())[-1]
            if self._setting_of(known.oid) == self._setting_as_stored(before):
                self.world.entries[name] = replace(known, content=before)
        return done

    @rule(hours=st.sampled_from((-50, -3, 0, 3, 50)))
    def clock_moves(self, hours: int) -> None:
        """What is newest is not for the clock to say."""
        if isinstance(self.cluster, ClusterWithMovingClock):
            self.box.admin.close()
            self.cluster.move(timedelta(hours=hours))
            self.box.admin = psycopg.connect(self.cluster.url("postgres"), autocommit=True)
        else:
            type(self).steps -= 1

    # --- what holds after every step ---

    @invariant()
    def promises_are_kept(self) -> None:
        type(self).steps += 1
        assert self._oid(self.box.name) == self.world.live_oid
        assert self._rows(self.box.name) == self.world.live.rows
        self._check_setting(self.world.live_oid, self.world.live)
        listed = {
            entry.name: entry
            for entry in list_entries(self.server, sizes=False, all_sources=False).entries
            if entry.state is State.READY
        }
        assert set(listed) == set(self.world.entries)
        for name, known in self.world.entries.items():
            row, entry = self.box.row(name), listed[name]
            assert (row["oid"], row["datallowconn"]) == (known.oid, False)
            assert (entry.kind, entry.label, entry.pinned) == (known.kind, known.label, known.pinned)
            self._check_setting(known.oid, known.content)
        for name, oid in self.strangers.items():
            assert self._oid(name) == oid

    def _check_setting(self, oid: int, content: Content) -> None:
        assert self._setting_of(oid) == self._setting_as_stored(content)

    def _setting_of(self, oid: int) -> list[tuple[object, ...]]:
        return self.box.execute("SELECT setconfig FROM pg_db_role_setting WHERE setdatabase = %s", oid)

    @staticmethod
    def _setting_as_stored(content: Content) -> list[tuple[object, ...]]:
        return [([f"work_mem={content.work_mem}"],)] if content.work_mem else []

    def _ours_by_name(self) -> list[str]:
        return [n for n in self.box.databases() if n != self.box.name and n not in self.strangers]


def _run(command: Command, gate: Gate) -> int:
    """Run a command to its end; return its exit code."""
    try:
        command.start()
        code = command.wait(60)
        assert code is not None
        return code
    finally:
        gate.close()
        command.end()


class Meddler:
    """Somebody who changes something about the database while a command is stopped amid its work.

    ``deed``: ``grant``, write a row and set something on the database, in one transaction; ``owner``, give the database
    to somebody else; ``rename``, put another database in its place. What cannot be done at once is left.
    """

    SETTING = "77MB"

    def __init__(self, box: Sandbox, deed: str) -> None:
        self._box = box
        self._deed = deed
        self.wrote_into: int | None = None
        """The OID of the database that a row was written into."""
        self._owner_before = str(box.row(box.name)["owner"])
        if deed == "owner":
            self._somebody = box.role(f"somebody{next(_numbers)}")
        if deed == "rename":
            name = sql.Identifier(f"{box.prefix}_green")
            owner = sql.Identifier(self._owner_before)
            box.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(name, owner))
            box.execute(sql.SQL("COMMENT ON DATABASE {} IS 'green'").format(name))
            self._green = box.row(f"{box.prefix}_green")

    def act(self) -> None:
        try:
            getattr(self, f"_{self._deed}")()
        except psycopg.Error as error:
            # A connection that took too long would become a session all the same, until it is collected as garbage.
            clear_frames(error.__traceback__)

    def _session(self, database: str) -> psycopg.Connection[tuple[object, ...]]:
        options = "-c lock_timeout=300ms -c statement_timeout=2s"
        return psycopg.connect(self._box.cluster.url(database), connect_timeout=2, options=options)

    def _grant(self) -> None:
        name = sql.Identifier(self._box.name)
        with self._session(self._box.name) as session:
            row = session.execute("SELECT oid FROM pg_database WHERE datname = current_database()").fetchone()
            assert row is not None
            session.execute("INSERT INTO item SELECT coalesce(max(id), 0) + 1 FROM item")
            session.execute(sql.SQL("ALTER DATABASE {} SET work_mem TO {}").format(name, sql.Literal(self.SETTING)))
            session.commit()
            self.wrote_into = cast(int, row[0])

    def _rename(self) -> None:
        blue, green = (sql.Identifier(f"{self._box.prefix}_{name}") for name in ("blue", "green"))
        name = sql.Identifier(self._box.name)
        with self._session("postgres") as session:
            session.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(name, blue))
            session.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(green, name))

    def _owner(self) -> None:
        give = sql.SQL("ALTER DATABASE {} OWNER TO {}")
        with self._session("postgres") as session:
            session.execute(give.format(sql.Identifier(self._box.name), sql.Identifier(self._somebody)))

    def tidy(self, server: Server) -> None:
        """Take back what was done; what is left is as if only the command had been at work."""
        if self._deed == "owner":
            self._give_back()
        if self._deed == "rename":
            self._rename_back(server)

    def _give_back(self) -> None:
        for name in self._box.databases():
            row = self._box.row(name)
            if row["owner"] != self._somebody:
                continue
            database = sql.Identifier(name)
            with self._box.admin.transaction():  # an entry is sealed by one transaction, its document with the rest
                give = sql.SQL("ALTER DATABASE {} OWNER TO {}")
                self._box.execute(give.format(database, sql.Identifier(self._owner_before)))
                if row["comment"]:
                    comment = sql.Literal(row["comment"])
                    self._box.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(database, comment))

    def _rename_back(self, server: Server) -> None:
        """The other database is to be found unharmed: under a name of its own, live, or displaced by a rollback."""
        box, name = self._box, self._box.name
        blue, green = f"{box.prefix}_blue", f"{box.prefix}_green"
        if blue not in box.databases():
            assert box.row(green) == self._green
            box.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(green)))
            return
        if int(box.row(name)["oid"]) != self._green["oid"]:  # it was what the command found as the live one
            swap(server, SwapRequest(undo=True), LOCK_WAIT, unobserved)
        assert box.row(name) == self._green
        rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
        box.execute(rename.format(sql.Identifier(name), sql.Identifier(green)))
        box.execute(rename.format(sql.Identifier(blue), sql.Identifier(name)))
        for each in [n for n in box.databases() if _comment_within(box.row(n)["comment"]) == "green"]:
            box.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(each)))
            with box.connect(each) as backup:
                assert backup.execute("SELECT to_regclass('item')").fetchone() == (None,), "a backup of two databases"
            box.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(each)))
        box.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(green)))


def _comment_within(document: str | None) -> str | None:
    """The comment that an entry keeps for the database that it was."""
    metadata = decode(document)
    return metadata.comment if isinstance(metadata, Metadata) else None


@pytest.fixture
def server_whose_clock_moves(cluster: Cluster) -> Iterator[Cluster]:
    """One of its own, of the version that is tested; where no clock can be moved, that which all tests have."""
    if not CAN_MOVE:
        yield cluster
        return
    own = ClusterWithMovingClock(cluster.binaries)
    try:
        own.start()
        yield own
    finally:
        own.remove()


def test_the_promises_hold_whatever_comes(
    server_whose_clock_moves: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    class Here(Machine):
        pass

    Here.cluster = server_whose_clock_moves
    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=RUNS,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize="SNAPKIT_MACHINE_RUNS" not in os.environ,
            database=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        ),
    )
    with capsys.disabled():
        clock = "a clock that moves" if CAN_MOVE else "no clock that moves: there is no cc"
        sys.stdout.write(f"\n{Here.steps} steps in {RUNS} runs, {clock}\n")
    assert Here.steps >= RUNS
