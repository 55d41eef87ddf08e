"""`check_speakers`: the contract of `SpeakerInference`, promise by promise, for whoever implements it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

import attrs

from interview_edge.core.pcm import CHUNK_BYTES, SAMPLE_BYTES
from interview_edge.errors import EdgeError
from interview_edge.speech.inference import SpeakerInference
from interview_edge.testing.promises import (
    all_at_once,
    end_when_cancelled,
    hold,
    keep_promises,
    leave_loop_free,
)
from interview_edge.testing.speaker_answers import FAILURES, Asked, hold_answer
from interview_edge.testing.speaker_clips import as_file, as_wav, payload
from interview_edge.testing.voices import recorded_voice, second_voice

OpenSpeakers = Callable[[], AbstractAsyncContextManager[SpeakerInference]]

NEW: Mapping[str, Any] = {
    "clusters": [],
    "bindings": {},
    "config": {},
}  # a session's, before its first resolve
ANN, BEN = "Ann", "Ben"
CALLS_AT_ONCE = 6

_REFUSED = frozenset({400, 413, 415, 422})  # the request was wrong, says the API
_BUSY = frozenset({429, 503})
_SAME_VOICE = 0.99  # cosine of what is made of the same audio twice


@attrs.frozen
class _Subject:
    """The provider, and two people who each say two things, as WAV."""

    speakers: SpeakerInference
    first: tuple[Mapping[str, Any], Mapping[str, Any]]
    second: tuple[Mapping[str, Any], Mapping[str, Any]]

    async def ask(
        self,
        audio: Mapping[str, Any],
        state: Mapping[str, Any] = NEW,
        text: str | None = None,
        session_id: str = "check",
    ) -> Mapping[str, Any]:
        """One resolve, asked as a node asks, and its answer, as the node would write it down. Raises
        EdgeError of one of the kinds that may come out, AssertionError for anything else that comes.
        """
        asked = Asked({"session_id": session_id, "audio": audio, "asr_text": text, "state": state})
        try:
            answer = await self.speakers.resolve(asked.request)
        except EdgeError as error:
            hold(error.kind in FAILURES, f"a failure is one of the documented kinds (it is {error!r})")
            raise
        except Exception as error:  # whichever it is, it is none that may come out
            raise AssertionError(
                f"a call gives an answer or raises EdgeError (it raised {error!r})"
            ) from error
        finally:
            asked.hold_unchanged()
        return hold_answer(asked, answer)

    async def refusal(self, audio: Mapping[str, Any], what: str) -> None:
        """Audio that is wrong must be refused, as the API refuses it."""
        try:
            await self.ask(audio)
        except EdgeError as error:
            status = error.fields.get("backend_status")
            hold(
                status in _REFUSED,
                f"{what} is refused with backend_status 400, 413, 415 or 422 (it was {error!r}, {status})",
            )
            return
        raise AssertionError(f"{what} is refused (it was answered)")


async def check_speakers(
    open_speakers: OpenSpeakers,
    *,
    voices: tuple[bytes, bytes] | None = None,
    timeout: float = 60.0,
) -> None:
    """Hold a speaker provider to the text of `SpeakerInference` and to the rules of the inference API
    (docs/reference/inference.md).

    `open_speakers()` opens it, as an async context manager; it is opened twice, one after the other, and
    asked less than sixty times, which is what `interview-edge inference serve` allows a minute. `voices`
    are two people's speech (s16le mono 16 kHz, 8 to 60 s, who speaks all the time), by default what the
    package ships: John F. Kennedy, and he played slower, which a model may take for another person. Opening,
    each promise and closing may take `timeout` seconds.

    Raises AssertionError, which says the promise that is broken.
    """
    first, second = (recorded_voice(), second_voice()) if voices is None else voices
    names: list[str] = []

    def subject(speakers: SpeakerInference) -> _Subject:
        names.append(speakers.provider)
        return _Subject(speakers, _halves(first), _halves(second))

    await keep_promises(open_speakers, subject, PROMISES, timeout)
    await keep_promises(open_speakers, subject, (_has_a_name,), timeout)
    hold(len(set(names)) == 1, f"its name stays the same when it is opened again (it was {set(names)})")


def _halves(pcm: bytes) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    middle = len(pcm) // 2 // SAMPLE_BYTES * SAMPLE_BYTES
    return as_wav(pcm[:middle]), as_wav(pcm[middle:])


def _cluster(state: Mapping[str, Any], cluster_id: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(c for c in state["clusters"] if c["cluster_id"] == cluster_id)
    return found


# -- the promises


async def _has_a_name(subject: _Subject) -> None:
    """`provider` is a name that people can read, and stays the same."""
    name = subject.speakers.provider
    hold(isinstance(name, str) and bool(name.strip()), f"provider is a name (it is {name!r})")
    hold(name.isprintable(), f"provider is printable (it is {name!r})")
    await subject.ask(subject.first[0])
    hold(subject.speakers.provider == name, "provider stays the same")


async def _begins_with_c1(subject: _Subject) -> None:
    """A session's first utterance makes the cluster c1, with score 1.0 and without a name, as often as it
    is asked: what is known of a session comes with the request.
    """
    for state in ({}, NEW):
        answer = await subject.ask(subject.first[0], state)
        found = answer["cluster_id"], answer["evidence"]["sv_score"], answer["decision"]
        hold(
            found == ("c1", 1.0, "unknown"),
            f"the first utterance is c1, 1.0, unknown, as often as it is asked (it is {found})",
        )
        clusters = answer["updated_state"]["clusters"]
        counts = [each["sample_count"] for each in clusters]
        hold(counts == [1], f"the first utterance is one of one, as often as it is asked (it is {counts})")


async def _tells_voices_apart(subject: _Subject) -> None:
    """The same voice joins its cluster, another one gets another."""
    one = await subject.ask(subject.first[0])
    same = await subject.ask(subject.first[1], one["updated_state"])
    hold(same["cluster_id"] == "c1", f"the same voice joins its cluster ({same['evidence']})")
    counts = [_cluster(each["updated_state"], "c1")["sample_count"] for each in (one, same)]
    hold(counts[1] == counts[0] + 1, f"a voice that joins counts one sample more (it was {counts})")
    other = await subject.ask(subject.second[0], same["updated_state"])
    hold(other["cluster_id"] == "c2", f"another voice gets another cluster, c2 ({other['evidence']})")
    low = other["evidence"]["threshold_low"]
    hold(other["evidence"]["sv_score"] < low, "a new cluster reports the best score, under threshold_low")
    back = await subject.ask(subject.first[1], other["updated_state"])
    hold(back["cluster_id"] == "c1", f"each voice is told after another one spoke ({back['evidence']})")


async def _numbers_upwards(subject: _Subject) -> None:
    """A new cluster's number is one above the highest, so that none is given twice."""
    state = (await subject.ask(subject.first[0]))["updated_state"]
    (only,) = state["clusters"]
    known = {**state, "clusters": [{**only, "cluster_id": "c5"}]}
    found = (await subject.ask(subject.second[0], known))["cluster_id"]
    hold(found == "c6", f"a new cluster after c5 is c6 (it is {found})")


