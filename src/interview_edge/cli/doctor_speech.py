"""`interview-edge doctor`, the part about speech: each provider is opened as a start does it, and asked once.

A provider that doesn't answer is a warning at most: audio is taken without it. Only what would keep the node
from starting is a failure.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from importlib.resources import files

import trio

from interview_edge.cli.doctor_findings import DEADLINE, Finding, Verdict
from interview_edge.core.pcm import CHUNK_BYTES
from interview_edge.errors import INFERENCE_SHAPE, EdgeError
from interview_edge.sessions.resolving import read_answer
from interview_edge.settings import Settings, SettingsError
from interview_edge.speech.speaker_providers import WatchedSpeakers, chosen, open_speakers
from interview_edge.speech.transcriber import Failure, TranscriptionFailed
from interview_edge.speech.transcribers import open_transcriber
from interview_edge.speech.vads import open_vad
from interview_edge.tracing import NoTracing

_INSTALL = "pip install 'interview-edge[local]' && interview-edge models fetch"
_MENDS = {
    Failure.UNREACHABLE: "check transcription_base_url (EDGE_TRANSCRIPTION_BASE_URL)",
    Failure.REFUSED: "check EDGE_TRANSCRIPTION_API_KEY and EDGE_TRANSCRIPTION_MODEL",
    Failure.UNAVAILABLE: "interview-edge models fetch",
}
_SPEAKER_MENDS = {
    "http": "check INFERENCE_BASE_URL, INFERENCE_RESOLVE_PATH and INFERENCE_API_KEY",
    "local": "interview-edge models fetch campplus",
}
_OF_A_PLUGIN = "ask the author of the plugin; EDGE_SPEAKERS=off does without"


async def examine_speech(settings: Settings) -> list[Finding]:
    """Voice detection, transcription and speakers, each within a deadline."""
    return [
        await _within_deadline("voice detection", _vad, settings),
        await _within_deadline("transcription", _transcription, settings),
        await _within_deadline("speakers", _speakers, settings),
    ]


async def _within_deadline(
    check: str, examine: Callable[[Settings], Awaitable[tuple[Verdict, str, str]]], settings: Settings
) -> Finding:
    try:
        with trio.fail_after(DEADLINE):
            return Finding(check, *await examine(settings))
    except trio.TooSlowError:
        return Finding(check, Verdict.WARNING, f"no answer within {DEADLINE:g} s")
    except SettingsError as error:
        return Finding(check, Verdict.FAILED, "the node won't start", str(error))
    except OSError as error:  # of the model folder
        return Finding(check, Verdict.FAILED, "the node won't start", str(error))


async def _vad(settings: Settings) -> tuple[Verdict, str, str]:
    async with open_vad(settings) as vad:
        return Verdict.OK, vad.provider, ""


async def _transcription(settings: Settings) -> tuple[Verdict, str, str]:
    async with open_transcriber(settings, NoTracing()) as transcriber:
        if transcriber is None:
            mend = f"for text: {_INSTALL} whisper-base, or set EDGE_TRANSCRIPTION_BASE_URL"
            return Verdict.OK, "none: audio is kept, and nothing is written", mend
        try:
            found = await transcriber.transcribe(bytes(CHUNK_BYTES))
        except TranscriptionFailed as error:
            return Verdict.WARNING, f"{transcriber.provider}: {error}", _MENDS.get(error.failure, "")
        return Verdict.OK, f"{transcriber.provider}, a second in {found.fetch_ms:.0f} ms", ""


async def _speakers(settings: Settings) -> tuple[Verdict, str, str]:
    async with open_speakers(settings, NoTracing()) as inference:
        if inference is None:
            mend = f"for names: {_INSTALL} campplus, or set INFERENCE_BASE_URL"
            return Verdict.OK, "none: who speaks isn't told", mend
        speakers = WatchedSpeakers(inference)
        try:
            answer = await speakers.resolve(_request())
            read_answer(answer, at=0)
        except EdgeError as error:
            wrong = error.detail if error.kind is INFERENCE_SHAPE else "it refuses recorded speech"
            trouble = speakers.trouble or wrong
            mend = _SPEAKER_MENDS.get(chosen(settings) or "", _OF_A_PLUGIN)
            return Verdict.WARNING, f"{speakers.provider}: {trouble}", mend
        return Verdict.OK, f"{speakers.provider}, tells voices", ""


def _request() -> dict[str, object]:
    """The demo's recorded speech, in a session of nobody's."""
    speech = (files("interview_edge.cli") / "demo_audio" / "jfk.flac").read_bytes()
    return {
        "session_id": "doctor",
        "audio": {"content_b64": base64.b64encode(speech).decode("ascii"), "format": "flac"},
        "asr_text": None,
        "state": {"clusters": [], "bindings": {}, "config": {}},
    }
