"""A TCP proxy in front of the server that speaks PostgreSQL's protocol: it knows each statement, and can stop there.

What snapkit sends is a row of points: a connection that is opened, or a statement on it. At a point the gate hands
control to the test, before the server gets the statement, while the server is at it, or when the server has answered
and snapkit does not know yet. Then it lets the traffic go on, cuts the connection, or lets it fall silent.
https://www.postgresql.org/docs/current/protocol-message-formats.html
"""

from __future__ import annotations

import re
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum

_CANCEL, _SSL, _GSS = 80877102, 80877103, 80877104


class Phase(Enum):
    """Where on its way a statement is."""

    BEFORE = "before"
    """The server has not got it."""
    INSIDE = "inside"
    """The server has got it; only where the test looks for the right moment itself."""
    AFTER = "after"
    """The server has answered, and snapkit does not know."""


class Action(Enum):
    """How the traffic goes on."""

    GO = "go"
    CUT = "cut"
    """The connection is closed on both sides."""
    STALL = "stall"
    """Nothing comes through any more, and neither side hears of it."""


@dataclass(frozen=True, slots=True)
class Point:
    """One thing that is sent: on which connection (in the order in which they are opened), and the how-manieth such."""

    connection: int
    label: str
    occurrence: int


@dataclass(eq=False)
class Link:
    """One connection, of which the gate holds both ends."""

    client: socket.socket
    server: socket.socket
    number: int = 0
    backend_pid: int = 0
    held: Point | None = None
    """The point whose answer is to be held back."""
    answered: bool = False
    """Whether the server has nothing left to do for this connection."""
    stalled: bool = False
    seen: Counter[str] = field(default_factory=Counter)

    def cut(self) -> None:
        for each in (self.client, self.server):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            with suppress(OSError):
                each.close()


Stops = Callable[[Point], Phase | None]
"""Whether to stop at a point, and in which phase."""
Act = Callable[[Link, Point], Action]
"""What happens when it has stopped there; runs in a thread of the gate's."""


def nowhere(point: Point) -> Phase | None:
    return None


class Gate:
    """Stands in front of the server at ``port``; listens on ``self.port`` until ``close``."""

    def __init__(
        self,
        port: int,
        stops: Stops = nowhere,
        act: Act = lambda link, point: Action.GO,
        *,
        stay_down: bool = False,
        shorten: Callable[[str], str] = str,
    ) -> None:
        self._server_port = port
        self._stops = stops
        self._act = act
        self._stay_down = stay_down
        self._shorten = shorten
        self._links: list[Link] = []
        self._lock = threading.Lock()
        self._opened = 0
        self.points: list[Point] = []
        self.reached = threading.Event()
        """The point at which to stop was reached."""
        self.cancelled = threading.Event()
        """Snapkit has asked the server to cancel a statement, which it does on Ctrl-C."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for link in list(self._links):
            link.cut()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self._stay_down and self.reached.is_set():
                    client.close()
                    continue
                try:
                    server = socket.create_connection(("127.0.0.1", self._server_port))
                except OSError:  # the server is down
                    client.close()
                    continue
                for each in (client, server):
                    each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                link = Link(client, server)
                self._links.append(link)
                threading.Thread(target=self._to_server, args=(link,), daemon=True).start()
                threading.Thread(target=self._to_client, args=(link,), daemon=True).start()

    # --- from snapkit to the server ---

    def _to_server(self, link: Link) -> None:
        with suppress(OSError, EOFError):
            if self._start(link):
                batch = b""
                while True:
                    kind, message = _read_message(link.client)
                    batch += message
                    if kind in (b"Q", b"S"):
                        self._pass(link, batch, self._shorten(_label(batch)))
                        batch = b""
                    elif kind not in (b"P", b"B", b"D", b"E", b"C"):
                        self._send(link, batch)
                        batch = b""
        if not link.stalled:
            link.cut()

    def _start(self, link: Link) -> bool:
        """Pass the start-up packets on; return whether a session follows."""
        while True:
            header = _read(link.client, 8)
            length, code = struct.unpack("!II", header)
            packet = header + _read(link.client, length - 8)
            if code == _CANCEL:
                self._send(link, packet)
                with suppress(OSError, EOFError):
                    _read(link.server, 1)  # the server closes it when it has sent the signal
                self.cancelled.set()
                return False
            if code in (_SSL, _GSS):
                link.client.sendall(b"N")  # what is to be read here must not be encrypted
                continue
            with self._lock:
                self._opened += 1
                link.number = self._opened
            self._pass(link, packet, "connect")
            return True

    def _pass(self, link: Link, batch: bytes, label: str) -> None:
        link.seen[label] += 1
        point = Point(link.number, label, link.seen[label])
        self.points.append(point)
        phase = None if self.reached.is_set() else self._stops(point)
        if phase is Phase.BEFORE:
            self._stop(link, point)
        elif phase is Phase.AFTER:
            link.held = point
        link.answered = False
        self._send(link, batch)
        if phase is Phase.INSIDE:
            self._stop(link, point)

    def _stop(self, link: Link, point: Point) -> None:
        self.reached.set()
        action = self._act(link, point)
        if action is Action.CUT:
            link.cut()
            if self._stay_down:
                for each in list(self._links):
                    each.cut()
        elif action is Action.STALL:
            link.stalled = True
            raise EOFError

    def _send(self, link: Link, data: bytes) -> None:
        if not link.stalled:
            link.server.sendall(data)

    # --- from the server to snapkit ---

    def _to_client(self, link: Link) -> None:
        kept = b""
        with suppress(OSError, EOFError):
            while True:
                kind, message = _read_message(link.server)
                if kind == b"K":
                    (link.backend_pid,) = struct.unpack("!I", message[5:9])
                kept += message
                if kind == b"Z":
                    link.answered = True
                if kind == b"Z" and link.held is not None:
                    point, link.held = link.held, None
                    self._stop(link, point)
                if link.held is None:
                    if link.stalled:
                        return
                    link.client.sendall(kept)
                    kept = b""
        if not link.stalled:
            with suppress(OSError):
                link.client.sendall(kept)  # the server's last words
            link.cut()


def _read(source: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        piece = source.recv(length - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


def _read_message(source: socket.socket) -> tuple[bytes, bytes]:
    header = _read(source, 5)
    (length,) = struct.unpack("!I", header[1:])
    return header[:1], header + _read(source, length - 4)


def _label(batch: bytes) -> str:
    """The statements of a batch in short: DDL as it is, of a query the catalogs and functions that it reads."""
    labels = []
    while batch:
        length = struct.unpack("!I", batch[1:5])[0] + 1
        kind, body, batch = batch[:1], batch[5:length], batch[length:]
        if kind == b"P":
            body = body.partition(b"\0")[2]
        if kind in (b"Q", b"P"):
            labels.append(_in_short(body.partition(b"\0")[0].decode(errors="replace")))
    return "; ".join(labels)


def _in_short(statement: str) -> str:
    statement = " ".join(statement.split())
    if not statement.upper().startswith("SELECT"):
        return statement
    names = re.findall(
        r"\b(?:pg_catalog\.)?(pg_\w+|set_config|current_setting|shobj_description|aclexplode)\b", statement
    )
    named = dict.fromkeys(re.sub(r"_\d+$", "", name) for name in names if name != "pg_catalog")
    return "read " + (", ".join(named) or statement.partition(" ")[2])
