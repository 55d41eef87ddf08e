"""The queue of utterances against a simple model: each in its session's order, once; lateness is told once a
change; who is deferred waits for everybody else, and no longer.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from interview_edge.core.models import Utterance
from interview_edge.core.utterance_queue import Lateness, UtteranceQueue

SESSIONS = st.sampled_from("abc")
LATE_AFTER, DEFER_AFTER = 3.0, 8.0


class Waiting(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.queue = UtteranceQueue(LATE_AFTER, DEFER_AFTER)
        self.now = 100.0
        self.number = 0
        self.waiting: dict[str, list[tuple[Utterance, float]]] = {each: [] for each in "abc"}
        self.out: dict[str, tuple[Utterance, float]] = {}
        self.told: dict[str, Lateness] = dict.fromkeys("abc", Lateness.ON_TIME)
        self.behind: set[str] = set()

    def oldest(self, session_id: str) -> float | None:
        if session_id in self.out:
            return self.out[session_id][1]
        return self.waiting[session_id][0][1] if self.waiting[session_id] else None

    @rule(seconds=st.sampled_from([0.5, 1.0, 4.0, 9.0]))
    def time_goes_on(self, seconds: float) -> None:
        self.now += seconds

    @rule(session_id=SESSIONS, twice=st.booleans())
    def put(self, session_id: str, twice: bool) -> None:
        self.number += 1
        utterance = Utterance("mixed", self.number, 0, 16_000)
        for _ in range(1 + twice):
            self.queue.put(session_id, utterance, self.now)
        self.waiting[session_id].append((utterance, self.now))

    @rule(session_id=SESSIONS)
    def put_behind(self, session_id: str) -> None:
        if self.oldest(session_id) is not None:
            self.queue.put_behind(session_id)
            self.behind.add(session_id)

    @rule()
    def take(self) -> None:
        ready = {each for each in "abc" if self.waiting[each] and each not in self.out}
        taken = self.queue.take()
        if taken is None:
            assert not ready
            return
        session_id, utterance = taken
        assert session_id in (ready - self.behind or ready)
        self.out[session_id] = self.waiting[session_id].pop(0)
        assert utterance == self.out[session_id][0]

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        session_id = data.draw(st.sampled_from(sorted(self.out)))
        self.queue.done(session_id, self.out.pop(session_id)[0])
        self.tidy(session_id)

    @rule(session_id=SESSIONS)
    def drop(self, session_id: str) -> None:
        self.queue.drop(session_id)
        self.waiting[session_id].clear()
        self.tidy(session_id)

    def tidy(self, session_id: str) -> None:
        if self.oldest(session_id) is None:
            self.behind.discard(session_id)

    @rule()
    def judge(self) -> None:
        told = {change.session_id: change for change in self.queue.judge(self.now)}
        for session_id in "abc":
            oldest, before = self.oldest(session_id), self.told[session_id]
            waited = 0.0 if oldest is None else self.now - oldest
            now = Lateness((waited > LATE_AFTER) + (waited > DEFER_AFTER))
            if now is Lateness.DEFERRED:
                self.behind.add(session_id)
            expected = now if oldest is None else max(now, before)
            if expected is before:
                assert session_id not in told
            else:
                assert told[session_id].lateness is expected
                assert told[session_id].waiting == self.queue.of(session_id)
            self.told[session_id] = expected

    @invariant()
    def figures(self) -> None:
        for session_id in "abc":
            count = len(self.waiting[session_id]) + (session_id in self.out)
            assert self.queue.of(session_id) == count
        assert len(self.queue) == sum(map(self.queue.of, "abc"))
        waits = [self.now - at for at in map(self.oldest, "abc") if at is not None]
        assert self.queue.oldest_wait(self.now) == max(waits, default=0.0)
        late = list(self.told.values())
        assert self.queue.late_sessions() == len(late) - late.count(Lateness.ON_TIME)
        assert self.queue.deferred_sessions() == late.count(Lateness.DEFERRED)


TestWaiting = Waiting.TestCase
TestWaiting.settings = settings(max_examples=60, stateful_step_count=30)
