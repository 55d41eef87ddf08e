"""Puts of many tasks, written a group at a time: one thread's call and one sync of a folder serve all that
gathered.

With a thread a put, the threads spent several times as much on taking turns with each other as on writing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice

import attrs
import trio

from interview_edge.backends.protocol import BackendError, BackendUnavailable
from interview_edge.backends.writing import NewFile

MAX_GROUP = 32  # files: each holds a descriptor, and maybe one of its folder, while its group is under way


@attrs.define(eq=False)
class _Waiting:
    """Files that found a group under way. Woken with their outcomes, or when it is their task's turn to
    write.
    """

    files: Sequence[NewFile]
    woken: trio.Event = attrs.field(factory=trio.Event)
    is_next: bool = False
    outcomes: Sequence[bool | BackendError] = ()


class GroupedPuts:
    """Calls `write` in a thread, each time for all the puts that gathered meanwhile.

    It has no task of its own: a caller writes for all who wait, then the turn is the next one's.
    """

    def __init__(self, write: Callable[[Sequence[NewFile]], Sequence[bool | BackendError]]) -> None:
        """`write` answers one outcome a file."""
        self._write = write
        self._limiter = trio.CapacityLimiter(1)  # one group at once: the next gathers meanwhile
        self._waiting: deque[_Waiting] = deque()  # bounded by the callers, who wait with their data
        self._busy = False

    async def put(self, new: NewFile) -> bool:
        """Whether it wrote. Raises the error that `write` answers for it. Cancelled as `put_all` is."""
        (outcome,) = await self.put_all([new])
        if isinstance(outcome, BackendError):
            try:
                raise outcome
            finally:
                del outcome  # a frame that holds its own error keeps the put's data until a collection
        return outcome

    async def put_all(self, files: Sequence[NewFile]) -> Sequence[bool | BackendError]:
        """The outcomes of at most `MAX_GROUP` files, which are written in one call.

        Cancelled, they have not begun and never will, or their writing has ended.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        put = _Waiting(files)
        if not self._busy:
            self._busy = True
            await self._write_group(put)
        else:
            self._waiting.append(put)
            await self._wait(put)
            if put.is_next:
                await self._write_group(put)
        outcomes, put.outcomes = put.outcomes, ()  # an error's traceback holds this frame: no cycle with it
        return outcomes

    async def _wait(self, put: _Waiting) -> None:
        try:
            await put.woken.wait()
        except trio.Cancelled:
            if put in self._waiting:
                self._waiting.remove(put)
            elif put.is_next:
                self._pass_turn()
            else:
                # Another task's thread writes it. Nothing can stop a thread, so no deadline would help; the
                # disk decides, and a later call must not be overtaken by this put.
                with trio.CancelScope(shield=True):
                    await put.woken.wait()
            raise

    async def _write_group(self, put: _Waiting) -> None:
        """Write `put` and what waits, on this task's turn, and pass the turn."""
        group = [put]
        files = list(put.files)
        while self._waiting and len(files) + len(self._waiting[0].files) <= MAX_GROUP:
            group.append(self._waiting.popleft())
            files += group[-1].files
        outcomes: Sequence[bool | BackendError] = [
            BackendUnavailable("local storage: the group's write failed") for _ in files
        ]
        try:
            # The others' puts mustn't fail by this task's cancellation. Once the thread runs, trio waits for
            # it in any case.
            with trio.CancelScope(shield=True):
                outcomes = await trio.to_thread.run_sync(self._write, files, limiter=self._limiter)
        finally:
            told = iter(outcomes)
            for one in group:
                one.outcomes = list(islice(told, len(one.files)))
                one.woken.set()
            self._pass_turn()

    def _pass_turn(self) -> None:
        if self._waiting:
            following = self._waiting.popleft()
            following.is_next = True
            following.woken.set()
        else:
            self._busy = False
