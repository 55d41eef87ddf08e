"""Who is speaking, as rules over embeddings: clusters of voices, names for them, and how sure that is
(contract inference.md).

Embeddings have any length but zero; only their direction counts. What the state holds beyond the fields that
are read here is passed on as it came.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from interview_edge.core.heard_names import HeardName, match_roster, name_heard
from interview_edge.core.models import Cluster, SessionState
from interview_edge.core.voice_profiles import (
    MIN_UPDATE_SECONDS,
    Direction,
    ProfileMatch,
    best_profile,
    blend,
    cosine,
    direction,
    profiles_of,
    rounded,
)

FIRST_SCORE = 1.0  # of the utterance that makes the session's first cluster
# Of a cluster that another inference API began and that says nothing of its seconds: each sample counts so.
ASSUMED_SAMPLE_SECONDS = 3.0
SECONDS = "sample_seconds"  # in a cluster's extra fields: how much speech its centroid is the mean of
BINDING_META = "cluster_binding_meta"  # in the state's: {cluster_id: {locked: bool, ...}}

_CLUSTER_ID = re.compile(r"c([1-9][0-9]{0,8})")


class Decision(enum.StrEnum):
    AUTO = "auto"  # sure enough to bind the name to the cluster
    CONFIRM = "confirm"  # a name, for a person to confirm
    UNKNOWN = "unknown"  # no name


class BindingSource(enum.StrEnum):
    """Where the name comes from, in the order in which they are asked."""

    MANUAL = "manual"  # bound by hand and locked: nothing that is heard changes it
    EXISTING = "existing"
    PROFILE = "profile"
    NAME = "name"
    UNKNOWN = "unknown"


@attrs.frozen(kw_only=True)
class SpeakerThresholds:
    """Cosines. Under `low` a voice is another one; from `high` on a name is sure. A profile must be `margin`
    nearer than the second best.
    """

    low: float = 0.45
    high: float = 0.70
    margin: float = 0.10

    def __attrs_post_init__(self) -> None:
        if not (0 <= self.low <= self.high <= 1 and 0 <= self.margin <= 1):
            raise ValueError("thresholds must be 0 <= low <= high <= 1, and 0 <= margin <= 1")


@attrs.frozen
class Utterance:
    """One person's speech: its embedding, its seconds without pauses, in how many stretches it came, and
    what was said.
    """

    embedding: npt.NDArray[np.floating[Any]]
    seconds: float
    segments: int = 1
    text: str | None = None


@attrs.frozen(kw_only=True)
class Evidence:
    """What the decision was made of, as the contract names it."""

    sv_score: float
    threshold_low: float
    threshold_high: float
    segment_count: int
    name_hit: str | None
    roster_hit: bool | None
    profile_top_name: str | None
    profile_top_score: float | None
    profile_margin: float | None
    binding_source: BindingSource
    reason: str

    def to_wire(self) -> dict[str, Any]:
        return attrs.asdict(self, value_serializer=lambda _, __, value: _plain(value))


@attrs.frozen
class Resolution:
    """The answer to one utterance. `speaker_name` is None exactly where `decision` is unknown."""

    cluster_id: str
    speaker_name: str | None
    decision: Decision
    evidence: Evidence
    state: SessionState


def resolve_speaker(state: SessionState, utterance: Utterance, thresholds: SpeakerThresholds) -> Resolution:
    """Place an utterance among the session's voices, and name it.

    Raises ValueError for an embedding without direction, and, naming the field, for profiles of another
    shape.
    """
    voice = direction(utterance.embedding)
    profiles = profiles_of(state)
    heard = name_heard(utterance.text, state.roster) if utterance.text else None
    clusters, cluster, score = _place(state, voice, utterance.seconds, thresholds.low)
    # By all that was heard of this voice so far, not by this utterance alone: a name is given to the cluster.
    match = best_profile(profiles, direction(cluster.centroid))
    naming = _name(state, cluster, heard, match, score, thresholds)
    decision, reason = _decide(naming, thresholds)
    if decision is Decision.AUTO and naming.name is not None:
        clusters = tuple(
            attrs.evolve(each, bound_name=naming.name) if each.cluster_id == cluster.cluster_id else each
            for each in clusters
        )
        bindings: Mapping[str, str] = {**state.bindings, cluster.cluster_id: naming.name}
    else:
        bindings = state.bindings
    evidence = Evidence(
        sv_score=round(score, 4),
        threshold_low=thresholds.low,
        threshold_high=thresholds.high,
        segment_count=utterance.segments,
        name_hit=heard.name if heard else None,
        roster_hit=heard.on_roster if heard else None,
        profile_top_name=match.name if match else None,
        profile_top_score=round(match.score, 4) if match else None,
        profile_margin=None if match is None or match.margin is None else round(match.margin, 4),
        binding_source=naming.source,
        reason=reason,
    )
    updated = attrs.evolve(state, clusters=clusters, bindings=bindings)
    return Resolution(cluster.cluster_id, naming.name, decision, evidence, updated)


# -- clusters


def _place(
    state: SessionState, voice: Direction, seconds: float, low: float
) -> tuple[tuple[Cluster, ...], Cluster, float]:
    """The clusters with the utterance in one of them, that one, and how near it was to the nearest."""
    best: tuple[float, int] | None = None
    for index, each in enumerate(state.clusters):
        score = cosine(each.centroid, voice)
        if score is not None and (best is None or score > best[0]):
            best = score, index
    if best is not None and best[0] >= low:
        score, index = best
        joined = _join(state.clusters[index], voice, seconds)
        return (*state.clusters[:index], joined, *state.clusters[index + 1 :]), joined, score
    made = Cluster(_next_id(state), rounded(voice), 1, extra={SECONDS: round(seconds, 3)})
    return (*state.clusters, made), made, FIRST_SCORE if best is None else best[0]


def _join(cluster: Cluster, voice: Direction, seconds: float) -> Cluster:
    """One sample more; a short one says too little about a voice to move its centroid."""
    counted = attrs.evolve(cluster, sample_count=cluster.sample_count + 1)
    if seconds < MIN_UPDATE_SECONDS:
        return counted
    weight = _seconds_of(cluster)
    centroid = blend(cluster.centroid, weight, voice, seconds)
    extra = {**cluster.extra, SECONDS: round(weight + seconds, 3)}
    return attrs.evolve(counted, centroid=centroid, extra=extra)


def _seconds_of(cluster: Cluster) -> float:
    known = cluster.extra.get(SECONDS)
    if isinstance(known, int | float) and not isinstance(known, bool) and 0 < known < float("inf"):
        return float(known)
    return max(1, cluster.sample_count) * ASSUMED_SAMPLE_SECONDS


def _next_id(state: SessionState) -> str:
    """One above every id that the state names, so that none is given twice."""
    named = {each.cluster_id for each in state.clusters} | set(state.bindings)
    numbers = [int(match[1]) for name in named if (match := _CLUSTER_ID.fullmatch(name))]
    return f"c{max(numbers, default=0) + 1}"


# -- names


@attrs.frozen
class _Naming:
    """A name for a cluster: where it is from, the score that speaks for it, whether something speaks
    against it.
    """

    name: str | None
    source: BindingSource
    score: float
    doubt: str | None = None


def _name(
    state: SessionState,
    cluster: Cluster,
    heard: HeardName | None,
    match: ProfileMatch | None,
    score: float,
    thresholds: SpeakerThresholds,
) -> _Naming:
    bound = state.bindings.get(cluster.cluster_id) or cluster.bound_name
    stranger = "name_not_on_roster" if heard is not None and heard.on_roster is False else None
    if bound and _is_locked(state, cluster.cluster_id):
        return _Naming(bound, BindingSource.MANUAL, score)
    if bound:
        return _Naming(bound, BindingSource.EXISTING, score, stranger)
    if match is not None and match.stands_out(thresholds.low, thresholds.margin):
        other = heard is not None and match_roster(heard.name, [match.participant]) is None
        doubt = "name_and_profile_differ" if other else None
        return _Naming(match.name, BindingSource.PROFILE, match.score, doubt)
    if heard is not None:
        return _Naming(heard.name, BindingSource.NAME, score, stranger)
    return _Naming(None, BindingSource.UNKNOWN, score)


def _is_locked(state: SessionState, cluster_id: str) -> bool:
    meta = state.extra.get(BINDING_META)
    entry = meta.get(cluster_id) if isinstance(meta, Mapping) else None
    return isinstance(entry, Mapping) and entry.get("locked") is True


def _decide(naming: _Naming, thresholds: SpeakerThresholds) -> tuple[Decision, str]:
    """The contract's table. `reason` says in one word which line of it."""
    if naming.name is None:
        return Decision.UNKNOWN, "no_name"
    if naming.score < thresholds.low:
        return Decision.CONFIRM, "score_below_low"
    if naming.score < thresholds.high:
        return Decision.CONFIRM, "score_between"
    if naming.doubt is not None:
        return Decision.CONFIRM, naming.doubt
    return Decision.AUTO, "score_high"


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, enum.Enum) else value
