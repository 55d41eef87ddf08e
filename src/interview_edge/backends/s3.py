"""S3 and what speaks it: `s3://bucket[/prefix]?endpoint=...&region=...`, `r2://account/bucket[/prefix]`.

Credentials come from options or the environment, never from the URL, and no error or repr shows one.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import attrs
from obstore.exceptions import BaseError
from obstore.store import S3Store

from interview_edge.backends.bucket import S3Backend
from interview_edge.backends.keys import is_valid_key
from interview_edge.backends.urls import BackendURLError, StorageURL, parse_url

if TYPE_CHECKING:
    # Names of obstore's stub, which don't exist at run time.
    from obstore.store import S3Config, S3Credential

__all__ = ["S3Backend", "open_r2", "open_s3"]

DEFAULT_TIMEOUT = 30.0  # seconds for one request, its body included
CONNECT_TIMEOUT = timedelta(seconds=5)
_PARAMETERS = ("endpoint", "region", "timeout", "listing")
_CREDENTIALS = ("access_key_id", "secret_access_key", "session_token")


@attrs.frozen
class _Credentials:
    access_key_id: str = attrs.field(repr=False)
    secret_access_key: str = attrs.field(repr=False)
    session_token: str | None = attrs.field(repr=False)

    def for_obstore(self) -> S3Credential:
        """As obstore asks for them before a request."""
        return {
            "access_key_id": self.access_key_id,
            "secret_access_key": self.secret_access_key,
            "token": self.session_token,
            "expires_at": None,
        }


def _credentials(options: Mapping[str, str], variables: str) -> _Credentials | None:
    """From options, else from the environment ({variables}_ACCESS_KEY_ID...); None where there are none."""
    unknown = sorted(set(options) - set(_CREDENTIALS))
    if unknown:
        raise BackendURLError(f"unknown storage option {unknown[0]!r} (known: {', '.join(_CREDENTIALS)})")
    given: Mapping[str, str | None] = options
    if not options:
        given = {name: os.environ.get(f"{variables}_{name.upper()}") for name in _CREDENTIALS}
    key_id, secret = given.get("access_key_id"), given.get("secret_access_key")
    if not key_id and not secret:
        return None
    if not key_id or not secret:
        raise BackendURLError(
            f"half of the credentials is missing: set both {variables}_ACCESS_KEY_ID "
            f"and {variables}_SECRET_ACCESS_KEY"
        )
    return _Credentials(key_id, secret, given.get("session_token") or None)


def _build(
    bucket: str, prefix: str, endpoint: str | None, url: StorageURL, credentials: _Credentials | None
) -> S3Backend:
    prefix = prefix.strip("/")
    if prefix and not is_valid_key(prefix):
        raise BackendURLError(f"the path of the {url.scheme}:// URL is not a valid key prefix")
    listing = url.parameters.get("listing", "flat")
    if listing not in ("flat", "folders"):
        raise BackendURLError(f"listing in the {url.scheme}:// URL must be flat or folders")
    config: S3Config = {}
    region = url.parameters.get("region", "auto" if url.scheme == "r2" else None)
    if region is not None:
        config["region"] = region
    if endpoint is not None:
        # Both names: the environment's AWS_ENDPOINT_URL_S3 would win over `endpoint` alone.
        config["endpoint"] = config["aws_endpoint_url_s3"] = endpoint
    timeout = timedelta(seconds=_timeout(url))
    try:
        store = S3Store(
            bucket,
            config=config,
            client_options={
                "allow_http": endpoint is not None and endpoint.startswith("http://"),
                "connect_timeout": CONNECT_TIMEOUT,
                "timeout": timeout,
            },
            retry_config={"max_retries": 0},  # whoever calls us retries, and counts it
            # Not config: the environment's AWS_SESSION_TOKEN must not be mixed with these.
            credential_provider=None if credentials is None else credentials.for_obstore,
        )
    except (BaseError, ValueError) as error:
        raise BackendURLError(f"the {url.scheme}:// URL can't be used ({type(error).__name__})") from None
    return S3Backend(store, prefix=prefix and prefix + "/", by_folder=listing == "folders")


def _timeout(url: StorageURL) -> float:
    try:
        seconds = float(url.parameters.get("timeout", DEFAULT_TIMEOUT))
    except ValueError:
        seconds = 0.0
    if not 0.05 <= seconds <= 3600:
        raise BackendURLError(f"timeout in the {url.scheme}:// URL must be 0.05..3600 seconds")
    return seconds


@asynccontextmanager
async def open_s3(url: str, options: Mapping[str, str]) -> AsyncIterator[S3Backend]:
    """`s3://bucket[/prefix]?endpoint=URL&region=NAME&timeout=SECONDS&listing=flat|folders`.

    Options: access_key_id, secret_access_key, session_token; else AWS_ACCESS_KEY_ID and so on; else what the
    AWS environment provides (web identity, container, instance). Doesn't connect yet.
    """
    parts = parse_url(url, parameters=_PARAMETERS)
    if not parts.host:
        raise BackendURLError("s3:// needs a bucket: s3://bucket")
    endpoint = parts.parameters.get("endpoint")
    if endpoint is not None:
        target = parse_url(endpoint)
        if target.scheme not in ("http", "https") or not target.host:
            raise BackendURLError("endpoint in the s3:// URL must be an http:// or https:// URL")
    backend = _build(parts.host, parts.path, endpoint, parts, _credentials(options, "AWS"))
    try:
        yield backend
    finally:
        await backend.aclose()


@asynccontextmanager
async def open_r2(url: str, options: Mapping[str, str]) -> AsyncIterator[S3Backend]:
    """`r2://account/bucket[/prefix]?timeout=SECONDS`: Cloudflare R2.

    Options as `open_s3`; else R2_ACCESS_KEY_ID and R2_SECRET_ACCESS_KEY. Doesn't connect yet.
    """
    parts = parse_url(url, parameters=("timeout",))
    bucket, _, prefix = parts.path.partition("/")
    if not re.fullmatch(r"[0-9a-z-]+(\.[0-9a-z-]+)?", parts.host) or not bucket:
        raise BackendURLError("r2:// needs an account and a bucket: r2://account/bucket")
    credentials = _credentials(options, "R2")
    if credentials is None:
        raise BackendURLError("r2:// needs credentials: set R2_ACCESS_KEY_ID and R2_SECRET_ACCESS_KEY")
    endpoint = f"https://{parts.host}.r2.cloudflarestorage.com"
    backend = _build(bucket, prefix, endpoint, parts, credentials)
    try:
        yield backend
    finally:
        await backend.aclose()
