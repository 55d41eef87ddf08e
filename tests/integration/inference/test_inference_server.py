"""The speaker inference API over a real socket: asked by a node, refused to strangers, ended in order."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from asgi_calls import call
from interview_edge.settings import Settings, SettingsError
from interview_edge.speech.model_files import ModelError
from interview_edge.speech.speaker_work import SpeakerWork, SpeakerWorkOptions
from interview_edge.web.inference_server import open_inference_server
from nodes import nodes_in
from voices import SpectrumEmbedder, audio, jfk


@pytest.fixture
def _spectrum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "interview_edge.web.inference_server.open_speaker_work",
        lambda _, waiting: SpeakerWork(SpectrumEmbedder, SpeakerWorkOptions(waiting=waiting)),
    )


@asynccontextmanager
async def serving(**changes: Any) -> AsyncIterator[str]:
    async with open_inference_server(Settings(**changes), port=0) as urls:
        yield urls[0]


@pytest.mark.usefixtures("_spectrum")
async def test_a_node_asks_it_with_its_key(tmp_path: Path) -> None:
    async with (
        serving(inference_api_key="k") as url,
        nodes_in(tmp_path)(inference_base_url=url, inference_api_key="k") as edge,
    ):
        body = {"audio": audio(jfk(4.0)), "asr_text": "I'm Jack"}
        answer = await call(edge.asgi_app, "POST", "/v1/sessions/s/resolve", body=body)
        assert (answer.status, answer.json()["speaker_name"]) == (200, "Jack")
        state = (await call(edge.asgi_app, "GET", "/v1/sessions/s/state")).json()["state"]
        assert state["bindings"] == {"c1": "Jack"}


@pytest.mark.usefixtures("_spectrum")
async def test_a_node_with_another_key_is_told_so(tmp_path: Path) -> None:
    async with (
        serving(inference_api_key="k") as url,
        nodes_in(tmp_path)(inference_base_url=url, inference_api_key="other") as edge,
    ):
        answer = await call(edge.asgi_app, "POST", "/v1/sessions/s/resolve", body={"audio": audio(jfk(2.0))})
        assert (answer.status, answer.json()["backend_status"]) == (502, 401)


@pytest.mark.usefixtures("_spectrum")
async def test_health_says_what_runs() -> None:
    async with serving() as url, httpx.AsyncClient(base_url=url) as client:
        health = (await client.get("/health")).json()
        assert (health["status"], health["app"]) == ("ok", "interview-edge inference")
        assert (health["model_id"], health["model_revision"]) == ("spectrum", "1")


@pytest.mark.usefixtures("_spectrum")
async def test_what_is_asked_when_it_ends_is_answered() -> None:
    answers: list[int] = []
    async with httpx.AsyncClient() as client, trio.open_nursery() as nursery:
        async with serving() as url:

            async def ask() -> None:
                body = {"audio": audio(jfk(8.0))}
                answers.append((await client.post(f"{url}/sv/extract_embedding", json=body)).status_code)

            nursery.start_soon(ask)
            await trio.sleep(0.1)  # on its way
        with pytest.raises(httpx.ConnectError):
            await client.get(f"{url}/health")
    assert answers == [200]


@pytest.mark.parametrize("host", ["192.168.1.5", "example.com", "::"])
async def test_without_a_key_only_this_machine_is_served(host: str) -> None:
    with pytest.raises(SettingsError, match="set INFERENCE_API_KEY"):
        async with open_inference_server(Settings(), host=host, port=0):
            pass


async def test_without_the_model_it_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is missing: run `interview-edge models fetch campplus`"):
        async with serving(model_dir=tmp_path):
            pass
