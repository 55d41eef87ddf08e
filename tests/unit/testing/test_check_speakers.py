"""check_speakers finds what is wrong: each broken one here fails on the promise that it breaks.

The honest one is the node's own, with its work in the event loop and in no thread: so time can be virtual.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import attrs
import numpy as np
import pytest
import trio
import trio.testing

from interview_edge.core.speaker_rules import SpeakerThresholds
from interview_edge.errors import INFERENCE_STATUS, NO_SPEECH, EdgeError
from interview_edge.speech import SpeakerInference
from interview_edge.speech.local_speakers import LocalSpeakers
from interview_edge.speech.speaker_operations import SpeakerOperations
from interview_edge.speech.speaker_work import SpeakerWork, SpeakerWorkOptions
from interview_edge.testing import check_speakers, promises
from voices import SpectrumEmbedder

Answer = dict[str, Any]
SECONDS = 3.0  # that a slow one takes


class InTheLoop(SpeakerWork):
    """The work, without its thread."""

    async def run(self, work: Callable[[SpeakerOperations], Any]) -> Any:
        await trio.sleep(0.005)
        return work(SpeakerOperations(SpectrumEmbedder(), self._options.thresholds))


class Honest:
    """What is asked and answered goes through `ask`, `call` and `tell`."""

    provider = "honest"
    thresholds = SpeakerThresholds()

    def __init__(self) -> None:
        work = InTheLoop(SpectrumEmbedder, SpeakerWorkOptions(thresholds=self.thresholds))
        self.speakers = LocalSpeakers(work, timeout=60)

    async def resolve(self, request: Mapping[str, Any]) -> Any:
        return self.tell(request, await self.call(self.ask(request)))

    def ask(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        return request

    async def call(self, request: Mapping[str, Any]) -> Answer:
        return dict(await self.speakers.resolve(request))

    def tell(self, request: Mapping[str, Any], answer: Answer) -> Any:
        return answer


class Nameless(Honest):
    provider = ""


class RenamedWhenOpened(Honest):
    numbers = count()

    def __init__(self) -> None:
        super().__init__()
        self.provider = f"honest {next(self.numbers)}"


@attrs.define
class Tells(Honest):
    """Changes each answer."""

    change: Callable[[Answer], Any]

    def __attrs_post_init__(self) -> None:
        super().__init__()

    def tell(self, request: Mapping[str, Any], answer: Answer) -> Any:
        changed = self.change(answer)
        return answer if changed is None else changed


def tells(**fields: Any) -> Callable[[], Tells]:
    return lambda: Tells(lambda answer: answer | fields)


def proves(**fields: Any) -> Callable[[], Tells]:
    return lambda: Tells(lambda answer: answer | {"evidence": answer["evidence"] | fields})


def keeps(**fields: Any) -> Callable[[], Tells]:
    return lambda: Tells(lambda answer: answer | {"updated_state": answer["updated_state"] | fields})


@attrs.define
class Hears(Honest):
    """Changes each request, on a copy."""

    change: Callable[[Answer], Mapping[str, Any]]

    def __attrs_post_init__(self) -> None:
        super().__init__()

    def ask(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        return self.change(dict(request))


def in_state(**fields: Any) -> Callable[[], Hears]:
    return lambda: Hears(lambda request: request | {"state": request["state"] | fields})


class NeverJoins(Honest):
    thresholds = SpeakerThresholds(low=1.0, high=1.0)


class AlwaysJoins(Honest):
    thresholds = SpeakerThresholds(low=0.0)


class Remembers(Honest):
    """Sessions that it knows go on where they were."""

    def __init__(self) -> None:
        super().__init__()
        self.states: dict[str, Any] = {}

    def ask(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**request, "state": self.states.get(request["session_id"], request["state"])}

    def tell(self, request: Mapping[str, Any], answer: Answer) -> Any:
        self.states[request["session_id"]] = answer["updated_state"]
        return answer


class NumbersByCount(Honest):
    def tell(self, request: Mapping[str, Any], answer: Answer) -> Any:
        clusters = answer["updated_state"]["clusters"]
        if len(clusters) > len(request["state"].get("clusters", [])):
            clusters[-1]["cluster_id"] = answer["cluster_id"] = f"c{len(clusters)}"
        return answer


class LosesClusters(Honest):
    def tell(self, request: Mapping[str, Any], answer: Answer) -> Any:
        state = answer["updated_state"]
        own = [each for each in state["clusters"] if each["cluster_id"] == answer["cluster_id"]]
        return answer | {"updated_state": state | {"clusters": own}}


class BindsAlways(Honest):
    def tell(self, request: Mapping[str, Any], answer: Answer) -> Any:
        if answer["speaker_name"]:
            answer["updated_state"]["bindings"][answer["cluster_id"]] = answer["speaker_name"]
        return answer


class BindsNever(Honest):
    def tell(self, request: Mapping[str, Any], answer: Answer) -> Any:
        return answer | {"updated_state": answer["updated_state"] | {"bindings": {}}}


class ForgetsNames(Honest):
    """It passes them on, and doesn't look at them."""

    def ask(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**request, "state": {**request["state"], "bindings": {}}}

    def tell(self, request: Mapping[str, Any], answer: Answer) -> Any:
        bindings = request["state"].get("bindings", {}) | answer["updated_state"]["bindings"]
        return answer | {"updated_state": answer["updated_state"] | {"bindings": bindings}}


