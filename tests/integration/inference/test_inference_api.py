"""The speaker inference API, by its contract (inference.md): each route, each format, each refusal."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import av
import numpy as np
import pytest
import trio

from asgi_calls import Answer, call
from interview_edge.speech.model_files import ModelError
from interview_edge.web.inference_app import InferenceAsgi
from voices import RATE, SpectrumEmbedder, audio, encoded, jfk

DEEPER = {"sample_rate": 11_025}


async def post(api: InferenceAsgi, path: str, body: Any, **more: Any) -> Answer:
    return await call(api, "POST", path, body=body, **more)


async def resolve(api: InferenceAsgi, state: Any = None, text: str | None = None, **sound: Any) -> Any:
    clip = audio(jfk(4.0, sound.pop("start", 0.0)), **sound)
    body = {"session_id": "s", "audio": clip, "asr_text": text, "state": state or {}}
    answer = await post(api, "/speaker/resolve", body)
    assert answer.status == 200, answer.body
    return answer.json()


async def test_health(make_api) -> None:
    answer = await call(make_api(api_key="secret"), "GET", "/health")
    assert (answer.status, answer.json()) == (200, {"status": "ok", "model_id": "spectrum"})
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-request-id"]


async def test_an_interview_is_told_apart_and_named(make_api) -> None:
    api = make_api()
    first = await resolve(api, {"config": {"a": 1}, "later": [1]}, "Hello, I'm Jack.")
    assert (first["session_id"], first["cluster_id"], first["speaker_name"]) == ("s", "c1", "Jack")
    assert (first["decision"], first["evidence"]["sv_score"]) == ("auto", 1.0)
    second = await resolve(api, first["updated_state"], **DEEPER)
    assert (second["cluster_id"], second["decision"], second["speaker_name"]) == ("c2", "unknown", None)
    third = await resolve(api, second["updated_state"], start=6.0)
    assert (third["cluster_id"], third["decision"], third["speaker_name"]) == ("c1", "auto", "Jack")
    assert set(third["evidence"]) == {
        *("sv_score", "threshold_low", "threshold_high", "segment_count", "name_hit", "roster_hit"),
        *("profile_top_name", "profile_top_score", "profile_margin", "binding_source", "reason"),
    }
    state = third["updated_state"]
    assert (state["later"], state["config"], state["bindings"]) == ([1], {"a": 1}, {"c1": "Jack"})
    assert [(c["cluster_id"], c["sample_count"]) for c in state["clusters"]] == [("c1", 2), ("c2", 1)]


async def test_who_is_enrolled_is_known(make_api) -> None:
    api = make_api()
    state: Any = {}
    for name, more in (("Jack", {}), ("Deep Jack", DEEPER)):
        body = {"session_id": "s", "participant_name": name, "audio": audio(jfk(4.0), **more), "state": state}
        enrolled = (await post(api, "/speaker/enroll", body)).json()
        assert enrolled["embedding_dim"] == 23
        assert (enrolled["participant_name"], enrolled["profile_updated"]) == (name, True)
        assert enrolled["sample_seconds"] > 1.5
        state = enrolled["updated_state"]
    assert [(p["name"], p["status"], p["sample_count"]) for p in state["participant_profiles"]] == [
        ("Jack", "ready", 1),
        ("Deep Jack", "ready", 1),
    ]
    answer = await resolve(api, state, start=6.0, **DEEPER)
    assert (answer["speaker_name"], answer["evidence"]["profile_top_name"]) == ("Deep Jack", "Deep Jack")
    assert answer["evidence"]["binding_source"] == "profile"


async def test_embeddings_and_scores(make_api) -> None:
    api = make_api()
    found = (await post(api, "/sv/extract_embedding", {"audio": audio(jfk(3.0))})).json()
    assert (found["model_id"], found["model_revision"], found["embedding_dim"]) == ("spectrum", "1", 23)
    assert np.linalg.norm(found["embedding"]) == pytest.approx(1.0, abs=1e-6)
    one, same, other = audio(jfk(3.0)), audio(jfk(4.0, 6.0)), audio(jfk(3.0), **DEEPER)
    scores = [
        (await post(api, "/sv/score", {"audio_a": one, "audio_b": each})).json()["score"]
        for each in (one, same, other)
    ]
    assert scores[0] == pytest.approx(1.0, abs=1e-5)
    assert scores[0] > scores[1] > scores[2] >= -1


# -- formats


def m4a(samples: Any) -> dict[str, Any]:
    """AAC in MP4, its index at the end, as recorders write it."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[np.newaxis], format="fltp", layout="mono")
        frame.sample_rate = RATE
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return {"content_b64": base64.b64encode(file.getvalue()).decode(), "format": "m4a"}


