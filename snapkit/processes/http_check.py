"""Ask a URL whether it answers 2xx. The time limit is for the whole answer, so a server that sends single bytes cannot
keep snapkit waiting.

A proxy from the environment is used, as by other programs, but never for this machine.
https://docs.python.org/3/library/urllib.request.html#urllib.request.ProxyHandler
"""

from __future__ import annotations

import ipaddress
import socket
import threading
from base64 import b64encode
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import OpenerDirector, ProxyHandler, Request, build_opener, proxy_bypass


def what_is_wrong(url: str, seconds: float) -> str | None:
    """Return None if the URL answers 2xx within that time, else what happened, as a sentence."""
    proxy = _NoneForThisMachine()
    asked = _Asked(build_opener(proxy), url, seconds)
    # Nothing ends a name's resolution, nor a thread. One whose answer is late is let alone: its socket's own limit ends
    # it once the server falls silent, and the end of snapkit in any case.
    thread = threading.Thread(target=asked.ask, daemon=True)
    thread.start()
    thread.join(seconds)
    shown = _shown(url)
    by_way_of = ""
    if proxy.used is not None:
        by_way_of = (
            f", through the proxy {proxy.used} (from the environment; put the host into NO_PROXY to go without it)"
        )
    if not asked.is_over:
        return f"{shown} did not answer in full within {seconds:.1f} s{by_way_of}."
    if asked.failure is not None:
        return f"{shown} gave no answer ({asked.failure}){by_way_of}."
    return None if 200 <= asked.status < 300 else f"{shown} answered {asked.status}{by_way_of}."


class _Asked:
    """One request, and what came of it. It is read only once it is over."""

    def __init__(self, opener: OpenerDirector, url: str, seconds: float) -> None:
        self._opener = opener
        self._url = url
        self._seconds = seconds
        self.is_over = False
        self.status = 0
        self.failure: str | None = None

    def ask(self) -> None:
        try:
            with self._opener.open(_request(self._url), timeout=self._seconds) as answer:
                self.status = answer.status
        except HTTPError as error:
            self.status = error.code
        except (OSError, HTTPException, ValueError) as error:
            self.failure = _why(error)
        except Exception as error:  # a thread has nobody to raise to
            self.failure = type(error).__name__
        self.is_over = True


class _NoneForThisMachine(ProxyHandler):
    """The proxies that the environment names, and the one that was ``used``, if any."""

    def __init__(self) -> None:
        super().__init__()
        self.used: str | None = None

    def proxy_open(self, req: Request, proxy: str, type: str) -> Any:  # noqa: A002 - the name is urllib's
        """Called for each request, that of a redirect too."""
        if is_loopback(req.host) or proxy_bypass(req.host):
            self.used = None
            return None
        self.used = proxy.rpartition("@")[2].rpartition("://")[2].rstrip("/")
        return super().proxy_open(req, proxy, type)


def is_loopback(place: str | None) -> bool:
    """Whether a host, maybe with a port, is this very machine, however it is written: 127.1, [::1], app.localhost."""
    host = (urlsplit(f"//{place}").hostname or "").rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):  # https://www.rfc-editor.org/rfc/rfc6761#section-6.3
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        try:
            address = ipaddress.ip_address(socket.inet_aton(host))
        except (OSError, ValueError):
            return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback or (mapped or address).is_unspecified


def _request(url: str) -> Request:
    """Return the request for a URL. User and password are for that server alone, not for one that it redirects to.

    https://docs.python.org/3/library/urllib.request.html#urllib.request.Request.add_unredirected_header
    """
    parts = urlsplit(url)
    userinfo, _, place = parts.netloc.rpartition("@")
    request = Request(urlunsplit(parts._replace(netloc=place)), headers={"User-Agent": "snapkit"})  # noqa: S310
    if userinfo:
        user, _, password = userinfo.partition(":")
        given = b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode("ascii")
        request.add_unredirected_header("Authorization", f"Basic {given}")
    return request


def _why(error: Exception) -> str:
    """What is wrong, in the system's words; others may repeat the URL."""
    reason = getattr(error, "reason", error)
    if not isinstance(reason, OSError) or isinstance(reason, URLError):
        return type(reason).__name__
    return str(reason).removeprefix(f"[Errno {reason.errno}] ")


def _shown(url: str) -> str:
    """Leave out what may be secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