async def _keeps_the_state(subject: _Subject) -> None:
    """What the state holds comes back: roster, config, bindings, and fields that aren't known."""
    more = {
        "roster": [{"name": ANN, "email": "ann@example.com"}, {"name": "李明"}],
        "config": {"language": "zh", "limit": 2.5, "strict": True},
        "bindings": {"c9": BEN},
        "participant_profiles": [],
        "later": {"nested": [1, None, "ü"]},
    }
    updated = (await subject.ask(subject.first[0], {**NEW, **more}))["updated_state"]
    for name, value in more.items():
        back = updated.get(name)
        hold(back == value, f"what the state holds comes back: {name} (it is {back!r})")


async def _respects_bound_names(subject: _Subject) -> None:
    """A name that is bound to a voice stays, above all where a person locked it."""
    state = (await subject.ask(subject.first[0]))["updated_state"]
    bound = {**state, "bindings": {"c1": ANN}}
    found = await subject.ask(subject.first[1], bound)
    hold(found["speaker_name"] == ANN, f"a bound name is the voice's name (it is {found['speaker_name']!r})")
    locked = {**bound, "cluster_binding_meta": {"c1": {"locked": True}}}
    for known in (bound, locked):
        found = await subject.ask(subject.first[1], known, f"My name is {BEN}.")
        kept = found["speaker_name"], found["updated_state"]["bindings"].get("c1")
        hold(kept == (ANN, ANN), f"a bound name stands against one that is heard (it became {kept})")


async def _hears_names(subject: _Subject) -> None:
    """A name that is said becomes the voice's: `auto` where it is sure, `confirm` where it isn't on the
    roster.
    """
    for text, name in ((f"Hello, my name is {ANN}.", ANN), ("大家好,我叫李明。", "李明")):
        found = await subject.ask(subject.first[0], NEW, text)
        shown = found["decision"], found["speaker_name"], found["evidence"]["name_hit"]
        hold(shown == ("auto", name, name), f"the name said in {text!r} is {name}, auto (it was {shown})")
        hold(found["evidence"]["roster_hit"] is None, "roster_hit is null without a roster")
    for roster, decision, hit in (([{"name": ANN}], "auto", True), ([{"name": "Zoe"}], "confirm", False)):
        found = await subject.ask(subject.first[0], {**NEW, "roster": roster}, f"I'm {ANN}.")
        with_roster = found["decision"], found["evidence"]["roster_hit"]
        hold(
            with_roster == (decision, hit),
            f"{ANN} with the roster {roster} is {decision}, {hit} (it was {with_roster})",
        )


