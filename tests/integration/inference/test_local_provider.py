"""The same API inside a node: resolve without INFERENCE_BASE_URL, and what /health says of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from asgi_calls import Answer, call
from interview_edge.app import Edge
from interview_edge.errors import INFERENCE_TIMEOUT
from interview_edge.settings import Settings, SettingsError
from interview_edge.speech import speaker_providers
from interview_edge.speech.local_speakers import LocalSpeakers
from interview_edge.speech.model_files import folder_of
from interview_edge.speech.models import CAMPPLUS
from interview_edge.speech.speaker_work import SpeakerWork, SpeakerWorkOptions
from nodes import nodes_in, second
from voices import SpectrumEmbedder, audio, jfk, pcm


def spectrum(timeout: float = 10.0) -> LocalSpeakers:
    return LocalSpeakers(SpeakerWork(SpectrumEmbedder, SpeakerWorkOptions()), timeout=timeout)


async def resolve(edge: Edge, **body: Any) -> Answer:
    return await call(edge.asgi_app, "POST", "/v1/sessions/s/resolve", body=body)


async def test_resolves_keep_the_state_in_the_node(tmp_path: Path) -> None:
    async with nodes_in(tmp_path)(inference=spectrum()) as edge:
        first = await resolve(edge, audio=audio(jfk(4.0)), asr_text="I'm Jack", roster=[{"name": "Jack"}])
        assert first.status == 200, first.body
        assert (first.json()["decision"], first.json()["evidence"]["roster_hit"]) == ("auto", True)
        second_ = await resolve(edge, audio=audio(jfk(4.0), sample_rate=11_025))
        assert second_.json()["cluster_id"] == "c2"
        third = await resolve(edge, audio=audio(jfk(4.0, 6.0)))
        assert third.json()["speaker_name"] == "Jack"
        state = (await call(edge.asgi_app, "GET", "/v1/sessions/s/state")).json()
        assert state["event_count"] == 3
        assert state["state"]["bindings"] == {"c1": "Jack"}
        health = (await call(edge.asgi_app, "GET", "/health")).json()
        assert health["speakers"] == {"provider": "local campplus"}


async def test_the_window_is_heard(tmp_path: Path) -> None:
    async with nodes_in(tmp_path)(inference=spectrum()) as edge:
        async with edge.session("s") as session:
            heard = pcm(jfk(4.0))
            for seq in range(1, 5):
                await session.feed(heard[(seq - 1) * 32_000 : seq * 32_000], seq=seq)
            answer = await resolve(edge, audio={"last_ms": 4_000})
        assert (answer.status, answer.json()["cluster_id"]) == (200, "c1")


async def test_what_the_api_would_refuse_is_the_same_502_and_changes_nothing(tmp_path: Path) -> None:
    async with nodes_in(tmp_path)(inference=spectrum()) as edge:
        answer = await resolve(edge, audio=audio(jfk(1.0)[:0]) | {"content_b64": "AAAAAA=="})
        assert (answer.status, answer.json()["code"]) == (502, "inference_status")
        assert answer.json()["backend_status"] == 422
        assert json.loads(answer.json()["backend_body"])["code"] == "no_speech"
        health = (await call(edge.asgi_app, "GET", "/health")).json()
        assert health["checks"]["speakers"] == {"status": "ok"}  # which is nothing wrong with the model
        assert (await call(edge.asgi_app, "GET", "/v1/sessions/s/state")).json()["event_count"] == 0


async def test_a_resolve_has_its_deadline(tmp_path: Path) -> None:
    async with nodes_in(tmp_path)(inference=spectrum(timeout=0.0)) as edge:
        answer = await resolve(edge, audio=audio(jfk(4.0)))
        assert (answer.status, answer.json()["code"]) == (504, INFERENCE_TIMEOUT.code)
        check = (await call(edge.asgi_app, "GET", "/health")).json()["checks"]["speakers"]
        assert check == {
            "status": "warn",
            "detail": "the last resolve failed: inference request failed: timeout",
        }


class Defective:
    """A plugin that keeps no promise."""

    provider = "defective"

    async def resolve(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        raise KeyError("a secret")


async def test_a_plugins_defect_is_a_failed_resolve_and_shows_in_health(tmp_path: Path) -> None:
    async with nodes_in(tmp_path)(inference=Defective()) as edge:
        answer = await resolve(edge, audio=audio(jfk(2.0)))
        told = "inference request failed: KeyError"
        assert (answer.status, answer.json()) == (502, {"detail": told, "code": "inference_failed"})
        check = (await call(edge.asgi_app, "GET", "/health")).json()["checks"]["speakers"]
        assert check == {"status": "warn", "detail": f"the last resolve failed: {told}"}


# -- which provider


def put_files(root: Path) -> None:
    """Files of the right size: what a start looks at."""
    for file in CAMPPLUS.files:
        path = folder_of(CAMPPLUS, root) / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as stream:
            stream.truncate(file.size)


@pytest.fixture
def libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the extra `local` were installed."""
    monkeypatch.setattr(speaker_providers, "_LIBRARIES", ("json",))


