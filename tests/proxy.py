"""A TCP proxy in front of the server, that loses the connection at a chosen moment."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from enum import Enum, auto


class Loss(Enum):
    """What becomes of the message that was waited for."""

    BEFORE = auto()
    """The connection is lost before the server gets it."""
    AFTER = auto()
    """The server gets it, and the answer is lost."""


class Proxy:
    """Forwards to the server. The first message that holds ``trigger`` loses its connection, as ``loss`` says.

    With ``stay_down`` nobody gets through afterwards either; with ``linger`` the server does not hear of the loss.
    """

    def __init__(self, port: int, trigger: bytes, loss: Loss, *, stay_down: bool = False, linger: bool = False) -> None:
        self._port = port
        self._trigger = trigger
        self._loss = loss
        self._stay_down = stay_down
        self._linger = linger
        self.triggered = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for each in (self._listener, *self._sockets):
            _shut(each)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._port))
                self._sockets += [client, server]
                if self._stay_down and self.triggered.is_set():
                    _shut(client)
                    _shut(server)
                    continue
                threading.Thread(target=self._to_server, args=(client, server), daemon=True).start()
                threading.Thread(target=self._to_client, args=(client, server), daemon=True).start()

    def _to_server(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                if self._trigger in data and not self.triggered.is_set():
                    self.triggered.set()
                    _shut(client)
                    if self._loss is Loss.AFTER:
                        server.sendall(data)
                    if self._linger:
                        return  # the server does not hear of the loss, as when a cable is cut
                    server.shutdown(socket.SHUT_WR)  # the server does what it was told, and then hears of the loss
                    if self._stay_down:
                        for each in self._sockets:
                            _shut(each)
                    return
                server.sendall(data)
        _shut(server)

    @staticmethod
    def _to_client(client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(65536):
                client.sendall(data)
        _shut(client)


def _shut(each: socket.socket) -> None:
    with suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    with suppress(OSError):
        each.close()