async def _reads_every_format(subject: _Subject) -> None:
    """Audio comes as wav, pcm_s16le, flac, ogg or mp3."""
    pcm = recorded_voice()[: 5 * CHUNK_BYTES]
    for format_ in ("pcm_s16le", "flac", "ogg", "mp3"):
        audio = payload(pcm, format_) if format_ == "pcm_s16le" else as_file(pcm, format_)
        try:
            answer = await subject.ask(audio)
        except EdgeError as error:
            raise AssertionError(f"{format_} is read ({error!r}, {dict(error.fields)})") from error
        hold(answer["cluster_id"] == "c1", f"{format_} is heard as wav is")


async def _refuses_wrong_audio(subject: _Subject) -> None:
    """Wrong audio is an EdgeError that puts the blame on it and changes nothing."""
    speech = recorded_voice()
    for what, audio in {
        "content that is no base64": {"content_b64": "?!", "format": "wav"},
        "a WAV that is none": payload(bytes(range(256)) * 40, "wav"),
        "half a sample": payload(speech[: CHUNK_BYTES + 1], "pcm_s16le"),
        "silence": as_wav(bytes(3 * CHUNK_BYTES)),
        "audio over 30 s": as_wav(speech * 3),
        "an unknown format": payload(speech, "midi"),
        "audio without content": {"format": "wav"},
    }.items():
        await subject.refusal(audio, what)


async def _bears_another_models_state(subject: _Subject) -> None:
    """The state of another model, of other dimensions, ends in an answer or in an EdgeError."""
    foreign = {"cluster_id": "c1", "centroid": [0.6, 0.8], "sample_count": 3, "bound_name": None}
    try:
        answer = await subject.ask(subject.first[0], {**NEW, "clusters": [foreign]})
    except EdgeError:
        return
    hold(answer["cluster_id"] != "c1", "a voice doesn't join a cluster that it can't be compared with")


async def _serves_many(subject: _Subject) -> None:
    """Sessions are resolved at once, and each gets its own answer."""
    alone = [_voice_of(await subject.ask(one)) for one in (subject.first[0], subject.second[0])]
    sessions = [f"check-{number}" for number in range(CALLS_AT_ONCE)]
    outcomes = await all_at_once(
        [
            partial(subject.ask, (subject.first, subject.second)[number % 2][0], session_id=session_id)
            for number, session_id in enumerate(sessions)
        ]
    )
    busy = [each for each in outcomes if isinstance(each, EdgeError)]
    for each in busy:
        status = each.fields.get("backend_status")
        hold(status in _BUSY, f"of many calls at once, one may fail as busy only (it was {each!r}, {status})")
    hold(len(busy) < len(outcomes), "of many calls at once, some are answered")
    for number, answer in enumerate(outcomes):
        if isinstance(answer, AssertionError):
            raise answer
        if not isinstance(answer, Exception):
            near = _cosine(_voice_of(answer), alone[number % 2])
            hold(
                near > _SAME_VOICE,
                f"calls at once don't mix up voices (cosine {near:.2f} to the voice alone)",
            )


def _voice_of(answer: Mapping[str, Any]) -> list[float]:
    centroid: list[float] = _cluster(answer["updated_state"], answer["cluster_id"])["centroid"]
    return centroid


def _cosine(one: list[float], other: list[float]) -> float:
    product = sum(a * b for a, b in zip(one, other, strict=True))
    lengths = sum(a * a for a in one) * sum(b * b for b in other)
    return float(product / lengths**0.5) if lengths else 0.0


async def _leaves_the_loop_free(subject: _Subject) -> None:
    """A call never blocks the event loop: the sessions' audio goes on meanwhile."""
    await leave_loop_free(partial(subject.ask, subject.first[0]))


async def _is_cancelled_at_once(subject: _Subject) -> None:
    """A cancelled call ends at once, and the next one is served."""
    for delays in ((0.0,), (0.001,), (0.02,), (0.0, 0.001, 0.005, 0.01)):
        await end_when_cancelled(partial(subject.ask, subject.first[0]), delays)
    answer = await subject.ask(subject.first[0])
    hold(answer["cluster_id"] == "c1", "the call after a cancelled one is answered as the first")


PROMISES: tuple[Callable[[_Subject], Awaitable[None]], ...] = (
    _has_a_name,
    _begins_with_c1,
    _tells_voices_apart,
    _numbers_upwards,
    _keeps_the_state,
    _respects_bound_names,
    _hears_names,
    _reads_every_format,
    _refuses_wrong_audio,
    _bears_another_models_state,
    _serves_many,
    _leaves_the_loop_free,
    _is_cancelled_at_once,
)
