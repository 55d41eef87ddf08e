"""The HTTP routes of the API (contract ingest.md). httpx lives behind this module only."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import attrs
import httpx
import msgspec
import trio

from interview_edge.client.errors import EdgeRequestError, EdgeUnreachable
from interview_edge.client.urls import session_segment, with_key
from interview_edge.core.models import DEFAULT_STREAM

DEFAULT_TIMEOUT = 60.0  # over finalize's 30 s and resolve's 15 s
# Closing may wait on the peer (TLS), and has to happen after a cancellation too.
_CLOSE_TIMEOUT = 1.0


@attrs.frozen
class SavedAudio:
    """What `EdgeHttp.save_audio` wrote: bytes, and how many of its seconds are silence in place of gaps."""

    size: int
    missing_seconds: int


class EdgeHttp:
    """A client of one server's HTTP routes, with its own connections: `async with EdgeHttp(url) as edge:`.

    Every method raises `EdgeRequestError` for an answer that isn't a success and `EdgeUnreachable` for none
    at all. Nothing is retried. Cancelling a method closes its connection; a write may have happened by then.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """`api_key` is sent as `Authorization: Bearer`. `timeout` in seconds, for each of connect, read,
        write.

        `transport` reaches a server inside this program: `httpx.ASGITransport(app)`.
        """
        self._base = base_url.rstrip("/")
        self._client = httpx.AsyncClient(
            headers=with_key(headers, api_key), timeout=timeout, transport=transport, trust_env=False
        )

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *exc_info: Any) -> None:
        with trio.move_on_after(_CLOSE_TIMEOUT, shield=True):
            await self._client.__aexit__(*exc_info)

    # -- the node

    async def health(self) -> dict[str, Any]:
        """`GET /health`: status, version, sessions, checks."""
        return await self._json("GET", "/health")

    async def is_ready(self) -> bool:
        """`GET /readyz`: whether the node takes sessions now (False while it starts or drains)."""
        try:
            await self._json("GET", "/readyz")
        except EdgeRequestError as error:
            if error.status == 503:
                return False
            raise
        return True

    # -- sessions

    async def sessions(self, *, limit: int | None = None, cursor: str | None = None) -> dict[str, Any]:
        """`GET /v1/sessions`: one page, newest first; `next` of the answer is the next page's `cursor`."""
        return await self._json("GET", "/v1/sessions", params={"limit": limit, "cursor": cursor})

    async def state(self, session_id: str) -> dict[str, Any]:
        """`GET .../state`: state, counts, `ingest`. A session never seen is an empty one, not an error."""
        return await self._json("GET", _path(session_id, "state"))

    async def events(
        self, session_id: str, *, after: int = 0, limit: int | None = None
    ) -> Sequence[Mapping[str, Any]]:
        """`GET .../events`: one page of events with `seq_no` > `after`; empty at the end."""
        page = await self._json("GET", _path(session_id, "events"), params={"after": after, "limit": limit})
        return page["items"]  # type: ignore[no-any-return]  # the contract's shape

    async def finalize(self, session_id: str, metadata: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """`POST .../finalize`: result_key, complete, missing. May be repeated."""
        body = {} if metadata is None else {"metadata": metadata}
        return await self._json("POST", _path(session_id, "finalize"), body=body)

    async def result(self, session_id: str) -> dict[str, Any]:
        """`GET .../result`: result.json. 404 `not_finalized` until then."""
        return await self._json("GET", _path(session_id, "result"))

    async def resolve(
        self, session_id: str, request: Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> dict[str, Any]:
        """`POST .../resolve`: who speaks in `request["audio"]`. With a key, a repeat gets the same answer."""
        headers = {} if idempotency_key is None else {"x-idempotency-key": idempotency_key}
        return await self._json("POST", _path(session_id, "resolve"), body=request, headers=headers)

    async def delete(self, session_id: str) -> None:
        """`DELETE` the session: its audio, events and result. 409 `session_live` while a socket is open."""
        async with self._request("DELETE", _path(session_id)):
            pass

    # -- audio

    async def chunk(self, session_id: str, seq: int, *, stream: str = DEFAULT_STREAM) -> bytes:
        """`GET .../chunks/{seq}`: the PCM of one second."""
        path = _path(session_id, f"chunks/{seq}")
        async with self._request("GET", path, params=_stream_query(stream)) as response:
            return await _read(response)

    async def save_audio(
        self, session_id: str, path: Path, *, stream: str = DEFAULT_STREAM, format: str = "wav"
    ) -> SavedAudio:
        """`GET .../audio` into a file, streamed. A download that breaks leaves a file that is too short."""
        params = {**_stream_query(stream), "format": None if format == "wav" else format}
        async with self._request("GET", _path(session_id, "audio"), params=params) as response:
            size = await _save(response, path)
            return SavedAudio(size, int(response.headers.get("x-missing-seconds", 0)))

    # -- stored audio, for scope admin

    async def storage_stats(self) -> dict[str, Any]:
        """`GET /api/audio-storage/stats`: files and bytes stored, and how storing goes."""
        return await self._data("GET", "/api/audio-storage/stats")

    async def files(
        self, user: str, *, limit: int | None = None, cursor: str | None = None
    ) -> dict[str, Any]:
        """`GET /api/audio-storage/files/{user}`: one page; `nextCursor` is the next page's `cursor`."""
        path = f"/api/audio-storage/files/{quote(user, safe='')}"
        return await self._data("GET", path, params={"limit": limit, "cursor": cursor})

    async def save_file(self, key: str, path: Path) -> int:
        """`GET /api/audio-storage/download/{key}` into a file, streamed; answers its bytes."""
        async with self._request("GET", f"/api/audio-storage/download/{quote(key)}") as response:
            return await _save(response, path)

    async def save_zip(self, wanted: Sequence[str] | str, path: Path) -> int:
        """`POST /api/audio-storage/download` into a file, streamed: objects by their keys, or a session's by
        its id. A ZIP that breaks off raises `EdgeUnreachable`, and no program opens what there is of it.
        """
        body = {"sessionId": wanted} if isinstance(wanted, str) else {"paths": list(wanted)}
        async with self._request("POST", "/api/audio-storage/download", body=body) as response:
            return await _save(response, path)

    async def delete_files(self, keys: Sequence[str]) -> dict[str, Any]:
        """`POST /api/audio-storage/delete`: `deleted`, `failed` by path with its reason."""
        return await self._data("POST", "/api/audio-storage/delete", body={"paths": list(keys)})

    async def clean_up(self, max_age_days: int, *, dry_run: bool = False) -> dict[str, Any]:
        """`POST /api/audio-storage/cleanup`: what is older goes, but of live sessions."""
        body = {"maxAgeDays": max_age_days, "dryRun": dry_run}
        return await self._data("POST", "/api/audio-storage/cleanup", body=body)

    # -- inside

    async def _data(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        """What a success of the family `/api` holds."""
        data: dict[str, Any] = (await self._json(method, path, **more))["data"]
        return data

    async def _json(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        async with self._request(method, path, params=params, body=body, headers=headers) as response:
            data = await _read(response)
        try:
            return msgspec.json.decode(data, type=dict[str, Any])
        except (ValueError, RecursionError) as error:
            raise EdgeRequestError(response.status_code, "", "the answer is not a JSON object") from error

    @asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[httpx.Response]:
        """A successful answer whose body is still to be read."""
        request = self._client.build_request(
            method,
            self._base + path,
            params={name: value for name, value in (params or {}).items() if value is not None},
            content=None if body is None else msgspec.json.encode(body),
            headers={**({} if body is None else {"content-type": "application/json"}), **(headers or {})},
        )
        try:
            response = await self._client.send(request, stream=True)
        except httpx.TransportError as error:
            raise _unreachable(error) from error
        try:
            if not response.is_success:
                raise _refusal(response, await _read(response))
            yield response
        finally:
            with trio.move_on_after(_CLOSE_TIMEOUT, shield=True):
                await response.aclose()


def _path(session_id: str, rest: str = "") -> str:
    path = f"/v1/sessions/{session_segment(session_id)}"
    return f"{path}/{rest}" if rest else path


def _stream_query(stream: str) -> dict[str, str | None]:
    return {"stream": None if stream == DEFAULT_STREAM else stream}


async def _read(response: httpx.Response) -> bytes:
    try:
        return await response.aread()
    except httpx.TransportError as error:
        raise _unreachable(error) from error


async def _save(response: httpx.Response, path: Path) -> int:
    """The body into a file, a part at a time; answers its bytes."""
    size = 0
    async with await trio.open_file(path, "wb") as file:
        try:
            async for part in response.aiter_bytes():
                size += await file.write(part)
        except httpx.TransportError as error:
            raise _unreachable(error) from error
    return size


def _unreachable(error: httpx.TransportError) -> EdgeUnreachable:
    return EdgeUnreachable(f"{error.request.method} {error.request.url}: {error or type(error).__name__}")


def _refusal(response: httpx.Response, body: bytes) -> EdgeRequestError:
    """The error body of either route family: `{detail, code}`, or `{error, code}` of the admin API."""
    said: Any = None
    try:
        said = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        said = None  # a proxy's page
    fields = said if isinstance(said, dict) else {}
    retry_after = response.headers.get("retry-after", "")
    return EdgeRequestError(
        response.status_code,
        str(fields.get("code", "")),
        str(
            fields.get("detail") or fields.get("error") or httpx.codes.get_reason_phrase(response.status_code)
        ),
        retry_after=float(retry_after) if retry_after.isdigit() else None,
    )