async def provider_of(edge: Edge) -> str | None:
    found: str | None = (await call(edge.asgi_app, "GET", "/health")).json()["speakers"]["provider"]
    return found


@pytest.mark.parametrize(
    ("changes", "provider"),
    [
        ({}, "local campplus"),
        ({"speakers": "off"}, None),
        ({"speakers": "local", "model_dir": "elsewhere"}, "local campplus"),
        ({"speakers": "off", "inference_base_url": "http://127.0.0.1:1"}, None),
        ({"inference_base_url": "http://127.0.0.1:1"}, "http"),
        ({"model_dir": "elsewhere"}, None),
    ],
)
@pytest.mark.usefixtures("libraries")
async def test_the_settings_pick_the_provider(
    tmp_path: Path, changes: dict[str, Any], provider: str | None
) -> None:
    put_files(tmp_path / "data" / "models")
    async with nodes_in(tmp_path)(**changes) as edge:
        assert await provider_of(edge) == provider


async def test_without_the_extra_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_files(tmp_path / "data" / "models")
    monkeypatch.setattr(speaker_providers, "_LIBRARIES", ("no_such_library",))
    async with nodes_in(tmp_path)() as edge:
        assert await provider_of(edge) is None
        answer = await resolve(edge, audio=audio(jfk(2.0)))
        assert (answer.status, answer.json()["code"]) == (503, "inference_unset")


@pytest.mark.usefixtures("libraries")
async def test_a_damaged_file_says_how_to_fetch_it_again_and_audio_goes_on(tmp_path: Path) -> None:
    put_files(tmp_path / "data" / "models")  # the size is right, the bytes are not
    async with nodes_in(tmp_path)() as edge:
        answer = await resolve(edge, audio=audio(jfk(2.0)))
        assert (answer.status, answer.json()["backend_status"]) == (502, 500)
        told = "is damaged: run `interview-edge models fetch campplus`"
        assert told in answer.json()["backend_body"]
        check = (await call(edge.asgi_app, "GET", "/health")).json()["checks"]["speakers"]
        assert check["status"] == "warn"
        assert told in check["detail"]
        async with edge.session("s") as session:
            await session.feed(second(1), seq=1)


async def test_a_plugin_of_the_entry_point_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package, info = tmp_path / "site" / "my_speakers.py", tmp_path / "site" / "my_speakers-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-speakers\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[interview_edge.speakers]\nmine = my_speakers:open_mine\n")
    package.write_text(
        "from contextlib import asynccontextmanager\n"
        "class Mine:\n"
        "    provider = 'mine'\n"
        "    async def resolve(self, request): ...\n"
        "@asynccontextmanager\n"
        "async def open_mine(settings):\n"
        "    yield Mine()\n"
    )
    monkeypatch.syspath_prepend(package.parent)
    async with nodes_in(tmp_path)(speakers="mine") as edge:
        assert await provider_of(edge) == "mine"


async def test_a_provider_that_is_none_names_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"must be one of auto, off, http, local.*, got 'locall'"):
        async with nodes_in(tmp_path)(speakers="locall"):
            pass


def test_http_needs_its_url() -> None:
    with pytest.raises(SettingsError, match="needs inference_base_url"):
        Settings(speakers="http")


def test_low_is_not_over_high() -> None:
    with pytest.raises(SettingsError, match=r"speaker_low \(EDGE_SPEAKER_LOW\) must be at most"):
        Settings(speaker_low=0.8)
