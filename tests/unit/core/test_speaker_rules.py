"""Who is speaking: each line of the contract's table (inference.md), and what is bound."""

from __future__ import annotations

import math
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
import pytest

from interview_edge.core.models import Cluster, Participant, SessionState
from interview_edge.core.speaker_rules import (
    BindingSource,
    Decision,
    Resolution,
    SpeakerThresholds,
    Utterance,
    resolve_speaker,
)
from interview_edge.core.voice_profiles import enrol

RULES = SpeakerThresholds()


def voice(cosine: float = 1.0, axis: int = 1) -> npt.NDArray[np.float32]:
    """A voice as near to the first axis as `cosine` says, and for the rest on another one."""
    vector = np.zeros(8, dtype=np.float32)
    vector[0], vector[axis] = cosine, math.sqrt(1 - cosine**2)
    return vector


def said(cosine: float, text: str | None = None, *, seconds: float = 3.0, axis: int = 1) -> Utterance:
    return Utterance(voice(cosine, axis), seconds, 2, text)


def state(name: str | None = None, *, roster: tuple[str, ...] | None = None, **extra: Any) -> SessionState:
    """One cluster on the first axis, bound to `name`."""
    people = None if roster is None else tuple(Participant(each) for each in roster)
    cluster = Cluster("c1", tuple(voice().tolist()), 1, name, {"sample_seconds": 3.0})
    bindings = {} if name is None else {"c1": name}
    return SessionState((cluster,), bindings, people, extra=extra)


def resolve(before: SessionState, utterance: Utterance) -> Resolution:
    return resolve_speaker(before, utterance, RULES)


def test_the_first_utterance_makes_c1_with_score_1() -> None:
    answer = resolve(SessionState(), said(0.3))
    assert (answer.cluster_id, answer.decision, answer.speaker_name) == ("c1", Decision.UNKNOWN, None)
    assert answer.evidence.sv_score == 1.0
    (cluster,) = answer.state.clusters
    assert cluster.centroid == pytest.approx(voice(0.3), abs=1e-6)
    assert (cluster.sample_count, cluster.bound_name) == (1, None)


def test_evidence_has_the_fields_of_the_contract() -> None:
    answer = resolve(state(), said(0.8, "I'm Alice"))
    assert answer.evidence.to_wire() == {
        "sv_score": 0.8,
        "threshold_low": 0.45,
        "threshold_high": 0.70,
        "segment_count": 2,
        "name_hit": "Alice",
        "roster_hit": None,
        "profile_top_name": None,
        "profile_top_score": None,
        "profile_margin": None,
        "binding_source": "name",
        "reason": "score_high",
    }


@pytest.mark.parametrize(
    ("cosine", "cluster", "clusters"), [(0.45, "c1", 1), (0.4499, "c2", 2), (0.99, "c1", 1), (-0.5, "c2", 2)]
)
def test_from_low_on_a_voice_joins_its_cluster_under_it_makes_another(
    cosine: float, cluster: str, clusters: int
) -> None:
    answer = resolve(state(), said(cosine))
    assert (answer.cluster_id, len(answer.state.clusters)) == (cluster, clusters)
    assert answer.evidence.sv_score == pytest.approx(cosine, abs=1e-4)


def test_the_nearest_cluster_is_joined_and_the_others_stay_as_they_are() -> None:
    two = resolve(state(), said(0.0)).state
    answer = resolve(two, said(0.6))
    assert answer.cluster_id == "c2"
    assert answer.state.clusters[0] == two.clusters[0]


def test_a_centroid_is_the_mean_by_seconds() -> None:
    answer = resolve(state(), said(0.5, seconds=9.0))  # beside 3 s on the first axis
    expected = 3 * voice() + 9 * voice(0.5)
    cluster = answer.state.clusters[0]
    assert cluster.centroid == pytest.approx(expected / np.linalg.norm(expected), abs=1e-6)
    assert (cluster.sample_count, cluster.extra["sample_seconds"]) == (2, 12.0)


def test_under_a_second_and_a_half_counts_and_moves_nothing() -> None:
    before = state()
    cluster = resolve(before, said(0.8, seconds=1.49)).state.clusters[0]
    assert cluster == attrs.evolve(before.clusters[0], sample_count=2)


