"""Asking a URL: through a proxy or not, and never for longer than was said."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

import pytest

from snapkit.core.guarding import Health
from snapkit.processes.health import HealthChecks, check_health
from snapkit.processes.http_check import is_loopback, what_is_wrong


@contextmanager
def listening(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """Yield the port where each connection gets ``answer``."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    threading.Thread(target=answer, args=(connection,), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def dripping(connection: socket.socket) -> None:
    """Send an answer that never ends, a byte at a time, each long before any limit of a socket."""
    with connection, suppress(OSError):
        connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
        while True:
            connection.sendall(b"x")
            threading.Event().wait(0.02)


def answering(status: int) -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.recv(4096)
            connection.sendall(f"HTTP/1.1 {status} Said\r\nContent-Length: 0\r\n\r\n".encode())

    return answer


@pytest.fixture
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


@pytest.mark.usefixtures("no_proxy")
def test_a_server_that_drips_bytes_keeps_nobody_waiting() -> None:
    """Without a bound on the whole answer this takes the better part of an hour."""
    with listening(dripping) as port:
        url = f"http://127.0.0.1:{port}/health"
        assert what_is_wrong(url, 0.3) == f"{url} did not answer in full within 0.3 s."
        report = check_health(HealthChecks(None, url, timedelta(seconds=1)), {})
    assert report.health is Health.FAILED
    assert "did not answer in full" in (report.reason or "")


@pytest.mark.usefixtures("no_proxy")
@pytest.mark.parametrize(("status", "said"), [(200, None), (204, None), (503, "answered 503.")])
def test_what_a_server_answers(status: int, said: str | None) -> None:
    with listening(answering(status)) as port:
        reason = what_is_wrong(f"http://user:s3cret@127.0.0.1:{port}/health?token=s3cret", 30)
    assert (reason or "").endswith(said or "")
    assert (reason is None) is (said is None)
    assert "s3cret" not in (reason or "")


def test_a_proxy_of_the_environment_is_used_and_named_without_its_password(no_proxy: pytest.MonkeyPatch) -> None:
    with listening(answering(502)) as port:
        no_proxy.setenv("http_proxy", f"http://user:s3cret@127.0.0.1:{port}/")
        said = what_is_wrong("http://app.example/health", 30)
    assert said is not None
    assert said.startswith(f"http://app.example/health answered 502, through the proxy 127.0.0.1:{port} (from")
    assert "s3cret" not in said
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        gone = nobody.getsockname()[1]
    for scheme in ("http", "https"):
        no_proxy.setenv(f"{scheme}_proxy", f"127.0.0.1:{gone}")
        said = what_is_wrong(f"{scheme}://app.example/health", 30)
        assert said is not None
        assert "gave no answer (Connection refused)" in said
        assert f"the proxy 127.0.0.1:{gone} " in said


def test_this_very_machine_is_never_asked_through_a_proxy(no_proxy: pytest.MonkeyPatch) -> None:
    with listening(answering(502)) as proxy, listening(answering(200)) as port:
        no_proxy.setenv("http_proxy", f"http://127.0.0.1:{proxy}")
        assert what_is_wrong(f"http://127.0.0.1:{port}/", 30) is None
        assert what_is_wrong(f"http://localhost:{port}/", 30) is None


def test_a_host_of_no_proxy_is_asked_directly(no_proxy: pytest.MonkeyPatch) -> None:
    with listening(answering(502)) as proxy:
        no_proxy.setenv("http_proxy", f"http://127.0.0.1:{proxy}")
        no_proxy.setenv("no_proxy", "nowhere.invalid")
        said = what_is_wrong("http://nowhere.invalid/", 30)
    assert said is not None
    assert "proxy" not in said


HERE = (
    "localhost LOCALHOST:80 app.localhost localhost. 127.0.0.1 127.1:8080 127.9.9.9 [::1]:80 [::ffff:127.0.0.1] 0.0.0.0"
)


@pytest.mark.parametrize("host", HERE.split())
def test_what_is_this_very_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["app.example", "10.0.0.1", "localhost.example", "[fe80::1%25eth0]", "", None])
def test_what_is_another_machine(host: str | None) -> None:
    assert not is_loopback(host)
