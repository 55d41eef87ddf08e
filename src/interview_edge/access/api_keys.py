"""API keys as text: `ie_<id>_<secret>` (contract gateway.md, Auth).

The id is public and names the row; the secret has 256 random bits, so that its plain SHA-256 is as good as a
slow hash would be of a password.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import NamedTuple

ID_BYTES = 8
SECRET_BYTES = 32
_KEY = re.compile(r"ie_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")


class PresentedKey(NamedTuple):
    """A key that somebody shows."""

    key_id: str
    secret: str


def make_key() -> tuple[str, PresentedKey]:
    """A new key: its text, to be shown once, and its parts."""
    parts = PresentedKey(secrets.token_hex(ID_BYTES), secrets.token_urlsafe(SECRET_BYTES))
    return f"ie_{parts.key_id}_{parts.secret}", parts


def parse_key(text: str) -> PresentedKey | None:
    """The parts of a key; None for anything else."""
    found = _KEY.fullmatch(text)
    return None if found is None else PresentedKey(found[1], found[2])


def digest(secret: str) -> bytes:
    """What is kept of a secret: a key's, a ticket's, a cookie's."""
    return hashlib.sha256(secret.encode()).digest()
