"""docs/reference/inference.md says what the API does: its routes, its answers' fields, its refusals."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import attrs
import msgspec
import pytest

from asgi_calls import call
from interview_edge.core.models import Participant
from interview_edge.core.speaker_rules import BindingSource, Evidence
from interview_edge.core.voice_profiles import Profile
from interview_edge.errors import ERRORS
from interview_edge.speech.speaker_work import SpeakerWork, SpeakerWorkOptions
from interview_edge.web.inference_app import METHODS, InferenceAsgi, InferenceRules
from interview_edge.wire.speaker_requests import (
    EnrollSpeaker,
    ExtractEmbedding,
    ResolveSpeaker,
    ScoreSpeakers,
)
from voices import SpectrumEmbedder, audio, jfk

TEXT = (Path(__file__).parents[2] / "docs/reference/inference.md").read_text()
REQUESTS = {
    "/speaker/resolve": ResolveSpeaker,
    "/speaker/enroll": EnrollSpeaker,
    "/sv/extract_embedding": ExtractEmbedding,
    "/sv/score": ScoreSpeakers,
}


def rows(heading: str) -> list[list[str]]:
    found = re.search(rf"^\| {heading} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", TEXT, re.MULTILINE)
    assert found is not None
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in found[1].splitlines()]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


ROUTES = {
    names(path)[0].split()[1]: (names(path)[0], names(body), names(gives))
    for path, body, gives in rows("Path")
}


def test_routes_are_all_there() -> None:
    assert {path: route for path, (route, _, _) in ROUTES.items()} == {
        path: f"{method} {path}" for path, method in METHODS.items()
    }


@pytest.mark.parametrize("path", REQUESTS)
async def test_bodies_and_answers_have_the_fields_of_the_table(path: str) -> None:
    _, body, gives = ROUTES[path]
    assert [field.name for field in msgspec.structs.fields(REQUESTS[path])] == body
    values: dict[str, Any] = {"session_id": "s", "participant_name": "Ann", "asr_text": "hello", "state": {}}
    clip = audio(jfk(3.0))
    api = InferenceAsgi(SpeakerWork(SpectrumEmbedder, SpeakerWorkOptions()), InferenceRules(), {})
    answer = await call(api, "POST", path, body={name: values.get(name, clip) for name in body})
    assert list(answer.json()) == gives


def test_evidence_has_the_fields_of_the_table() -> None:
    documented = {name: what for cell, what in rows("Field") for name in names(cell)}
    assert list(documented) == [field.name for field in attrs.fields(Evidence)]
    assert names(documented["binding_source"]) == [source.value for source in BindingSource]


def test_profiles_have_the_fields_of_the_table() -> None:
    documented = {names(part)[0]: names(fields) for part, fields in rows("Part")}
    shown = Profile(Participant("Ann", "ann@example.com"), (1.0,), 1, 3.0).to_json()
    assert list(shown) == documented["participant_profiles"][: len(shown)]


def test_refusals_have_the_statuses_of_the_table() -> None:
    for status, codes, _ in rows("Status"):
        for code in names(codes):
            assert ERRORS[code].status == int(status), code
