"""For tests: a speaker model to which everybody is one voice, whose name it gets to know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import trio

from inference_api import answer_of
from interview_edge.errors import INFERENCE_FAILED, EdgeError


@attrs.define(eq=False)
class NamedVoice:
    """A speaker model: every utterance is of cluster c1, whose name is known from the second one on."""

    provider: str = "voices"
    asked: list[Mapping[str, Any]] = attrs.field(factory=list)
    failures: int = 0

    async def resolve(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        self.asked.append(request)
        await trio.lowlevel.checkpoint()
        if len(self.asked) <= self.failures:
            raise EdgeError(INFERENCE_FAILED)
        name = "Ann" if len(self.asked) > 1 else None
        answer = answer_of("c1", speaker_name=name, decision="auto" if name else "unknown")
        answer["updated_state"]["bindings"] = {"c1": name} if name else {}
        return answer
