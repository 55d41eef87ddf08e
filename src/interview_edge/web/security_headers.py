"""What every answer tells a browser not to do with it: the one place for it. A view that sets one of these
itself has its own reasons, and its value stands.
"""

from __future__ import annotations

from collections.abc import Mapping

_EVERYWHERE = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",  # for browsers that don't know frame-ancestors
    # Pages of cors_origins fetch in CORS mode, where browsers don't look at this; it keeps others from
    # embedding what a cookie opens.
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
_DATA_POLICY = "default-src 'none'; frame-ancestors 'none'"
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
# A year. Not for subdomains: they are not this server's to speak for.
_TLS_ONLY = "max-age=31536000"


def security_headers(media_type: str, *, secure: bool) -> Mapping[str, str]:
    """The headers of an answer of this media type. `secure`: the client's own leg is TLS."""
    policy = _PAGE_POLICY if media_type.startswith("text/html") else _DATA_POLICY
    headers = _EVERYWHERE | {"content-security-policy": policy}
    return headers | {"strict-transport-security": _TLS_ONLY} if secure else headers
