"""Storage URLs: taking them apart without ever showing what may be a secret in them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from urllib.parse import parse_qsl, unquote, urlsplit

import attrs

from interview_edge.backends.protocol import BackendError


class BackendURLError(BackendError, ValueError):
    """A storage URL or its options can't be used. The text is for whoever set it and shows no secret."""


@attrs.frozen
class StorageURL:
    """The parts of `scheme://host/path?parameters`, percent-decoded. `path` has no `/` at its front."""

    scheme: str
    host: str
    path: str
    parameters: Mapping[str, str]


def scheme_of(url: str) -> str:
    """The URL's scheme, lower-case. Raises BackendURLError where there is none."""
    scheme, separator, _ = url.partition("://")
    if not separator or not scheme:
        # The URL itself isn't shown: somebody may have put a secret where the URL belongs.
        raise BackendURLError(
            "a storage URL looks like scheme://..., for example file:///var/lib/interview-edge"
        )
    return scheme.lower()


def parse_url(url: str, *, parameters: Collection[str] = ()) -> StorageURL:
    """Take `url` apart; `parameters` are the names its query may have.

    Raises BackendURLError for user:password@, an unknown or repeated parameter, a fragment, or a URL that
    doesn't parse.
    """
    scheme = scheme_of(url)
    try:
        parts = urlsplit(url)
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise BackendURLError(f"the {scheme}:// URL does not parse") from None
    if "@" in parts.netloc:
        raise BackendURLError(
            f"the {scheme}:// URL holds credentials before '@'; give them by options or environment instead"
        )
    if parts.fragment:
        raise BackendURLError(f"the {scheme}:// URL has a '#' part; write '#' in a name as %23")
    unknown = sorted({name for name, _ in pairs} - set(parameters))
    if unknown:
        known = ", ".join(sorted(parameters)) or "none"
        raise BackendURLError(
            f"unknown parameter {unknown[0]!r} in the {scheme}:// URL (known: {known}); "
            "credentials never go into the URL"
        )
    if len({name for name, _ in pairs}) < len(pairs):
        raise BackendURLError(f"a parameter stands twice in the {scheme}:// URL")
    return StorageURL(scheme, parts.netloc, unquote(parts.path.removeprefix("/")), dict(pairs))
