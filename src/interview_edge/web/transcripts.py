"""Where utterances go to be transcribed: the seam for a provider, and what is there without one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import attrs

from interview_edge.core.models import Event
from interview_edge.core.models import Utterance as HeardUtterance
from interview_edge.core.pcm import SAMPLE_RATE
from interview_edge.speech.transcriber import Transcript
from interview_edge.wire.browser_frames import ServerFrame, TranscriptionError

NO_PROVIDER = "no transcription provider is configured; audio is stored"


@attrs.frozen
class Utterance:
    """One stretch of speech, or for a prefetch what there is of it: samples `start` up to, without, `end`,
    counted from its recording's start. `heard` is the same in its stream; `number` is that of an utterance
    that the server heard by itself, None for a client's. `read` has its PCM; it raises as the reader of
    journal and store does.
    """

    utterance_id: str
    start: int
    end: int
    heard: HeardUtterance
    number: int | None
    prompt: str | None
    read: Callable[[], Awaitable[bytes]]

    @property
    def start_ms(self) -> int:
        return self.start * 1000 // SAMPLE_RATE

    @property
    def end_ms(self) -> int:
        return self.end * 1000 // SAMPLE_RATE


class Scribe(Protocol):
    """Transcribes the utterances of one socket. The first three neither wait nor fail: what comes of them
    is said on the socket, in order of utterances, prefetches aside.
    """

    def prefetch(self, utterance: Utterance) -> None:
        """Transcribe a copy while the utterance goes on."""
        ...

    def drop(self, utterance_id: str) -> None:
        """That prefetch's text isn't wanted any more: cancel it."""
        ...

    def finish(self, utterance: Utterance, *, reuse: bool) -> None:
        """Transcribe it; with `reuse`, its prefetch's text is the final one and nobody is asked again."""
        ...

    def partial(self, utterance: Utterance, found: Transcript) -> None:
        """What was said so far of an utterance of the server's."""
        ...

    def tell(self, events: Sequence[Event]) -> None:
        """The session's committed events."""
        ...

    async def settled(self) -> None:
        """Wait until everything that was asked for is said, or given up."""
        ...


class NoProvider:
    """The scribe of a node without a transcription provider: says so, once."""

    def __init__(self, say: Callable[[ServerFrame], None], now_ms: Callable[[], int]) -> None:
        self._say = say
        self._now_ms = now_ms
        self._said = False

    def prefetch(self, utterance: Utterance) -> None:
        """The end of the utterance will say it."""

    def drop(self, utterance_id: str) -> None:
        """There is none."""

    def finish(self, utterance: Utterance, *, reuse: bool) -> None:
        if not self._said:
            self._said = True
            told = TranscriptionError(
                error=NO_PROVIDER, timestamp=self._now_ms(), utterance_id=utterance.utterance_id
            )
            self._say(told)

    def partial(self, utterance: Utterance, found: Transcript) -> None:
        """There is none."""

    def tell(self, events: Sequence[Event]) -> None:
        """None of them is a transcript."""

    async def settled(self) -> None:
        """Everything is said at once."""
