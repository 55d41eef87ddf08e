"""Which utterance is transcribed ahead: whatever is said, none too often, and always one with enough new."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from interview_edge.core.models import Utterance
from interview_edge.core.partials import CONVERSATION, OpenSpeech, PartialSchedule
from interview_edge.core.pcm import SAMPLE_RATE

INTERVAL = 2.0
# One step: how much time passes, how many seconds each of two talkers says in it, and who starts anew.
STEPS = st.lists(
    st.tuples(
        st.sampled_from([0.25, 1.0, 3.0]),
        st.tuples(st.sampled_from([0.0, 0.5, 1.0, 3.0]), st.sampled_from([0.0, 1.0, 3.0])),
        st.tuples(st.booleans(), st.booleans()),
    ),
    max_size=40,
)


@given(steps=STEPS)
def test_a_partial_is_of_enough_that_is_new_and_never_too_soon(
    steps: list[tuple[float, tuple[float, float], tuple[bool, bool]]],
) -> None:
    schedule, now = PartialSchedule(INTERVAL, room=2), 0.0
    open_now = {name: Utterance("mixed", 1, 0, 0) for name in "ab"}
    picked: dict[str, tuple[Utterance, float]] = {}
    for passed, said, anew in steps:
        now += passed
        for name, seconds, again in zip("ab", said, anew, strict=True):
            before = open_now[name]
            start = before.end_sample if again else before.start_sample
            end = before.end_sample + int(seconds * SAMPLE_RATE)
            open_now[name] = Utterance("mixed", before.number + again, start, end)
        new = {}
        for name, utterance in open_now.items():
            covered, at = picked.get(name, (None, -INTERVAL))
            same = covered is not None and covered.number == utterance.number
            since = covered.end_sample if covered is not None and same else utterance.start_sample
            if now - at >= INTERVAL and utterance.end_sample - since >= INTERVAL * SAMPLE_RATE:
                new[name] = utterance.end_sample - since
        speaking = [OpenSpeech(*each) for each in open_now.items()]
        schedule.note(speaking, now)
        found = schedule.pick(speaking, now)
        if found is None:
            assert not new
        else:
            assert found.utterance == open_now[found.session_id]
            assert new[found.session_id] == max(new.values())
            picked[found.session_id] = found.utterance, now


def test_who_is_silent_is_forgotten() -> None:
    schedule = PartialSchedule(INTERVAL, room=1)
    speech = OpenSpeech("s", Utterance("mixed", 1, 0, 5 * SAMPLE_RATE))
    assert schedule.pick([speech], 0.0) == speech
    assert schedule.pick([speech], 100.0) is None
    assert schedule.pick([], 100.0) is None
    assert schedule.pick([speech], 100.0) == speech


def test_while_many_talk_there_is_none() -> None:
    schedule = PartialSchedule(INTERVAL, room=1)
    one, other = (OpenSpeech(each, Utterance("mixed", 1, 0, 5 * SAMPLE_RATE)) for each in "ab")
    schedule.note([one, other], 0.0)
    assert schedule.pick([one, other], 0.0) is None
    schedule.note([one], CONVERSATION)  # the other has just fallen silent, and will soon go on
    assert schedule.pick([one], CONVERSATION) is None
    schedule.note([one], CONVERSATION + 0.1)
    assert schedule.pick([one], CONVERSATION + 0.1) == one