def stereo_at_48k(samples: Any) -> dict[str, Any]:
    wide = np.repeat(np.stack([samples, samples], axis=1), 3, axis=0)
    return audio(wide, sample_rate=48_000, channels=2)


@pytest.mark.parametrize(
    "make",
    [
        audio,
        stereo_at_48k,
        m4a,
        lambda samples: encoded(samples, "WAV"),
        lambda samples: encoded(samples, "WAV", subtype="IMA_ADPCM"),
        lambda samples: encoded(samples, "FLAC"),
        lambda samples: encoded(samples, "OGG"),
        lambda samples: encoded(samples, "MP3"),
    ],
    ids=["pcm", "stereo", "m4a", "wav", "adpcm", "flac", "ogg", "mp3"],
)
async def test_each_format_is_the_same_voice(make_api, make: Any) -> None:
    body = {"audio_a": audio(jfk(4.0)), "audio_b": make(jfk(4.0))}
    answer = await post(make_api(), "/sv/score", body)
    assert answer.status == 200, answer.body
    assert answer.json()["score"] > 0.8


# -- refusals

CLIP = audio(jfk(2.0))


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


@pytest.mark.parametrize(
    ("sound", "status", "code", "detail"),
    [
        (CLIP | {"content_b64": "***"}, 400, "audio_undecodable", "audio.content_b64 is not valid base64"),
        (CLIP | {"content_b64": b64(b"abc")}, 400, "audio_undecodable", "no whole number of frames"),
        ({"content_b64": b64(b"hello"), "format": "wav"}, 400, "audio_undecodable", "can't be decoded"),
        ({"content_b64": b64(b"hello"), "format": "m4a"}, 400, "audio_undecodable", "can't be decoded"),
        (
            # A playlist, which FFmpeg would follow if it were left to guess.
            {"content_b64": b64(b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"), "format": "m4a"},
            400,
            "audio_undecodable",
            "can't be decoded",
        ),
        (
            encoded(jfk(1.0), "WAV") | {"content_b64": b64(b"RIFF\xff\xff\xff\xffWAVE")},
            400,
            "audio_undecodable",
            "can't be decoded",
        ),
        (audio(np.tile(jfk(11.0), 3)[: 31 * RATE]), 422, "clip_too_long", "at most 30 s"),
        (audio(np.zeros(2 * RATE, np.float32)), 422, "no_speech", "no speech"),
        (CLIP | {"format": "aiff"}, 422, "unprocessable", "audio.format"),
        (CLIP | {"sample_rate": 7_999}, 422, "unprocessable", "8000"),
        (CLIP | {"channels": 3}, 422, "unprocessable", "<= 2"),
        ({"format": "wav"}, 422, "unprocessable", "content_b64"),
    ],
)
async def test_audio_that_is_refused(
    make_api, sound: dict[str, Any], status: int, code: str, detail: str
) -> None:
    answer = await post(make_api(), "/sv/extract_embedding", {"audio": sound})
    assert (answer.status, answer.json()["code"]) == (status, code)
    assert detail in answer.json()["detail"]


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"session_id": ""}, "$.session_id"),
        ({"asr_text": 1}, "$.asr_text"),
        ({"state": {"clusters": [{}]}}, "cluster.sample_count"),
        ({"state": {"roster": [{"name": 1}]}}, "roster[0].name"),
        ({"state": {"participant_profiles": [1]}}, "participant_profiles[0] must be an object"),
        ({"audio": None}, "$.audio"),
    ],
)
async def test_a_resolve_of_the_wrong_shape_is_422(make_api, change: dict[str, Any], detail: str) -> None:
    body = {"session_id": "s", "audio": CLIP, "state": {}} | change
    answer = await post(make_api(), "/speaker/resolve", body)
    assert (answer.status, answer.json()["code"]) == (422, "unprocessable")
    assert detail in answer.json()["detail"]


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"\xff", b'{"audio":' + b"[" * 100_000])
async def test_what_is_no_json_object_is_422(make_api, body: bytes) -> None:
    answer = await post(make_api(), "/sv/extract_embedding", body)
    assert (answer.status, answer.json()["code"]) == (422, "unprocessable")


