"""The keys that a password and a server's salt make, as libpq wants them.

A client that has them proves that it knows the password without hashing it four thousand times first, as poolers do.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import NamedTuple


class ScramKeys(NamedTuple):
    """Both in base64, as libpq's ``scram_client_key`` and ``scram_server_key``, which came with its version 18.

    https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNECT-SCRAM-CLIENT-KEY
    """

    client: str
    server: str


def scram_keys(password: str, salt: bytes, iterations: int) -> ScramKeys:
    """Derive the keys as RFC 5802 has it, section 3, with SHA-256."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    client, server = (hmac.digest(salted, name, "sha256") for name in (b"Client Key", b"Server Key"))
    return ScramKeys(base64.b64encode(client).decode(), base64.b64encode(server).decode())


def salt_and_iterations(secret: str) -> tuple[bytes, int]:
    """Take both from what PostgreSQL stores of a password.

    https://www.postgresql.org/docs/current/catalog-pg-authid.html
    """
    _, parameters, _ = secret.split("$")
    iterations, salt = parameters.split(":")
    return base64.b64decode(salt), int(iterations)
