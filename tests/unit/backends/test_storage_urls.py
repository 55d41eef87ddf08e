"""Storage URLs and their options: what is wrong is said plainly, and no secret is shown."""

from __future__ import annotations

from datetime import timedelta

import pytest

from interview_edge.backends import BackendRefused, BackendURLError, open_backend, validate_key
from interview_edge.backends.keys import folder_of
from interview_edge.backends.s3 import S3Backend

KEYS = {"access_key_id": "id", "secret_access_key": "HUSH"}


@pytest.fixture(autouse=True)
def _no_credentials_around(monkeypatch: pytest.MonkeyPatch) -> None:
    for prefix in ("AWS", "R2"):
        for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN"):
            monkeypatch.delenv(f"{prefix}_{name}", raising=False)


@pytest.mark.parametrize(
    ("url", "options", "said"),
    [
        ("HUSH", {}, "looks like scheme://"),
        ("/var/HUSH", {}, "looks like scheme://"),
        ("gopher://HUSH", {}, "known: file, memory, r2, s3"),
        ("s3://id:HUSH@bucket", {}, "credentials before '@'"),
        ("s3://bucket?secret_access_key=HUSH", {}, "unknown parameter 'secret_access_key'"),
        ("s3://bucket?region=a&region=HUSH", {}, "stands twice"),
        ("s3://bucket?region", {}, "does not parse"),
        ("s3://bucket#HUSH", {}, "'#'"),
        ("s3://[HUSH", {}, "does not parse"),
        ("s3://", KEYS, "needs a bucket"),
        ("s3://bucket/a//b", KEYS, "not a valid key prefix"),
        ("s3://bucket?listing=HUSH", KEYS, "flat or folders"),
        ("s3://bucket?timeout=HUSH", KEYS, "must be 0.05..3600"),
        ("s3://bucket?timeout=nan", KEYS, "must be 0.05..3600"),
        ("s3://bucket?endpoint=ftp://x", KEYS, "http:// or https://"),
        ("s3://bucket?endpoint=http://id:HUSH@x", KEYS, "credentials before '@'"),
        ("s3://bucket", {"access_key_id": "HUSH"}, "half of the credentials"),
        ("s3://bucket", KEYS | {"passwort": "HUSH"}, "unknown storage option 'passwort'"),
        ("r2://account", KEYS, "r2://account/bucket"),
        ("r2://evil.example.com/bucket", KEYS, "r2://account/bucket"),
        ("r2://account/bucket", {}, "R2_ACCESS_KEY_ID"),
        ("r2://account/bucket?endpoint=http://x", KEYS, "unknown parameter 'endpoint'"),
        ("file://relative/HUSH", {}, "absolute path"),
        ("file://", {}, "absolute path"),
        ("file:///tmp/x", KEYS, "no options"),
        ("memory://name", {}, "no name"),
    ],
)
async def test_what_is_wrong_is_said_without_secrets(url: str, options: dict[str, str], said: str) -> None:
    with pytest.raises(BackendURLError) as caught:
        async with open_backend(url, options):
            pass
    assert said in str(caught.value)
    assert "HUSH" not in repr(caught.value)


async def test_credentials_come_from_options_or_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BackendURLError):
        async with open_backend("r2://account/bucket"):
            pass
    monkeypatch.setenv("R2_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("R2_SECRET_ACCESS_KEY", "HUSH")
    async with open_backend("r2://account.eu/bucket/prefix") as backend:
        assert isinstance(backend, S3Backend)
        url = await backend.presign("k", "GET", timedelta(seconds=9))
    assert url.startswith("https://account.eu.r2.cloudflarestorage.com/bucket/prefix/k?")
    assert "HUSH" not in url


async def test_the_environments_endpoint_and_token_are_not_mixed_into_r2(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "https://elsewhere.example")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "another-accounts")
    async with open_backend("r2://account/bucket", KEYS) as backend:
        assert isinstance(backend, S3Backend)
        url = await backend.presign("k", "GET", timedelta(seconds=9))
    assert url.startswith("https://account.r2.cloudflarestorage.com/bucket/k?")
    assert "another-accounts" not in url


async def test_a_key_that_is_too_long_with_the_prefix_is_refused() -> None:
    async with open_backend("s3://bucket/" + "p" * 100, KEYS) as backend:
        with pytest.raises(BackendRefused, match="over 1024 bytes"):
            await backend.put("k" * 1000, b"")


def test_a_key_may_have_1024_bytes_and_its_error_is_cut_short() -> None:
    validate_key("é" * 512)
    with pytest.raises(BackendRefused) as caught:
        validate_key("é" * 100_000)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("prefix", "folder"),
    [
        ("", ""),
        ("a", ""),
        ("a/", "a/"),
        ("a/b", "a/"),
        ("/", None),
        ("a//", None),
        ("../a", None),
        ("a/../b", None),
    ],
)
def test_the_folder_of_a_prefix(prefix: str, folder: str | None) -> None:
    assert folder_of(prefix) == folder
