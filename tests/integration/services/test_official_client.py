"""OpenAI's own client against a node that is served, unmodified: only its base URL is ours."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import openai
import pytest
import trio

from api_keys import give_key
from interview_edge.serving import Server, open_server
from interview_edge.settings import Settings
from openai_api import ANSWER_SDP, KEY, OpenAiApi

T = TypeVar("T")


@pytest.fixture
async def server(tmp_path: Path, api: OpenAiApi) -> AsyncIterator[Server]:
    settings = Settings(
        data_dir=tmp_path / "data",
        port=0,
        journal_min_free_bytes=0,
        openai_api_key=KEY,
        openai_base_url=api.url,
        realtime_mints_a_day=2,
    )
    async with open_server(settings) as server:
        yield server


async def ask(server: Server, key: str, work: Callable[[openai.OpenAI], T]) -> T:
    def run() -> T:
        with openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0) as client:
            return work(client)

    return await trio.to_thread.run_sync(run)


async def test_it_parses_a_client_secret(server: Server) -> None:
    key = await give_key(server.edge, "realtime")
    session: Any = {"type": "realtime", "model": "gpt-realtime"}
    made = await ask(server, key, lambda client: client.realtime.client_secrets.create(session=session))
    assert made.value.startswith("ek_")
    assert made.session.type == "realtime"
    assert made.expires_at > 0


async def test_it_starts_a_call(server: Server) -> None:
    key = await give_key(server.edge, "realtime")
    sdp = "v=0\r\no=- 2 2 IN IP4 127.0.0.1\r\n"
    session: Any = {"type": "realtime", "model": "gpt-realtime"}
    answer = await ask(
        server, key, lambda client: client.realtime.calls.create(sdp=sdp, session=session).content
    )
    assert answer == ANSWER_SDP


async def test_it_knows_our_refusals(server: Server, api: OpenAiApi) -> None:
    key = await give_key(server.edge, "realtime")
    other = await give_key(server.edge, "ingest")
    create = partial(_create, model="gpt-realtime")
    for wrong, error in (("ie_wrong", openai.AuthenticationError), (other, openai.PermissionDeniedError)):
        with pytest.raises(error):
            await ask(server, wrong, create)
    with pytest.raises(openai.BadRequestError, match="model must be one of"):
        await ask(server, key, partial(_create, model="gpt-5"))
    await ask(server, key, create)
    await ask(server, key, create)
    with pytest.raises(openai.RateLimitError) as limited:
        await ask(server, key, create)
    assert limited.value.code == "quota_exceeded"


def _create(client: openai.OpenAI, *, model: str) -> Any:
    session: Any = {"type": "realtime", "model": model}
    return client.realtime.client_secrets.create(session=session)
