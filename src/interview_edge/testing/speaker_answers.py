"""What every answer of a `SpeakerInference` must be, whatever was asked (docs/reference/inference.md)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from interview_edge.core.state_json import state_from_json
from interview_edge.errors import (
    INFERENCE_FAILED,
    INFERENCE_NOT_JSON,
    INFERENCE_STATUS,
    INFERENCE_TIMEOUT,
)
from interview_edge.testing.promises import hold

FAILURES = (INFERENCE_FAILED, INFERENCE_TIMEOUT, INFERENCE_STATUS, INFERENCE_NOT_JSON)
DECISIONS = ("auto", "confirm", "unknown")
_ROUNDING = 1e-3  # of the scores in evidence


class Asked:
    """A request as it is handed over, and as it was."""

    def __init__(self, request: Mapping[str, Any]) -> None:
        self.request = deepcopy(dict(request))
        self._before = request

    @property
    def session_id(self) -> str:
        return str(self._before["session_id"])

    @property
    def state(self) -> Mapping[str, Any]:
        state: Mapping[str, Any] = self._before["state"]
        return state

    def hold_unchanged(self) -> None:
        """The node goes on with its own state where a resolve fails."""
        hold(self.request == self._before, "the request, and the state in it, is never changed")


def hold_answer(asked: Asked, answer: object) -> Mapping[str, Any]:
    """The answer, read again from the JSON that it becomes. Raises AssertionError where it breaks a rule
    that holds for every answer.
    """
    read = _through_json(answer)
    shown = read.get("session_id")
    hold(shown == asked.session_id, f"an answer is of the session that was asked for (it is {shown!r})")
    _hold_evidence(read.get("evidence"))
    _hold_state(asked, read)
    _hold_decision(asked, read)
    return read


def _through_json(answer: object) -> dict[str, Any]:
    hold(isinstance(answer, Mapping), f"an answer is a JSON object (it is {answer!r})")
    try:
        read = json.loads(json.dumps(answer, allow_nan=False, ensure_ascii=False).encode())
    except (TypeError, ValueError) as error:  # numpy's numbers, NaN, surrogates...
        raise AssertionError(f"an answer can be written as JSON ({error})") from error
    hold(isinstance(read, dict), f"an answer is a JSON object (it is {read!r})")
    found: dict[str, Any] = read
    return found


def _hold_evidence(evidence: Any) -> None:
    hold(isinstance(evidence, dict), f"evidence is an object (it is {evidence!r})")
    for score in ("sv_score", "threshold_low", "threshold_high"):
        value = evidence.get(score)
        hold(
            _is_number(value) and -1 - _ROUNDING <= value <= 1 + _ROUNDING,
            f"evidence.{score} is a cosine, -1 to 1 (it is {value!r})",
        )
    hold(evidence["threshold_low"] <= evidence["threshold_high"], "threshold_low is at most threshold_high")
    count, name, hit = (evidence.get(each) for each in ("segment_count", "name_hit", "roster_hit"))
    hold(type(count) is int and count >= 1, f"evidence.segment_count is a number from 1 on (it is {count!r})")
    hold(name is None or _is_text(name), f"evidence.name_hit is a name or null (it is {name!r})")
    hold(hit is None or isinstance(hit, bool), f"evidence.roster_hit is true, false or null (it is {hit!r})")
    hold(name is not None or hit is None, "evidence.roster_hit is null where no name was heard")


def _hold_state(asked: Asked, answer: Mapping[str, Any]) -> None:
    state: Any = answer.get("updated_state")
    try:
        state_from_json(state)
    except ValueError as error:
        raise AssertionError(f"updated_state is a state as the node keeps it: {error}") from error
    ids = [each["cluster_id"] for each in state.get("clusters", [])]
    cluster_id = answer.get("cluster_id")
    hold(cluster_id in ids, f"cluster_id is one of updated_state (it is {cluster_id!r})")
    hold(len(set(ids)) == len(ids), f"no two clusters have one id (they are {ids})")
    lost = {each["cluster_id"] for each in asked.state.get("clusters", [])} - set(ids)
    hold(not lost, f"no cluster is lost ({sorted(lost)} went)")


def _hold_decision(asked: Asked, answer: Mapping[str, Any]) -> None:
    decision, name, cluster_id = (answer.get(each) for each in ("decision", "speaker_name", "cluster_id"))
    evidence, bindings = answer["evidence"], answer["updated_state"].get("bindings", {})
    hold(decision in DECISIONS, f"decision is auto, confirm or unknown (it is {decision!r})")
    hold(name is None or _is_text(name), f"speaker_name is a name or null (it is {name!r})")
    hold(
        (name is None) == (decision == "unknown"),
        f"decision is unknown exactly where there is no name (it is {decision}, {name!r})",
    )
    if decision == "auto":
        sure = evidence["sv_score"] >= evidence["threshold_high"] - _ROUNDING
        hold(sure, f"decision is auto from threshold_high on (sv_score is {evidence['sv_score']})")
        bound = bindings.get(cluster_id)
        hold(bound == name, f"auto binds the name to the cluster (bound is {bound!r}, the name {name!r})")
        bindings = {key: value for key, value in bindings.items() if key != cluster_id}
    before = asked.state.get("bindings", {})
    new = {key: value for key, value in bindings.items() if before.get(key) != value}
    hold(not new, f"a binding is written on auto only, and of that cluster only ({new} was)")


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
