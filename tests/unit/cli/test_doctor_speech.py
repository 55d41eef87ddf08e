"""The doctor's look at speech: what is there, what isn't, what answers wrongly, what would keep a node from
starting.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio

from inference_api import InferenceApi, answer_of
from interview_edge.cli.doctor_findings import Finding, Verdict
from interview_edge.cli.doctor_speech import examine_speech
from interview_edge.settings import Settings
from transcription_api import KEY, hear, serve_transcription


async def examined(tmp_path: Path, **settings: Any) -> dict[str, Finding]:
    found = await examine_speech(Settings(data_dir=tmp_path, **settings))
    return {finding.check: finding for finding in found}


async def test_a_node_without_models_is_well_and_hears_how_to_get_them(tmp_path: Path) -> None:
    found = await examined(tmp_path)
    assert {finding.verdict for finding in found.values()} == {Verdict.OK}
    assert found["voice detection"].found == "webrtc"
    assert "models fetch whisper-base" in found["transcription"].mend
    assert "models fetch campplus" in found["speakers"].mend


@pytest.mark.parametrize(
    ("key", "verdict", "told"), [(KEY, Verdict.OK, "a second in"), ("wrong", Verdict.WARNING, "refused")]
)
async def test_an_api_of_transcription_is_asked_once(
    tmp_path: Path, key: str, verdict: Verdict, told: str
) -> None:
    async with trio.open_nursery() as nursery:
        api = await nursery.start(serve_transcription)
        api.answer = hear
        found = await examined(tmp_path, transcription_base_url=api.url, transcription_api_key=key)
        nursery.cancel_scope.cancel()
    finding = found["transcription"]
    assert finding.verdict is verdict
    assert told in finding.found
    assert key not in finding.found + finding.mend
    assert ("EDGE_TRANSCRIPTION_API_KEY" in finding.mend) is (verdict is Verdict.WARNING)
    assert len(api.asked) == 1


@pytest.mark.parametrize(("status", "verdict"), [(200, Verdict.OK), (500, Verdict.WARNING)])
async def test_an_inference_api_is_asked_once(tmp_path: Path, status: int, verdict: Verdict) -> None:
    api = InferenceApi()
    good = api.reply
    api.reply = lambda request: (status, good(request)[1])
    async with trio.open_nursery() as nursery:
        await nursery.start(api.serve)
        found = await examined(tmp_path, inference_base_url=api.url)
        nursery.cancel_scope.cancel()
    assert found["speakers"].verdict is verdict
    assert ("INFERENCE_BASE_URL" in found["speakers"].mend) is (verdict is Verdict.WARNING)
    assert [request["session_id"] for request in api.asked] == ["doctor"]


@pytest.mark.parametrize("wrong", [{"hello": "world"}, answer_of(updated_state=7)])
async def test_an_inference_api_that_answers_what_no_node_can_read_is_a_warning(
    tmp_path: Path, wrong: dict[str, Any]
) -> None:
    api = InferenceApi()
    api.reply = lambda request: (200, json.dumps(wrong).encode())
    async with trio.open_nursery() as nursery:
        await nursery.start(api.serve)
        found = await examined(tmp_path, inference_base_url=api.url)
        nursery.cancel_scope.cancel()
    assert found["speakers"].verdict is Verdict.WARNING
    assert "wrong shape" in found["speakers"].found


async def test_a_provider_that_is_away_is_a_warning(tmp_path: Path) -> None:
    away = {"transcription_base_url": "http://127.0.0.1:1/v1", "inference_base_url": "http://127.0.0.1:1"}
    found = await examined(tmp_path, **away)
    assert found["transcription"].verdict is found["speakers"].verdict is Verdict.WARNING
    assert "EDGE_TRANSCRIPTION_BASE_URL" in found["transcription"].mend


@pytest.mark.parametrize(
    ("check", "setting"),
    [("voice detection", "vad"), ("transcription", "transcriber"), ("speakers", "speakers")],
)
async def test_a_plugin_that_is_not_there_would_keep_the_node_from_starting(
    tmp_path: Path, check: str, setting: str
) -> None:
    finding = (await examined(tmp_path, **{setting: "nosuch"}))[check]
    assert finding.verdict is Verdict.FAILED
    assert f"EDGE_{setting.upper()}" in finding.mend
