"""What one stream still has to bring to the backend, and when its next step is due. No I/O; times come in."""

from __future__ import annotations

import attrs
import trio

from interview_edge.core.models import SeqRanges, StreamKey
from interview_edge.core.ranges import Ranges


@attrs.define(eq=False)
class StreamBacklog:
    """One stream with chunks that aren't settled yet (stored, or kept as a conflict).

    Two grow-only sets of ranges, so that hours of an outage cost no more than a minute of it. `oldest_at` is
    epoch ms; `due` and `not_before` are trio times; `due` is None while a step is under way or nothing waits.
    `look_again`: a segment may have become complete during the step.
    """

    key: StreamKey
    journalled: Ranges = attrs.field(factory=Ranges)
    settled: Ranges = attrs.field(factory=Ranges)
    oldest_at: int | None = None
    due: float | None = None
    failures: int = 0
    not_before: float = 0.0
    hurried: SeqRanges = ()
    active: bool = False
    look_again: bool = False
    forgotten: bool = False
    progress: trio.Event = attrs.field(factory=trio.Event)

    @property
    def waiting(self) -> int:
        """How many chunks aren't settled."""
        return len(self.journalled) - len(self.settled)

    def has_settled(self, ranges: SeqRanges) -> bool:
        return all(self.settled.covers(first, last) for first, last in ranges)

    def hurry(self) -> None:
        """What is journalled now is due at once, whatever failed before."""
        self.hurried = tuple(self.journalled)
        self.not_before = 0.0

    def settle(self, ranges: Ranges) -> None:
        """These need no further step; a hurry ends with the last chunk that it was for."""
        self.settled.update(ranges)
        if self.hurried and self.has_settled(self.hurried):
            self.hurried = ()

    def note_progress(self) -> None:
        """Wake who waits for this stream."""
        self.progress.set()
        self.progress = trio.Event()