class Rebinds(Honest):
    """Who says another name is renamed."""

    def ask(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**request, "state": {**request["state"], "bindings": {}}} if request["asr_text"] else request


class ReadsNoMp3(Honest):
    async def call(self, request: Mapping[str, Any]) -> Answer:
        if request["audio"].get("format") == "mp3":
            raise EdgeError(INFERENCE_STATUS, fields={"backend_status": 400, "backend_body": "mp3?"})
        return await super().call(request)


class AnswersAnyAudio(Honest):
    async def call(self, request: Mapping[str, Any]) -> Answer:
        try:
            return await super().call(request)
        except EdgeError:
            return dict(self.last)

    def tell(self, request: Mapping[str, Any], answer: Answer) -> Any:
        self.last = answer
        return answer


@attrs.define
class Raises(Honest):
    """Where the honest one refuses, this one raises that."""

    error: Exception

    def __attrs_post_init__(self) -> None:
        super().__init__()

    async def call(self, request: Mapping[str, Any]) -> Answer:
        try:
            return await super().call(request)
        except EdgeError:
            raise self.error from None


class ChangesTheState(Honest):
    def tell(self, request: Mapping[str, Any], answer: Answer) -> Any:
        request["state"].update(answer["updated_state"])
        return answer


class TripsOnOtherModels(Honest):
    def ask(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        for each in request["state"].get("clusters", []):
            if len(each["centroid"]) != 23:
                raise ValueError("shapes (23,) and (2,) not aligned")
        return request


class JoinsOtherModels(Honest):
    def tell(self, request: Mapping[str, Any], answer: Answer) -> Any:
        known = request["state"].get("clusters", [])
        if known and len(known[0]["centroid"]) == 2:
            answer["cluster_id"] = "c1"
        return answer


class MixesUp(Honest):
    async def call(self, request: Mapping[str, Any]) -> Answer:
        self.request = request
        await trio.sleep(0.005)
        return await super().call({**request, "audio": self.request["audio"]})


class OneAtATime(Honest):
    busy = False

    async def call(self, request: Mapping[str, Any]) -> Answer:
        if self.busy:
            raise EdgeError(INFERENCE_STATUS, fields={"backend_status": 500})
        self.busy = True
        try:
            return await super().call(request)
        finally:
            self.busy = False


class Blocks(Honest):
    def tell(self, request: Mapping[str, Any], answer: Answer) -> Any:
        time.sleep(0.002)
        return answer


class SwallowsCancellation(Honest):
    async def call(self, request: Mapping[str, Any]) -> Answer:
        answer, refused = None, False
        try:
            answer = await super().call(request)
        except EdgeError:
            refused = True
            raise
        finally:
            if answer is None and not refused:
                raise EdgeError(INFERENCE_STATUS, fields={"backend_status": 500})
        return answer


class Shields(Honest):
    async def call(self, request: Mapping[str, Any]) -> Answer:
        with trio.CancelScope(shield=True):
            await trio.sleep(SECONDS)
            return await super().call(request)


class KeepsItsPlace(Honest):
    """Cancelled, it doesn't give back what lets one work."""

    def __init__(self) -> None:
        super().__init__()
        self.turn = trio.Semaphore(1)

    async def call(self, request: Mapping[str, Any]) -> Answer:
        await self.turn.acquire()
        try:
            answer = await super().call(request)
        except EdgeError:
            self.turn.release()
            raise
        self.turn.release()
        return answer


BROKEN: list[tuple[Callable[[], Honest], str]] = [
    (Nameless, "provider is a name"),
    (RenamedWhenOpened, "stays the same when it is opened again"),
    (tells(session_id="another"), "an answer is of the session that was asked for"),
    (tells(cluster_id="c7"), "cluster_id is one of updated_state"),
    (tells(cluster_id=None), "cluster_id is one of updated_state"),
    (tells(decision="maybe"), "decision is auto, confirm or unknown"),
    (tells(decision="confirm"), "decision is unknown exactly where there is no name"),
    (tells(decision="confirm", speaker_name=""), "speaker_name is a name or null"),
    (tells(decision="auto", speaker_name="Ann"), "auto binds the name to the cluster"),
    (tells(evidence=None), "evidence is an object"),
    (proves(sv_score=None), "evidence.sv_score is a cosine"),
    (proves(sv_score=1.7), "evidence.sv_score is a cosine"),
    (proves(sv_score=True), "evidence.sv_score is a cosine"),
    (proves(sv_score=0.5), "the first utterance is c1, 1.0, unknown"),
    (proves(sv_score=float("nan")), "an answer can be written as JSON"),
    (proves(sv_score=np.float32(1.0)), "an answer can be written as JSON"),
    (proves(threshold_low=0.9), "threshold_low is at most threshold_high"),
    (proves(segment_count=0), "evidence.segment_count"),
    (proves(name_hit=""), "evidence.name_hit"),
    (proves(roster_hit="yes"), "evidence.roster_hit is true, false or null"),
    (proves(roster_hit=False), "roster_hit is null where no name was heard"),
    (lambda: Tells(lambda answer: [answer]), "an answer is a JSON object"),
    (lambda: Tells(lambda answer: "\ud800"), "an answer is a JSON object"),
    (tells(extra="\ud800"), "an answer can be written as JSON"),
    (tells(updated_state=None), "updated_state is a state as the node keeps it"),
    (keeps(clusters=[{"cluster_id": "c1"}]), "updated_state is a state as the node keeps it"),
    (keeps(bindings={"c1": "Ann"}), "a binding is written on auto only"),
    (Remembers, "as often as it is asked"),
    (NeverJoins, "the same voice joins its cluster"),
    (AlwaysJoins, "another voice gets another cluster"),
    (NumbersByCount, "a new cluster after c5 is c6"),
    (LosesClusters, "no cluster is lost"),
    (keeps(roster=[]), "what the state holds comes back: roster"),
    (keeps(config={}), "what the state holds comes back: config"),
    (keeps(later=None), "what the state holds comes back: later"),
    (BindsNever, "what the state holds comes back: bindings"),
    (BindsAlways, "a binding is written on auto only"),
    (ForgetsNames, "a bound name is the voice's name"),
    (Rebinds, "a bound name stands against one that is heard"),
    (lambda: Hears(lambda request: request | {"asr_text": None}), "the name said in"),
    (in_state(roster=[{"name": "Ann", "email": "ann@example.com"}, {"name": "李明"}]), "without a roster"),
    (ReadsNoMp3, "mp3 is read"),
    (AnswersAnyAudio, "content that is no base64 is refused (it was answered)"),
    (lambda: Raises(ValueError("bad audio")), "a call gives an answer or raises EdgeError"),
    (lambda: Raises(EdgeError(NO_SPEECH)), "a failure is one of the documented kinds"),
    (
        lambda: Raises(EdgeError(INFERENCE_STATUS, fields={"backend_status": 500})),
        "is refused with backend_status 400, 413, 415 or 422",
    ),
    (ChangesTheState, "the request, and the state in it, is never changed"),
    (TripsOnOtherModels, "a call gives an answer or raises EdgeError (it raised ValueError"),
    (JoinsOtherModels, "a voice doesn't join a cluster that it can't be compared with"),
    (MixesUp, "calls at once don't mix up voices"),
    (OneAtATime, "one may fail as busy only"),
    (Blocks, "never blocks the event loop"),
    (SwallowsCancellation, "lets its cancellation pass"),
    (Shields, "a cancelled call ends within 2 s (it took 3.0 s)"),
    (KeepsItsPlace, "A cancelled call ends at once, and the next one is served. (it took over 30 s)"),
]


@pytest.mark.parametrize(("make", "promise"), BROKEN)
async def test_a_broken_one_fails_on_the_promise_it_breaks(
    make: Callable[[], Honest],
    promise: str,
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: trio.testing.MockClock,
) -> None:
    monkeypatch.setattr(promises, "STEP_SECONDS", 0.001 if make is Blocks else 10.0)

    @asynccontextmanager
    async def open_broken() -> AsyncIterator[SpeakerInference]:
        yield make()

    with pytest.raises(AssertionError) as caught:
        await check_speakers(open_broken, timeout=30)
    assert promise in str(caught.value)


async def test_an_honest_one_conforms_within_what_an_api_allows_a_minute(
    autojump_clock: trio.testing.MockClock,
) -> None:
    asked: list[Any] = []

    class Counts(Honest):
        def ask(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
            asked.append(request)
            return request

    @asynccontextmanager
    async def open_honest() -> AsyncIterator[SpeakerInference]:
        yield Counts()

    await check_speakers(open_honest)
    assert len(asked) < 60


async def test_it_may_be_held_to_other_voices(autojump_clock: trio.testing.MockClock) -> None:
    rng = np.random.default_rng(1)
    same = (rng.normal(0, 3_000, 8 * 16_000)).astype("<i2").tobytes()

    @asynccontextmanager
    async def open_honest() -> AsyncIterator[SpeakerInference]:
        yield Honest()

    with pytest.raises(AssertionError):  # noise of one kind is no two people
        await check_speakers(open_honest, voices=(same, same))