def test_a_cluster_of_another_model_is_never_joined() -> None:
    foreign = SessionState((Cluster("c7", (1.0, 0.0), 3),))
    answer = resolve(foreign, said(1.0))
    assert (answer.cluster_id, answer.evidence.sv_score) == ("c8", 1.0)


def test_an_id_that_only_a_binding_knows_is_not_given_again() -> None:
    assert resolve(SessionState(bindings={"c4": "Ann", "x": "Bo"}), said(1.0)).cluster_id == "c5"


NOBODY: tuple[str, ...] | None = None


@pytest.mark.parametrize(
    ("bound", "text", "roster", "cosine", "decision", "name"),
    [
        # under low: a new cluster, so nothing is bound to it yet
        ("Bob", "I'm Alice", NOBODY, 0.2, "confirm", "Alice"),
        ("Bob", None, NOBODY, 0.2, "unknown", None),
        # between
        (None, "I'm Alice", NOBODY, 0.6, "confirm", "Alice"),
        ("Bob", None, NOBODY, 0.6, "confirm", "Bob"),
        (None, None, NOBODY, 0.6, "unknown", None),
        # from high on
        (None, "I'm Alice", NOBODY, 0.7, "auto", "Alice"),
        (None, "I'm Alice", ("Alice Smith",), 0.9, "auto", "Alice Smith"),
        (None, "I'm Alice", ("Carol",), 0.9, "confirm", "Alice"),
        ("Bob", None, NOBODY, 0.9, "auto", "Bob"),
        ("Bob", "I'm Alice", ("Alice", "Bob"), 0.9, "auto", "Bob"),  # the binding comes before what is heard
        ("Bob", "I'm Alice", ("Carol",), 0.9, "confirm", "Bob"),
        (None, None, NOBODY, 0.9, "unknown", None),
        (None, None, ("Alice",), 0.9, "unknown", None),
    ],
)
def test_the_table_of_decisions(
    bound: str | None,
    text: str | None,
    roster: tuple[str, ...] | None,
    cosine: float,
    decision: str,
    name: str | None,
) -> None:
    before = state(bound, roster=roster)
    answer = resolve(before, said(cosine, text))
    assert (answer.decision, answer.speaker_name) == (decision, name)
    if decision == "auto":
        assert answer.state.bindings["c1"] == answer.state.clusters[0].bound_name == name
    else:
        assert answer.state.bindings == before.bindings


def test_roster_hit_is_null_without_roster_or_candidate() -> None:
    hits = {
        (text, roster): resolve(state(roster=roster), said(0.9, text)).evidence.roster_hit
        for text in (None, "I'm Alice")
        for roster in (None, ("Alice",), ("Carol",))
    }
    assert hits == {
        (None, None): None,
        (None, ("Alice",)): None,
        (None, ("Carol",)): None,
        ("I'm Alice", None): None,
        ("I'm Alice", ("Alice",)): True,
        ("I'm Alice", ("Carol",)): False,
    }


def test_a_locked_binding_is_not_put_in_doubt() -> None:
    locked = state("Bob", roster=("Carol",), cluster_binding_meta={"c1": {"locked": True, "source": "page"}})
    answer = resolve(locked, said(0.9, "I'm Alice"))
    assert (answer.decision, answer.speaker_name) == (Decision.AUTO, "Bob")
    assert answer.evidence.binding_source is BindingSource.MANUAL
    assert answer.state.extra == locked.extra


def test_a_profile_names_a_voice_before_what_is_heard() -> None:
    enrolled = enrol(enrol(SessionState(), "Ann", voice(1.0), 4.0).state, "Bo", voice(0.0), 4.0).state
    answer = resolve(enrolled, said(0.9, axis=2))
    assert (answer.decision, answer.speaker_name) == (Decision.AUTO, "Ann")
    evidence = answer.evidence
    assert (evidence.profile_top_name, evidence.profile_top_score) == ("Ann", 0.9)
    assert evidence.profile_margin == pytest.approx(0.9)
    assert answer.state.bindings == {"c1": "Ann"}
    again = resolve(answer.state, said(0.95, axis=2))
    assert again.evidence.binding_source is BindingSource.EXISTING


@pytest.mark.parametrize(
    ("cosine", "decision"), [(0.75, Decision.AUTO), (0.6, Decision.CONFIRM), (0.44, Decision.UNKNOWN)]
)
def test_a_profile_is_judged_by_its_own_score(cosine: float, decision: Decision) -> None:
    enrolled = enrol(SessionState(), "Ann", voice(1.0), 4.0).state
    assert resolve(enrolled, said(cosine)).decision is decision


