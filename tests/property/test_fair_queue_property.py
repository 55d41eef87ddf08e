"""The fair queue against a simple model: nothing lost or doubled, order kept for each, nobody starved but who
was put behind.
"""

from __future__ import annotations

from collections import deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from interview_edge.core.fair_queue import FairQueue

OWNERS = st.sampled_from("abc")


class Fair(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.queue: FairQueue[str, int] = FairQueue()
        self.model: dict[str, deque[int]] = {owner: deque() for owner in "abc"}
        self.out: dict[str, int] = {}
        self.passed_over: dict[str, int] = dict.fromkeys("abc", 0)
        self.behind: set[str] = set()
        self.number = 0

    @rule(owner=OWNERS)
    def put_behind(self, owner: str) -> None:
        self.queue.put_behind(owner)
        self.behind.add(owner)
        self.passed_over = dict.fromkeys("abc", 0)

    @rule(owner=OWNERS)
    def bring_back(self, owner: str) -> None:
        self.queue.bring_back(owner)
        self.behind.discard(owner)
        self.passed_over = dict.fromkeys("abc", 0)

    @rule(owner=OWNERS)
    def put(self, owner: str) -> None:
        self.number += 1
        self.queue.put(owner, self.number)
        self.model[owner].append(self.number)

    @rule()
    def take(self) -> None:
        ready = [owner for owner, items in self.model.items() if items and owner not in self.out]
        taken = self.queue.take()
        if not ready:
            assert taken is None
            return
        assert taken is not None
        owner, item = taken
        assert item == self.model[owner].popleft()
        self.out[owner] = item
        first = [other for other in ready if other not in self.behind]
        assert not first or owner in first
        for other in first or ready:
            self.passed_over[other] = 0 if other == owner else self.passed_over[other] + 1
            assert self.passed_over[other] < len(self.model)

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        owner = data.draw(st.sampled_from(sorted(self.out)))
        self.queue.done(owner)
        del self.out[owner]

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def put_back(self, data: st.DataObject) -> None:
        owner = data.draw(st.sampled_from(sorted(self.out)))
        self.queue.put_back(owner)
        self.model[owner].appendleft(self.out.pop(owner))
        self.passed_over[owner] = 0

    @rule(owner=OWNERS)
    def drop(self, owner: str) -> None:
        assert self.queue.drop(owner) == len(self.model[owner])
        self.model[owner].clear()
        self.passed_over[owner] = 0

    @invariant()
    def counts(self) -> None:
        assert len(self.queue) == sum(map(len, self.model.values())) + len(self.out)
        for owner, items in self.model.items():
            assert self.queue.of(owner) == len(items) + (owner in self.out)


TestFairQueue = Fair.TestCase
TestFairQueue.settings = settings(max_examples=60, stateful_step_count=30)
