"""SessionState as the JSON that the wire and the inference API know, and back. Unknown fields survive the
trip.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from interview_edge.core.models import Cluster, Participant, SessionState

_KNOWN = frozenset({"clusters", "bindings", "roster", "config"})


def state_to_json(state: SessionState) -> dict[str, Any]:
    """The state as plain JSON data; `roster` only where there is one."""
    data: dict[str, Any] = dict(state.extra)
    data["clusters"] = [
        {
            "cluster_id": c.cluster_id,
            "centroid": list(c.centroid),
            "sample_count": c.sample_count,
            "bound_name": c.bound_name,
        }
        | dict(c.extra)
        for c in state.clusters
    ]
    data["bindings"] = dict(state.bindings)
    data["config"] = dict(state.config)
    if state.roster is not None:
        data["roster"] = [participant_to_json(p) for p in state.roster]
    return data


def participant_to_json(participant: Participant) -> dict[str, str]:
    shown = {"name": participant.name}
    return shown if participant.email is None else shown | {"email": participant.email}


def state_from_json(data: object) -> SessionState:
    """The state in `data`. Raises ValueError, naming the field, for any other shape."""
    state = _object(data, "state")
    roster = state.get("roster")
    return SessionState(
        clusters=tuple(_cluster(c) for c in _array(state.get("clusters", []), "clusters")),
        bindings={
            _text(k, "bindings key"): _text(v, f"bindings[{k}]")
            for k, v in _object(state.get("bindings", {}), "bindings").items()
        },
        roster=None if roster is None else roster_from_json(roster),
        config={k: _scalar(v, f"config[{k}]") for k, v in _object(state.get("config", {}), "config").items()},
        extra={k: v for k, v in state.items() if k not in _KNOWN},
    )


def roster_from_json(data: object) -> tuple[Participant, ...]:
    """`[{name, email?}]`. Raises ValueError, naming the field, for any other shape."""
    people = []
    for i, item in enumerate(_array(data, "roster")):
        person = _object(item, f"roster[{i}]")
        email = person.get("email")
        name = _text(person.get("name"), f"roster[{i}].name")
        people.append(Participant(name, None if email is None else _text(email, f"roster[{i}].email")))
    return tuple(people)


def _cluster(data: object) -> Cluster:
    cluster = dict(_object(data, "cluster"))
    count, name = cluster.pop("sample_count", None), cluster.pop("bound_name", None)
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise ValueError("cluster.sample_count must be a whole number from 0")
    return Cluster(
        cluster_id=_text(cluster.pop("cluster_id", None), "cluster.cluster_id"),
        centroid=tuple(
            _number(x, "cluster.centroid") for x in _array(cluster.pop("centroid", None), "cluster.centroid")
        ),
        sample_count=count,
        bound_name=None if name is None else _text(name, "cluster.bound_name"),
        extra=cluster,
    )


def _object(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} must be an object")
    return value


def _array(value: object, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{name} must be an array")
    return value


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} must be a string")
    return value


def _number(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{name} must hold finite numbers")
    return float(value)


def _scalar(value: object, name: str) -> str | float | bool:
    if not isinstance(value, str | int | float | bool):
        raise ValueError(f"{name} must be a string, a number or a boolean")
    return value
