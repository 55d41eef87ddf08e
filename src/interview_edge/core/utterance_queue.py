"""The utterances that wait for their transcript, and how late each session's are. Pure; the clock is the
caller's.

A session whose lines are later than a bound is put behind the others: hurrying can't help it any more, and
would only make the others late too. Its lines come when nobody else's wait, at the latest after the sessions
that are live now.
"""

from __future__ import annotations

import enum
from collections import deque

import attrs

from interview_edge.core.fair_queue import FairQueue
from interview_edge.core.models import Utterance


class Lateness(enum.IntEnum):
    """How late the lines of a session are. It only grows until none of them waits."""

    ON_TIME = 0
    LATE = 1
    DEFERRED = 2


@attrs.frozen
class LatenessChange:
    """A session is as late as that from now on; `waiting` of its utterances wait."""

    session_id: str
    lateness: Lateness
    waiting: int


class UtteranceQueue:
    """Each session's utterances in order, one at a time, sessions in turns. Times are seconds
    of any one clock.

    A session is late from `late_after` on, deferred from `defer_after` on, counted from when the oldest of
    those that wait was put.
    """

    def __init__(self, late_after: float, defer_after: float) -> None:
        self._late_after = late_after
        self._defer_after = defer_after
        self._queue: FairQueue[str, Utterance] = FairQueue()
        self._known: dict[str, set[Utterance]] = {}  # what is in the queue, or out of it, by session
        self._put_at: dict[str, deque[float]] = {}  # of what waits or is out, by session, in its order
        self._late: dict[str, Lateness] = {}  # who isn't on time

    def __len__(self) -> int:
        """How many wait or are out."""
        return len(self._queue)

    def of(self, session_id: str) -> int:
        """The same of one session."""
        return self._queue.of(session_id)

    def put(self, session_id: str, utterance: Utterance, now: float) -> None:
        """It waits from now on; one that does already isn't put twice."""
        known = self._known.setdefault(session_id, set())
        if utterance not in known:
            known.add(utterance)
            self._queue.put(session_id, utterance)
            self._put_at.setdefault(session_id, deque()).append(now)

    def put_behind(self, session_id: str) -> None:
        """Let everybody else's come first, until none of the session's waits."""
        self._queue.put_behind(session_id)

    def take(self) -> tuple[str, Utterance] | None:
        """The next one, out until `done`; None where nothing can be taken."""
        return self._queue.take()

    def done(self, session_id: str, utterance: Utterance) -> None:
        """The one of the session that is out waits no more."""
        self._queue.done(session_id)
        self._known[session_id].discard(utterance)
        self._put_at[session_id].popleft()
        self._tidy(session_id)

    def drop(self, session_id: str) -> None:
        """Forget what waits of a session. One that is out stays out."""
        self._known.get(session_id, set()).clear()
        self._known.get(session_id, set()).clear()
        for _ in range(self._queue.drop(session_id)):
            self._put_at[session_id].pop()
        self._tidy(session_id)

    def _tidy(self, session_id: str) -> None:
        if not self._put_at.get(session_id):
            self._put_at.pop(session_id, None)
            self._known.pop(session_id, None)
            self._queue.bring_back(session_id)

    # -- lateness

    def oldest_wait(self, now: float) -> float:
        """For how long the oldest of all has waited; 0 where none waits."""
        return max((now - times[0] for times in self._put_at.values()), default=0.0)

    def late_sessions(self) -> int:
        """How many sessions aren't on time."""
        return len(self._late)

    def deferred_sessions(self) -> int:
        """How many of them are deferred."""
        return sum(lateness is Lateness.DEFERRED for lateness in self._late.values())

    def is_deferred(self, session_id: str) -> bool:
        """Whether the session's lines are put off."""
        return self._late.get(session_id) is Lateness.DEFERRED

    def judge(self, now: float) -> list[LatenessChange]:
        """Whose lateness has changed since the last call."""
        changes = []
        for session_id, times in self._put_at.items():
            lateness = self._lateness(now - times[0])
            if lateness is Lateness.DEFERRED:
                self._queue.put_behind(session_id)
            if lateness > self._late.get(session_id, Lateness.ON_TIME):
                self._late[session_id] = lateness
                changes.append(LatenessChange(session_id, lateness, self.of(session_id)))
        for session_id in [each for each in self._late if each not in self._put_at]:
            del self._late[session_id]
            changes.append(LatenessChange(session_id, Lateness.ON_TIME, 0))
        return changes

    def _lateness(self, waited: float) -> Lateness:
        if waited > self._defer_after:
            return Lateness.DEFERRED
        return Lateness.LATE if waited > self._late_after else Lateness.ON_TIME
