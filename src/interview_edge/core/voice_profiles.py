"""Voices that were enrolled under a name, and the arithmetic of embeddings: directions, cosines, means
(contract inference.md, `/speaker/enroll`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from interview_edge.core.models import Participant, SessionState
from interview_edge.core.state_json import participant_to_json

MIN_UPDATE_SECONDS = 1.5  # of speech: under it an embedding errs several times as often
PROFILES = "participant_profiles"  # in the state's extra fields
_DIGITS = 6  # of a centroid's numbers in JSON: half the bytes, and far finer than any threshold

Direction = npt.NDArray[np.float64]


# -- embeddings


def direction(embedding: npt.ArrayLike) -> Direction:
    """The unit vector of an embedding. Raises ValueError for one that has none: zero, or not finite."""
    vector = np.asarray(embedding, dtype=np.float64)
    largest = float(np.max(np.abs(vector), initial=0.0))
    if vector.ndim != 1 or not 0 < largest < math.inf:  # NaN isn't between them either
        raise ValueError("an embedding must be a vector of finite numbers, not all zero")
    scaled = vector / largest  # first, since the squares of very large or small numbers aren't numbers
    unit: Direction = scaled / np.linalg.norm(scaled)
    return unit


def cosine(centroid: Sequence[float], voice: Direction) -> float | None:
    """How near two voices are, -1 to 1; None where they can't be compared, being of different models."""
    if len(centroid) != len(voice):
        return None
    try:
        return round(float(np.clip(direction(centroid) @ voice, -1.0, 1.0)), _DIGITS)
    except ValueError:
        return None


def blend(centroid: Sequence[float], weight: float, voice: Direction, seconds: float) -> tuple[float, ...]:
    """The mean of two voices, each weighed by its seconds, as a unit vector."""
    mean = direction(centroid) * weight + voice * seconds
    try:
        return rounded(direction(mean))
    except ValueError:  # exactly opposite ones leave nothing
        return rounded(direction(centroid))


def rounded(voice: Direction) -> tuple[float, ...]:
    return tuple(np.round(voice, _DIGITS).tolist())


# -- profiles


@attrs.frozen
class Profile:
    """One participant's voice. `extra` keeps fields of newer APIs, verbatim."""

    participant: Participant
    centroid: tuple[float, ...]
    sample_count: int
    sample_seconds: float
    extra: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def status(self) -> str:
        """`ready` once it holds enough speech to be matched with, `collecting` until then."""
        return "ready" if self.sample_seconds >= MIN_UPDATE_SECONDS else "collecting"

    def to_json(self) -> dict[str, Any]:
        return {
            **self.extra,
            **participant_to_json(self.participant),
            "centroid": list(self.centroid),
            "sample_count": self.sample_count,
            "sample_seconds": self.sample_seconds,
            "status": self.status,
        }


@attrs.frozen
class ProfileMatch:
    """The nearest profile. `margin` is how much nearer than the second; None without a second one."""

    participant: Participant
    score: float
    margin: float | None

    @property
    def name(self) -> str:
        return self.participant.name

    def stands_out(self, low: float, margin: float) -> bool:
        return self.score >= low and (self.margin is None or self.margin >= margin)


def best_profile(profiles: Sequence[Profile], voice: Direction) -> ProfileMatch | None:
    """The nearest of those that are ready and of the same model."""
    scored = [
        (score, profile)
        for profile in profiles
        if profile.status == "ready" and (score := cosine(profile.centroid, voice)) is not None
    ]
    scored.sort(key=lambda pair: -pair[0])
    if not scored:
        return None
    (score, profile), *others = scored
    return ProfileMatch(profile.participant, score, score - others[0][0] if others else None)


@attrs.frozen
class Enrolment:
    """What came of a sample: the profile as it is now, whether its centroid moved, and the state."""

    profile: Profile
    updated: bool
    state: SessionState


def enrol(state: SessionState, name: str, embedding: npt.ArrayLike, seconds: float) -> Enrolment:
    """Add `seconds` of a participant's speech to their profile; the first sample makes it.

    A sample under 1.5 s is counted and moves nothing once there is more. Raises ValueError for an embedding
    without direction, and, naming the field, for profiles of another shape.
    """
    voice = direction(embedding)
    profiles = list(profiles_of(state))
    at = next((i for i, each in enumerate(profiles) if each.participant.name == name), None)
    if at is None:
        email = next((person.email for person in state.roster or () if person.name == name), None)
        made = Profile(Participant(name, email), rounded(voice), 1, round(seconds, 3))
        profiles.append(made)
        return Enrolment(made, updated=True, state=_with(state, profiles))
    profile = profiles[at]
    # A short first sample gives way to whatever is better than it.
    moves = seconds >= MIN_UPDATE_SECONDS or profile.sample_seconds < MIN_UPDATE_SECONDS
    if moves:
        same_model = cosine(profile.centroid, voice) is not None
        weight = profile.sample_seconds if same_model else 0.0
        centroid = blend(profile.centroid, weight, voice, seconds) if same_model else rounded(voice)
        profile = attrs.evolve(profile, centroid=centroid, sample_seconds=round(weight + seconds, 3))
    profiles[at] = attrs.evolve(profile, sample_count=profile.sample_count + 1)
    return Enrolment(profiles[at], moves, _with(state, profiles))


def _with(state: SessionState, profiles: Sequence[Profile]) -> SessionState:
    return attrs.evolve(state, extra={**state.extra, PROFILES: [each.to_json() for each in profiles]})


_KNOWN = frozenset({"name", "email", "centroid", "sample_count", "sample_seconds", "status"})


def profiles_of(state: SessionState) -> tuple[Profile, ...]:
    """The profiles in a state. Raises ValueError, naming the field, for any other shape."""
    found = state.extra.get(PROFILES)
    if found is None:
        return ()
    if not isinstance(found, list):
        raise ValueError(f"state.{PROFILES} must be an array")
    return tuple(_profile(each, f"state.{PROFILES}[{index}]") for index, each in enumerate(found))


def _profile(data: object, field: str) -> Profile:
    if not isinstance(data, Mapping):
        raise ValueError(f"{field} must be an object")
    name, email = data.get("name"), data.get("email")
    if not isinstance(name, str) or not name:
        raise ValueError(f"{field}.name must be a string, not empty")
    if email is not None and not isinstance(email, str):
        raise ValueError(f"{field}.email must be a string")
    centroid = data.get("centroid")
    if not isinstance(centroid, list) or not all(_is_number(each) for each in centroid):
        raise ValueError(f"{field}.centroid must be an array of finite numbers")
    count, seconds = data.get("sample_count"), data.get("sample_seconds")
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise ValueError(f"{field}.sample_count must be a whole number from 0")
    if seconds is None or not _is_number(seconds) or seconds < 0:
        raise ValueError(f"{field}.sample_seconds must be a number from 0")
    extra = {key: value for key, value in data.items() if key not in _KNOWN}
    return Profile(Participant(name, email), tuple(map(float, centroid)), count, float(seconds), extra)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
