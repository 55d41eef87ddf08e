"""Every built-in backend keeps the contract; S3 is held to it by a real server."""

from __future__ import annotations

import errno
import os
import socket
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from interview_edge.backends import (
    BackendRefused,
    BackendUnavailable,
    ObjectNotFound,
    Presigner,
    open_backend,
)
from interview_edge.backends.files import FileStore
from interview_edge.backends.local import LocalBackend
from interview_edge.testing import check_backend

if TYPE_CHECKING:
    from tests.conformance.conftest import S3Server


async def test_memory_conforms() -> None:
    await check_backend(lambda: open_backend("memory://"), persistent=False)


async def test_local_conforms(tmp_path: Path) -> None:
    await check_backend(lambda: open_backend((tmp_path / "made" / "here").as_uri()))


async def test_local_conforms_where_the_file_system_keeps_no_attributes(tmp_path: Path) -> None:
    def refuse(fd: int, name: str, value: bytes) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    @asynccontextmanager
    async def open_without() -> AsyncIterator[LocalBackend]:
        backend = LocalBackend(FileStore(tmp_path, setxattr=refuse))
        try:
            yield backend
        finally:
            await backend.aclose()

    await check_backend(open_without)
    assert any((tmp_path / ".interview-edge" / "meta").iterdir())


async def test_s3_conforms(s3_server: S3Server) -> None:
    await check_backend(lambda: open_backend(s3_server.url(), s3_server.credentials))


async def test_s3_conforms_below_a_prefix(s3_server: S3Server) -> None:
    await check_backend(lambda: open_backend(s3_server.url("team/a"), s3_server.credentials))
    async with open_backend(s3_server.url("team"), s3_server.credentials) as above:
        async with open_backend(s3_server.url("team/a"), s3_server.credentials) as below:
            await below.put("object", b"below")
            await above.put("aa", b"beside")
            assert [info.key async for info in below.list("")] == ["object"]
        assert await above.get("a/object") == b"below"


async def test_s3_lists_more_than_a_page(s3_server: S3Server) -> None:
    keys = [f"many/{n:05d}" for n in range(1_050)]
    async with open_backend(s3_server.url("", timeout="20"), s3_server.credentials) as backend:
        async with trio.open_nursery() as nursery:
            for start in range(0, len(keys), 50):
                nursery.start_soon(_put_all, backend, keys[start : start + 50])
        assert [info.key async for info in backend.list("many/")] == keys
        assert [info.key async for info in backend.list("many/0104", after="many/01045")] == keys[1046:]
    # Within one folder this server's order is key order, so the flat list of S3 and R2 works here, too.
    async with open_backend(s3_server.url(listing="flat"), s3_server.credentials) as flat:
        assert [info.key async for info in flat.list("many/")] == keys
        assert [info.key async for info in flat.list("many/0102")] == keys[1020:1030]
        assert [info.key async for info in flat.list("many/01045")] == keys[1045:1046]
        assert [info.key async for info in flat.list("many/01", after="many/01020", limit=2)] == keys[
            1021:1023
        ]


async def _put_all(backend: object, keys: list[str]) -> None:
    for key in keys:
        await backend.put(key, b"")  # type: ignore[attr-defined]  # a StorageBackend


async def test_a_flat_list_out_of_order_is_refused_with_the_remedy(s3_server: S3Server) -> None:
    async with open_backend(s3_server.url("order", listing="flat"), s3_server.credentials) as backend:
        await backend.put("a/b", b"")
        await backend.put("a-b", b"")
        with pytest.raises(BackendRefused, match="listing=folders"):
            _ = [info async for info in backend.list("")]


WRONG: Mapping[str, Mapping[str, str]] = {
    "wrong secret": {"secret_access_key": "HUSH-not-it"},
    "unknown key id": {"access_key_id": "HUSH-nobody"},
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
async def test_wrong_credentials_are_refused_and_not_shown(
    s3_server: S3Server, wrong: dict[str, str]
) -> None:
    async with open_backend(s3_server.url(), s3_server.credentials | wrong) as backend:
        for call in (
            backend.put("k", b""),
            backend.get("k"),
            backend.get_range("k", 0, 1),
            backend.head("k"),
            backend.delete("k"),
            anext(aiter(backend.list(""))),
        ):
            with pytest.raises(BackendRefused) as caught:
                await call
            for error in _chain(caught.value):
                assert "HUSH" not in f"{error} {error!r}"
        assert "HUSH" not in repr(backend) + repr(vars(backend))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


async def test_a_missing_bucket_is_refused(s3_server: S3Server) -> None:
    async with open_backend(s3_server.url(bucket="nobodys"), s3_server.credentials) as backend:
        for call in (backend.put("k", b""), backend.get("k"), anext(aiter(backend.list("k/")))):
            with pytest.raises(BackendRefused, match="bucket"):
                await call


async def test_a_dead_endpoint_is_unavailable() -> None:
    with socket.socket() as bound:  # bound but not listening: nobody else gets the port
        bound.bind(("127.0.0.1", 0))
        url = f"s3://interviews?endpoint=http://127.0.0.1:{bound.getsockname()[1]}"
        async with open_backend(url, {"access_key_id": "a", "secret_access_key": "b"}) as backend:
            for call in (
                backend.put("k", b"", if_absent=True),
                backend.get("k"),
                backend.head("k"),
                backend.delete("k"),
                anext(aiter(backend.list(""))),
            ):
                with pytest.raises(BackendUnavailable):
                    await call


async def test_a_server_that_never_answers_is_unavailable_after_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"s3://interviews?endpoint=http://127.0.0.1:{listening.getsockname()[1]}&timeout=0.05"
        async with open_backend(url, {"access_key_id": "a", "secret_access_key": "b"}) as backend:
            with trio.fail_after(5), pytest.raises(BackendUnavailable):
                await backend.put("k", b"")


async def test_a_cancelled_read_does_not_wait_for_a_hung_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"s3://interviews?endpoint=http://127.0.0.1:{listening.getsockname()[1]}&timeout=2"
        async with open_backend(url, {"access_key_id": "a", "secret_access_key": "b"}) as backend:
            began = trio.current_time()
            with trio.move_on_after(0.02) as scope:
                await backend.get("k")
            assert scope.cancelled_caught
            assert trio.current_time() - began < 1


async def test_a_presigned_url_works_without_credentials(s3_server: S3Server) -> None:
    async with open_backend(s3_server.url(), s3_server.credentials) as backend:
        assert isinstance(backend, Presigner)
        put = await backend.presign("signed/ü %.txt", "PUT", timedelta(minutes=1))
        await trio.to_thread.run_sync(_request, put, "PUT", b"by url")
        assert await backend.get("signed/ü %.txt") == b"by url"
        get = await backend.presign("signed/ü %.txt", "GET", timedelta(minutes=1))
        assert await trio.to_thread.run_sync(_request, get, "GET", None) == b"by url"
        with pytest.raises(urllib.error.HTTPError, match="403") as refused:
            await trio.to_thread.run_sync(_request, get.replace("Signature=", "Signature=0"), "GET", None)
        refused.value.close()  # it holds the connection
        with pytest.raises(ValueError, match="GET or PUT"):
            await backend.presign("k", "DELETE", timedelta(minutes=1))
        with pytest.raises(ObjectNotFound):
            await backend.get("never-signed")


def _request(url: str, method: str, body: bytes | None) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(url, body, method=method), timeout=5) as answer:  # noqa: S310 (http, to our own server)
        return bytes(answer.read())
