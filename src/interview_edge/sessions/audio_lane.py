"""The audio lane of a live session: a chunk on its way from `accept` to its ack.

`accept` is synchronous, so chunks of all sockets take their places in order of arrival and no cancellation
can fall between the ledger's answer and the journal's queue. From there on it is the committer, or the
archive, that moves a chunk: who waits for one may be cancelled, and nothing changes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial

import trio

from interview_edge.core.ledger import Standing
from interview_edge.core.models import AckLevel, Chunk
from interview_edge.core.pcm import Pcm, identify
from interview_edge.errors import CHUNK_CONFLICT, STORAGE_UNAVAILABLE, EdgeError, ErrorKind
from interview_edge.journal import Append, JournalError
from interview_edge.sessions.live_stream import LiveStream, Pending
from interview_edge.sessions.node_parts import NodeParts
from interview_edge.sessions.receipt import Outcome, Receipt


class AudioLane:
    """Takes the chunks of one session, whose streams it shares.

    `start_soon` runs a task of the session's; `on_held` is told of each second that is held, with its time.
    """

    def __init__(
        self,
        streams: Mapping[str, LiveStream],
        parts: NodeParts,
        start_soon: Callable[[Callable[[], Awaitable[None]]], bool],
        on_held: Callable[[str, int], None],
    ) -> None:
        self.refusal: ErrorKind | None = None  # why nothing more is taken
        self.unjournalled = 0
        self._streams = streams
        self._parts = parts
        self._start_soon = start_soon
        self._on_held = on_held
        self._level = parts.settings.ack
        self._writing: set[Pending] = set()  # of level `memory`: admitted, not journalled yet

    @property
    def on_its_way(self) -> bool:
        """Whether any chunk isn't safe yet, or isn't journalled."""
        return bool(self._writing) or any(stream.pending for stream in self._streams.values())

    @property
    def holds_only_copy(self) -> bool:
        """Whether a window may hold audio that no journal has: at ack level `memory`, before its commit or
        where that failed.
        """
        return bool(self._writing or self.unjournalled)

    async def settle(self) -> None:
        """Wait until everything accepted before this call is in the journal and safe at the ack level, or
        refused. The caller sets the deadline, by cancellation.
        """
        under_way = [p for stream in self._streams.values() for p in stream.pending.values()]
        for pending in [*under_way, *self._writing]:
            await pending.settled()

    @property
    def may_accept(self) -> bool:
        """Whether the node's journal has room for another chunk."""
        return self._level is AckLevel.MEMORY or self._parts.journal.has_room

    async def wait_to_accept(self, timeout: float) -> None:
        """Wait, `timeout` seconds at most, until the chunks of all sessions that wait for their commit leave
        room for another one. Who sends faster than the disk takes is so held back and not refused.

        Raises EdgeError(storage_unavailable) after the timeout.
        """
        with trio.move_on_after(timeout) as waiting:
            await self._parts.journal.wait_for_room()
        if waiting.cancelled_caught:
            raise EdgeError(STORAGE_UNAVAILABLE)

    def accept(
        self,
        stream: LiveStream,
        seq: int,
        timestamp_ms: int,
        pcm: Pcm,
        *,
        final: bool = False,
        on_done: Callable[[Receipt], None] | None = None,
    ) -> Receipt:
        """Take one chunk; the receipt is done when it is safe at the node's ack level, or refused.

        Raises EdgeError, with nothing taken, for a seq that the ledger refuses (`seq_too_far`,
        `stream_ended`, `final_below_held`), `storage_unavailable` where the journal is full or its queue is,
        and the reason of its closing once the session is closed.
        """
        if self.refusal is not None:
            raise EdgeError(self.refusal, fields={"seq": seq})
        ledger = stream.ledger
        standing = ledger.standing(seq, final=final)
        sha256, identity = identify(pcm, final=final)
        chunk = Chunk(seq, timestamp_ms, final, pcm, sha256, identity)
        receipt = Receipt(seq, trio.current_time(), on_done)
        if standing is Standing.NEW:
            self._journal_new(stream, chunk, receipt)
        elif standing is Standing.PENDING:
            stream.pending[seq].wait_with(_without_audio(chunk), receipt)
        else:
            if not self._start_soon(partial(self._compare_with_held, stream, chunk, receipt)):
                raise EdgeError(STORAGE_UNAVAILABLE)
        return receipt

    def _journal_new(self, stream: LiveStream, chunk: Chunk, receipt: Receipt) -> None:
        pending = Pending(chunk.identity, len(chunk.pcm), chunk.final, receipt)
        at = self._parts.wall_ms()
        append = Append(stream.key, chunk, at, partial(self._journalled, stream, chunk, pending, at))
        try:
            self._append(append)
            if self._level is AckLevel.MEMORY:
                self._writing.add(pending)
        except EdgeError:
            # Level `memory` promises nothing, so the journal failing stops nothing; /health shows the count.
            if self._level is not AckLevel.MEMORY:
                raise
            self.unjournalled += 1
        stream.ledger.reserve(chunk.seq, final=chunk.final)
        stream.pending[chunk.seq] = pending
        if self._level is AckLevel.MEMORY:
            self._show(stream, chunk)
            self._admit(stream, chunk.seq, pending, at)

    def _append(self, append: Append) -> None:
        try:
            self._parts.journal.append(append)
        except JournalError as error:  # full, busy or closed
            raise EdgeError(STORAGE_UNAVAILABLE, str(error), fields={"seq": append.chunk.seq}) from error

    def _journalled(
        self, stream: LiveStream, chunk: Chunk, pending: Pending, at: int, error: Exception | None
    ) -> None:
        """The committer's answer: the only place where a chunk goes on, so a cancelled waiter changes
        nothing.
        """
        if self._level is AckLevel.MEMORY:
            self._writing.discard(pending)
            pending.settle()
        if error is not None:
            if self._level is AckLevel.MEMORY:
                self.unjournalled += 1
            else:
                # The journal closed before the commit: the client is told to keep the chunk.
                self._give_up(
                    stream, chunk.seq, pending, EdgeError(STORAGE_UNAVAILABLE, fields={"seq": chunk.seq})
                )
            return
        self._parts.archive.journalled(stream.key, chunk.seq, at)
        if self._level is AckLevel.MEMORY:
            return
        self._show(stream, chunk)
        if self._level is AckLevel.JOURNAL:
            self._admit(stream, chunk.seq, pending, at)

    def _show(self, stream: LiveStream, chunk: Chunk) -> None:
        """Let the stream's window have a second, within what the session's windows may hold together.

        Over it the largest other window is given back: its audio is journalled, and reads find it there.
        """
        stream.show(chunk.seq, chunk.pcm)
        cap = self._parts.settings.max_memory_mb * 10**6
        if len(self._streams) * self._parts.settings.window_bytes <= cap or stream.closed:
            return
        held = sum(each.window.held_bytes for each in self._streams.values())
        others = [each for each in self._streams.values() if each is not stream]
        for other in sorted(others, key=lambda each: each.window.held_bytes, reverse=True):
            if held <= cap:
                return
            held -= other.window.held_bytes
            other.window.evict()

    def end(self) -> None:
        """The session has ended, and hears no more of the archive: who waits for that is told so. Commits of
        the journal still come.
        """
        if self._level is AckLevel.BACKEND:
            for stream in self._streams.values():
                for seq, pending in tuple(stream.pending.items()):
                    error = EdgeError(self.refusal or STORAGE_UNAVAILABLE, fields={"seq": seq})
                    self._give_up(stream, seq, pending, error)

    def _give_up(self, stream: LiveStream, seq: int, pending: Pending, error: EdgeError) -> None:
        """The chunk won't be held: its seq is free again, and who waits is told why."""
        if stream.pending.pop(seq, None) is None:
            return  # `end` was before it
        stream.ledger.release(seq)
        for receipt in [pending.receipt, *(receipt for _, receipt in pending.repeats or ())]:
            receipt.refuse(error)
        pending.settle()

    def stored(self, name: str, ranges: Sequence[tuple[int, int]]) -> None:
        """The archive's word that these seqs are in backend and catalog: what ack level `backend` waits
        for.
        """
        stream = self._streams.get(name)
        if stream is None or self._level is not AckLevel.BACKEND:
            return
        at = self._parts.wall_ms()
        for first, last in ranges:
            for seq in range(first, last + 1):
                pending = stream.pending.get(seq)
                if pending is not None:
                    self._admit(stream, seq, pending, at)

    def conflicted(self, name: str, seqs: Sequence[int]) -> None:
        """The archive's word that another node had stored other bytes at these seqs first: those stand."""
        stream = self._streams.get(name)
        for seq in seqs:
            pending = None if stream is None else stream.pending.get(seq)
            if stream is not None and pending is not None:
                self._give_up(stream, seq, pending, EdgeError(CHUNK_CONFLICT, fields={"seq": seq}))

    def _admit(self, stream: LiveStream, seq: int, pending: Pending, at: int) -> None:
        stream.ledger.admit(seq, pending.length, final=pending.final, at=at)
        del stream.pending[seq]
        if not pending.receipt.done:
            pending.receipt.acknowledge(Outcome.STORED, stream.ledger)
        for chunk, receipt in pending.repeats or ():
            self._answer_repeat(stream, chunk, receipt, pending.identity)
        if pending not in self._writing:
            pending.settle()
        self._on_held(stream.key.stream, at)

    def _answer_repeat(self, stream: LiveStream, chunk: Chunk, receipt: Receipt, held: bytes) -> None:
        """Same bytes: a duplicate, counted durably before it is acked. Others: a conflict; what is held
        stands.
        """
        if chunk.identity != held:
            receipt.refuse(EdgeError(CHUNK_CONFLICT, fields={"seq": chunk.seq}))
            return
        at = self._parts.wall_ms()
        if self._level is AckLevel.MEMORY:  # as for a new chunk, the journal failing stops nothing
            self._counted(stream, receipt, at, None)
            with suppress(EdgeError):
                self._append(Append(stream.key, _without_audio(chunk), at, _ignore, repeat=True))
            return
        try:
            counted = partial(self._counted, stream, receipt, at)
            self._append(Append(stream.key, _without_audio(chunk), at, counted, repeat=True))
        except EdgeError as error:
            receipt.refuse(error)

    def _counted(self, stream: LiveStream, receipt: Receipt, at: int, error: Exception | None) -> None:
        if error is not None:
            receipt.refuse(EdgeError(STORAGE_UNAVAILABLE, fields={"seq": receipt.seq}))
            return
        stream.ledger.count_duplicate(at)
        receipt.acknowledge(Outcome.DUPLICATE, stream.ledger)

    async def _compare_with_held(self, stream: LiveStream, chunk: Chunk, receipt: Receipt) -> None:
        """A repeat of a held chunk: its identity is in the journal or, after the trim, in the catalog."""
        try:
            with trio.fail_after(self._parts.settings.storage_timeout):
                identity = await self._parts.identity(stream.key, chunk.seq)
        except trio.Cancelled:
            receipt.refuse(EdgeError(STORAGE_UNAVAILABLE, fields={"seq": chunk.seq}))  # the session ends
            raise
        except Exception as error:  # whatever failed below, the answer is: keep it and retry
            if self._level is AckLevel.MEMORY:  # which waits for nothing below
                self._answer_repeat(stream, chunk, receipt, self._shown_identity(stream, chunk))
                return
            refusal = EdgeError(STORAGE_UNAVAILABLE, fields={"seq": chunk.seq})
            # Without its traceback, whose frames hold this chunk and the refusal: a cycle for the collector.
            refusal.__cause__ = error.with_traceback(None)
            receipt.refuse(refusal)
            return
        if identity is None:  # level `memory` holds chunks that nothing below knows yet
            identity = self._shown_identity(stream, chunk)
        self._answer_repeat(stream, chunk, receipt, identity)

    def _shown_identity(self, stream: LiveStream, chunk: Chunk) -> bytes:
        """By the window's bytes: the chunk's own identity where they are the same, or are gone."""
        pcm = stream.shown(chunk.seq)
        return chunk.identity if pcm is None or pcm == chunk.pcm else b""


def _ignore(_: Exception | None) -> None:
    """A commit that nobody waits for."""


def _without_audio(repeat: Chunk) -> Chunk:
    """What is needed of a repeat: its audio is held already, and many may wait for a slow disk."""
    return Chunk(repeat.seq, repeat.timestamp_ms, repeat.final, b"", repeat.sha256, repeat.identity)
