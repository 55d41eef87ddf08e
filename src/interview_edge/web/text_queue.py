"""What a socket has to say, in order, where every answer is known when it is due."""

from __future__ import annotations

import trio

from interview_edge.errors import EdgeError, ErrorKind

MAX_WAITING = 1_024  # texts that a client may leave unread


class TextQueue:
    """Texts of one socket; bounded as far as who adds heeds `wait_for_room`. See `Answers`."""

    in_trouble = False  # what waits for the store isn't here

    def __init__(self) -> None:
        self._texts: list[bytes] = []
        self._changed = trio.Event()
        self._room = trio.Event()

    def __len__(self) -> int:
        return len(self._texts)

    def say(self, text: bytes) -> None:
        """Send it after everything that waits."""
        self._texts.append(text)
        self._changed.set()

    @property
    def is_full(self) -> bool:
        """Whether the peer has left so much unread that no more should be added."""
        return len(self._texts) >= MAX_WAITING

    async def wait_for_room(self, timeout: float, otherwise: ErrorKind) -> None:
        """Wait until it isn't full; EdgeError(`otherwise`) after `timeout` seconds."""
        with trio.move_on_after(timeout):
            while self.is_full:
                self._room = trio.Event()
                await self._room.wait()
            return
        raise EdgeError(otherwise)

    def take(self) -> list[bytes]:
        """Everything that can be sent now."""
        self._changed = trio.Event()
        texts, self._texts = self._texts, []
        self._room.set()
        return texts

    async def wait(self) -> None:
        """Wait for a change since the last `take`."""
        await self._changed.wait()

    def wake(self) -> None:
        """Let the writer look again."""
        self._changed.set()
