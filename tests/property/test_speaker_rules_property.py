"""Whatever voices come, and in whatever order: what an interview's clusters and bindings never do."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from interview_edge.core.models import Participant, SessionState
from interview_edge.core.speaker_rules import Decision, SpeakerThresholds, Utterance, resolve_speaker
from interview_edge.core.state_json import state_from_json, state_to_json
from interview_edge.core.voice_profiles import MIN_UPDATE_SECONDS, enrol

RULES = SpeakerThresholds()
DIMENSIONS = 4

voices = arrays.arrays(np.float32, DIMENSIONS, elements=st.floats(-(2.0**100), 2.0**100, width=32)).filter(
    lambda vector: bool(np.any(vector))
)
texts = st.sampled_from([None, "hello", "I'm Alice", "my name is Bob", "我叫王小明", "this is Zoe"])
utterances = st.builds(Utterance, voices, st.floats(0.1, 30.0), st.integers(1, 5), texts)
rosters = st.sampled_from([None, (Participant("Alice"), Participant("王小明", "w@example.com"))])
interviews = st.lists(utterances, min_size=1, max_size=12)
unknown_fields = st.dictionaries(st.sampled_from(["a", "cluster_binding_meta", "z"]), st.integers())


def begin(roster: tuple[Participant, ...] | None, extra: dict[str, Any]) -> SessionState:
    return SessionState(roster=roster, extra=extra)


@given(interviews, rosters, unknown_fields)
def test_centroids_stay_unit_and_ids_are_never_reused(
    spoken: list[Utterance], roster: tuple[Participant, ...] | None, extra: dict[str, Any]
) -> None:
    state = begin(roster, extra)
    for utterance in spoken:
        known = [cluster.cluster_id for cluster in state.clusters]
        answer = resolve_speaker(state, utterance, RULES)
        state = answer.state
        ids = [cluster.cluster_id for cluster in state.clusters]
        assert ids[: len(known)] == known
        assert len(set(ids)) == len(ids) <= len(known) + 1
        assert answer.cluster_id in ids
        for cluster in state.clusters:
            assert abs(np.linalg.norm(cluster.centroid) - 1) < 1e-5
        assert -1 <= answer.evidence.sv_score <= 1
    assert sum(cluster.sample_count for cluster in state.clusters) == len(spoken)


@given(interviews, rosters)
def test_a_binding_is_written_on_auto_only_and_a_name_is_there_unless_unknown(
    spoken: list[Utterance], roster: tuple[Participant, ...] | None
) -> None:
    state = begin(roster, {})
    for utterance in spoken:
        answer = resolve_speaker(state, utterance, RULES)
        assert (answer.speaker_name is None) == (answer.decision is Decision.UNKNOWN)
        if answer.decision is Decision.AUTO:
            assert answer.state.bindings == {**state.bindings, answer.cluster_id: answer.speaker_name}
        else:
            assert answer.state.bindings == state.bindings
            assert [c.bound_name for c in answer.state.clusters][: len(state.clusters)] == [
                c.bound_name for c in state.clusters
            ]
        state = answer.state


@given(interviews, utterances)
def test_a_short_utterance_moves_no_centroid(spoken: list[Utterance], last: Utterance) -> None:
    state = SessionState()
    for utterance in spoken:
        state = resolve_speaker(state, utterance, RULES).state
    short = Utterance(last.embedding, min(last.seconds, MIN_UPDATE_SECONDS - 0.01), 1, last.text)
    after = resolve_speaker(state, short, RULES).state
    before = [cluster.centroid for cluster in state.clusters]
    assert [cluster.centroid for cluster in after.clusters][: len(before)] == before


@given(interviews, rosters, unknown_fields, voices)
def test_the_state_survives_the_wire_with_every_unknown_field(
    spoken: list[Utterance],
    roster: tuple[Participant, ...] | None,
    extra: dict[str, Any],
    enrolled: Any,
) -> None:
    """Resolved on one machine or passed as JSON between many: the same answers."""
    here = enrol(begin(roster, extra), "Alice", enrolled, 3.0).state
    there = here
    for utterance in spoken:
        mine = resolve_speaker(here, utterance, RULES)
        theirs = resolve_speaker(
            state_from_json(json.loads(json.dumps(state_to_json(there)))), utterance, RULES
        )
        assert mine == theirs
        here, there = mine.state, theirs.state
    assert {name: here.extra[name] for name in extra} == extra


@given(st.lists(st.tuples(voices, st.floats(0.1, 30.0)), min_size=1, max_size=8))
def test_a_profile_stays_unit_and_its_seconds_only_grow(samples: list[tuple[Any, float]]) -> None:
    state, seconds = SessionState(), 0.0
    for embedding, length in samples:
        answer = enrol(state, "Ann", embedding, length)
        state = answer.state
        assert abs(np.linalg.norm(answer.profile.centroid) - 1) < 1e-5
        assert answer.profile.sample_seconds >= seconds
        assert answer.updated or answer.profile.sample_seconds == seconds
        seconds = answer.profile.sample_seconds
    assert answer.profile.sample_count == len(samples)