async def test_a_body_over_6_mib_is_413_before_it_is_read(make_api) -> None:
    body = b" " * (6 * 1024 * 1024 + 1)
    answer = await post(make_api(), "/speaker/resolve", body)
    assert (answer.status, answer.json()["code"]) == (413, "body_too_large")


async def test_the_key_is_asked_for(make_api) -> None:
    api = make_api(api_key="correct horse")
    body = {"audio": CLIP}
    statuses = {}
    for shown in (None, "wrong", "correct horse"):
        headers = {} if shown is None else {"x-api-key": shown}
        answer = await post(api, "/sv/extract_embedding", body, headers=headers)
        statuses[shown] = (answer.status, answer.json().get("code"))
    assert statuses == {
        None: (401, "missing_auth"),
        "wrong": (401, "invalid_key"),
        "correct horse": (200, None),
    }


async def test_an_address_has_so_many_requests_a_minute_and_wrong_keys_count(
    make_api, autojump_clock
) -> None:
    api = make_api(api_key="k", requests_a_minute=3)
    statuses = [
        (await post(api, "/sd/diarize", b"", headers={"x-api-key": key})).status
        for key in ("k", "wrong", "k", "k")
    ]
    assert statuses == [501, 401, 501, 429]
    limited = await post(api, "/sd/diarize", b"")
    assert limited.json()["detail"] == "at most 3 requests a minute; retry later"
    assert int(limited.headers["retry-after"]) == 20
    assert (await post(api, "/sd/diarize", b"", headers={"x-api-key": "k"}, client="10.0.0.9")).status == 501
    assert (await call(api, "GET", "/health")).status == 200
    await trio.sleep(20)
    assert (await post(api, "/sd/diarize", b"", headers={"x-api-key": "k"})).status == 501


async def test_diarize_says_that_it_is_not_offered(make_api) -> None:
    answer = await post(make_api(), "/sd/diarize", {"audio": CLIP})
    assert (answer.status, answer.json()["code"]) == (501, "diarize_unsupported")


async def test_other_paths_and_methods(make_api) -> None:
    assert (await call(make_api(), "GET", "/nothing")).status == 404
    wrong = await call(make_api(), "GET", "/speaker/resolve")
    assert (wrong.status, wrong.headers["allow"]) == (405, "POST")


async def test_a_model_that_can_not_be_loaded_is_a_500_that_says_so_and_is_tried_again(make_api) -> None:
    tries = 0

    def load() -> SpectrumEmbedder:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise ModelError("campplus is missing: run `interview-edge models fetch`")
        return SpectrumEmbedder()

    api = make_api(load)
    failed = await post(api, "/sv/extract_embedding", {"audio": CLIP})
    assert (failed.status, failed.json()["code"]) == (500, "speaker_model_failed")
    assert "interview-edge models fetch" in failed.json()["detail"]
    assert (await post(api, "/sv/extract_embedding", {"audio": CLIP})).status == 200


async def test_a_model_that_fails_is_a_500(make_api) -> None:
    class Broken(SpectrumEmbedder):
        def embed(self, samples: Any) -> Any:
            raise ModelError("out of order")

    answer = await post(make_api(Broken), "/sv/extract_embedding", {"audio": CLIP})
    assert (answer.status, answer.json()["code"]) == (500, "speaker_model_failed")


async def test_answers_are_json_in_utf_8(make_api) -> None:
    answer = await resolve(make_api(), {}, "我叫王小明。")
    assert answer["speaker_name"] == "王小明"
    assert json.dumps(answer)
