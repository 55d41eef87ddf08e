"""Proof that a page of ours made a request, for requests that carry the login cookie.

The token follows from the login's secret, so nothing is kept: a page gets it from `GET /auth/me`, which no
other site can read, and sends it back in `x-csrf-token`, which no other site can set.
"""

from __future__ import annotations

import base64
import hashlib
import hmac


def csrf_token(login: str) -> str:
    """The token of a login."""
    made = hmac.digest(login.encode(), b"csrf", hashlib.sha256)
    return base64.urlsafe_b64encode(made).rstrip(b"=").decode()


def matches(login: str, shown: str) -> bool:
    """Whether `shown` is the login's token, compared in constant time."""
    return hmac.compare_digest(csrf_token(login).encode(), shown.encode())
