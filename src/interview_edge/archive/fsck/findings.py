"""What fsck finds, gathered so that a damaged hour is one line and not 3,600. No I/O."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

import attrs

from interview_edge.core.models import SeqRanges
from interview_edge.core.ranges import Ranges

EXAMPLES = 3  # keys that a finding names


class Kind(enum.Enum):
    """What is wrong; the text says it of some objects."""

    MISSING = "missing", "held audio whose object isn't in the store"
    DAMAGED = "damaged", "held audio whose object isn't what was stored"
    UNNAMED = "unnamed", "held audio that no object is recorded for"
    MISCOUNTED = "miscounted", "objects with the right audio and another size than recorded"
    ADOPTABLE = "adoptable", "audio in the store that nothing names, of seconds that aren't held"
    COPY = "copy", "objects that nothing names, with the same audio as held seconds"
    OTHER_BYTES = "other_bytes", "objects that nothing names, with other audio than the held seconds"
    UNKNOWN = "unknown", "objects that nothing names and that are no audio of ours"
    EXPIRED = "expired", "objects that expired and are still in the store"
    REMAINS = "remains", "what is left of deleted sessions"

    def __new__(cls, value: str, _: str) -> Kind:
        kind = object.__new__(cls)
        kind._value_ = value
        return kind

    def __init__(self, _: str, meaning: str) -> None:
        self.meaning = meaning


class State(enum.Enum):
    """What became of it."""

    REPAIRED = "repaired"
    REPAIRABLE = "repairable"  # by --repair
    LOST = "lost"  # nobody has the bytes
    DELETED = "deleted"
    DELETABLE = "deletable"  # by --delete-orphans
    KEPT = "kept"
    FAILED = "failed"  # a repair that the store refused

    @property
    def is_problem(self) -> bool:
        """Whether it is left for somebody to act on. What is kept, or may be deleted, does no harm."""
        return self in (State.REPAIRABLE, State.LOST, State.FAILED)


@attrs.frozen
class Finding:
    """One thing that is wrong with one stream of one session, however many of its objects it is of.

    `session_id` is the part of the key where no catalog knows the session. `seqs` are those of the objects,
    `size` their bytes, as far as these are known; `keys` the first few.
    """

    kind: Kind
    state: State
    session_id: str
    stream: str | None
    seqs: SeqRanges
    objects: int
    size: int
    keys: tuple[str, ...]


@attrs.frozen
class Summary:
    """A whole check. `findings` counts objects (seconds, where no object is named) by kind and state."""

    sessions: int
    objects: int
    size: int
    under_way: int
    findings: Mapping[tuple[Kind, State], int]

    @property
    def problems(self) -> int:
        """How many are left for somebody to act on."""
        return sum(count for (_, state), count in self.findings.items() if state.is_problem)


@attrs.define(eq=False)
class _Gathered:
    seqs: Ranges = attrs.field(factory=Ranges)
    objects: int = 0
    size: int = 0
    keys: list[str] = attrs.field(factory=list)


class FindingTray:
    """Gathers what is found of one stream after the other, and hands each stream's findings on as it ends."""

    def __init__(self, hand_on: Callable[[Finding], None]) -> None:
        self._hand_on = hand_on
        self._of: tuple[str, str | None] | None = None
        self._gathered: dict[tuple[Kind, State], _Gathered] = {}
        self.counts: Counter[tuple[Kind, State]] = Counter()

    def add(
        self,
        kind: Kind,
        state: State,
        *,
        session_id: str,
        stream: str | None = None,
        seqs: Iterable[tuple[int, int]] = (),
        key: str | None = None,
        size: int = 0,
    ) -> None:
        """One object, or without `key` some seconds that have none."""
        if self._of != (session_id, stream):
            self.flush()
            self._of = session_id, stream
        gathered = self._gathered.setdefault((kind, state), _Gathered())
        before = len(gathered.seqs)
        gathered.seqs.update(seqs)
        gathered.size += size
        if key is None:
            self.counts[kind, state] += len(gathered.seqs) - before
            return
        self.counts[kind, state] += 1
        gathered.objects += 1
        if len(gathered.keys) < EXAMPLES:
            gathered.keys.append(key)

    def flush(self) -> None:
        """The stream under way has ended."""
        if self._of is not None:
            session_id, stream = self._of
            for (kind, state), g in self._gathered.items():
                seqs, keys = tuple(g.seqs), tuple(sorted(g.keys))
                self._hand_on(Finding(kind, state, session_id, stream, seqs, g.objects, g.size, keys))
        self._gathered.clear()
        self._of = None