def test_two_profiles_that_are_as_near_name_nobody() -> None:
    enrolled = enrol(enrol(SessionState(), "Ann", voice(0.8), 4.0).state, "Bo", voice(0.8, 2), 4.0).state
    answer = resolve(enrolled, said(1.0))
    assert answer.decision is Decision.UNKNOWN
    assert answer.evidence.profile_margin == 0.0


def test_a_profile_and_another_name_heard_want_confirming() -> None:
    enrolled = enrol(SessionState(), "Ann Lee", voice(1.0), 4.0).state
    assert resolve(enrolled, said(0.9, "I'm Ann")).decision is Decision.AUTO
    differing = resolve(enrolled, said(0.9, "I'm Bob"))
    assert (differing.decision, differing.speaker_name) == (Decision.CONFIRM, "Ann Lee")
    assert differing.evidence.reason == "name_and_profile_differ"


# -- enrolment


def test_enrolment_means_by_seconds_and_short_samples_move_nothing() -> None:
    roster = SessionState(roster=(Participant("Ann", "ann@example.com"),), extra={"other": 1})
    first = enrol(roster, "Ann", voice(1.0), 3.0)
    assert first.updated
    assert (first.profile.status, first.profile.participant.email) == ("ready", "ann@example.com")
    short = enrol(first.state, "Ann", voice(0.0), 1.0)
    assert not short.updated
    assert (short.profile.centroid, short.profile.sample_count) == (first.profile.centroid, 2)
    long = enrol(short.state, "Ann", voice(0.0), 3.0)
    assert long.profile.centroid[:2] == pytest.approx([math.sqrt(0.5)] * 2, abs=1e-6)
    assert (long.profile.sample_seconds, long.profile.sample_count) == (6.0, 3)
    assert long.state.extra["other"] == 1


def test_a_profile_of_too_little_speech_names_nobody_yet() -> None:
    enrolled = enrol(SessionState(), "Ann", voice(1.0), 1.0)
    assert enrolled.profile.status == "collecting"
    assert resolve(enrolled.state, said(1.0)).decision is Decision.UNKNOWN
    more = enrol(enrolled.state, "Ann", voice(1.0), 1.0)
    assert (more.profile.status, more.updated) == ("ready", True)


def test_fields_of_a_profile_that_are_not_known_stay() -> None:
    profile = {
        "name": "Ann",
        "centroid": voice().tolist(),
        "sample_count": 1,
        "sample_seconds": 3,
        "status": "ready",
        "colour": "red",
    }
    answer = enrol(SessionState(extra={"participant_profiles": [profile]}), "Ann", voice(), 2.0)
    assert answer.state.extra["participant_profiles"][0]["colour"] == "red"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, ".name must be a string"),
        ({"email": 1}, ".email must be a string"),
        ({"centroid": [1, "x"]}, ".centroid must be an array of finite numbers"),
        ({"centroid": [math.nan]}, ".centroid must be an array of finite numbers"),
        ({"sample_count": True}, ".sample_count must be a whole number from 0"),
        ({"sample_seconds": -1}, ".sample_seconds must be a number from 0"),
    ],
)
def test_a_profile_of_another_shape_is_named(change: dict[str, Any], field: str) -> None:
    good = {"name": "Ann", "centroid": [1.0], "sample_count": 1, "sample_seconds": 3.0}
    broken = SessionState(extra={"participant_profiles": [good, good | change]})
    with pytest.raises(ValueError, match=r"state\.participant_profiles\[1\]") as refused:
        resolve(broken, said(1.0))
    assert field in str(refused.value)


@pytest.mark.parametrize("embedding", [np.zeros(8), np.array([np.nan, 1.0]), np.array([np.inf])])
def test_an_embedding_without_direction_is_refused(embedding: npt.NDArray[Any]) -> None:
    with pytest.raises(ValueError, match="an embedding must be"):
        resolve(SessionState(), Utterance(embedding, 2.0))


@pytest.mark.parametrize("bad", [{"low": 0.8}, {"low": -0.1}, {"high": 1.1}, {"margin": 2.0}])
def test_thresholds_have_an_order(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="thresholds must be"):
        SpeakerThresholds(**bad)
