"""Whatever the order of steps, however often each is repeated or rolled back: usage is as of each once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

import apsw
import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interview_edge.catalog import StoredChunks
from interview_edge.catalog.objects import record_stored
from interview_edge.catalog.queries import open_session
from interview_edge.core.models import Caller, Extent, StreamKey
from interview_edge.core.pcm import CHUNK_BYTES, CHUNK_SAMPLES
from interview_edge.sqlite import in_transaction, migrate
from interview_edge.testing.catalog_steps import stored_chunks

OWNERS = {"a": Caller("ann", "k1"), "b": Caller("bob")}
KEYS = (StreamKey("a"), StreamKey("a", "teacher"), StreamKey("b"))
LAST = 8  # the seq that ends a stream, with a short chunk
FINAL_LENGTH = 320
AT = 1_000


class PowerLostError(Exception):
    pass


@attrs.frozen
class Step:
    """`first..last` of a stream, in one object; or, with `mark`, other bytes of the same seqs."""

    key: StreamKey
    first: int
    last: int
    segment: bool
    mark: int

    def stored(self, at: int) -> StoredChunks:
        final = FINAL_LENGTH if self.last == LAST else None
        step = stored_chunks(self.first, self.last, key=self.key, mark=self.mark, at=at, final_length=final)
        return attrs.evolve(step, extents=self._extents(step.extents[0]), stored_at=at)

    def _extents(self, whole: Extent) -> Sequence[Extent]:
        if self.segment:
            # Aligned, as the archive cuts them: the same object whichever part of it a node lacked.
            start = (self.first - 1) * CHUNK_BYTES
            name, size = f"segment-{self.mark}", 1_000
            return [attrs.evolve(whole, key=name, format="flac", offset=start, object_size=size)]
        return [
            attrs.evolve(whole, first=n, last=n, key=f"chunk-{n}-{self.mark}", length=size, object_size=size)
            for n in range(self.first, self.last + 1)
            for size in [FINAL_LENGTH if n == LAST else CHUNK_BYTES]
        ]


steps = st.builds(
    lambda key, span, segment, mark: Step(key, min(span), max(span), segment, mark),
    st.sampled_from(KEYS),
    st.tuples(st.integers(1, LAST), st.integers(1, LAST)),
    st.booleans(),
    st.integers(1, 2),
)


def model(done: Sequence[Step]) -> dict[tuple[str, str], dict[str, int]]:
    """Usage by (owner, key): of sets, so that nothing counts twice."""
    held = {(step.key, n) for step in done for n in range(step.first, step.last + 1)}
    objects = {(step.key, e.key): e.object_size for step in done for e in step.stored(AT).extents}
    used: dict[tuple[str, str], Counter[str]] = {}
    for key, n in held:
        caller = OWNERS[key.session_id]
        counts = used.setdefault((caller.user, caller.key_id or ""), Counter())
        counts["chunks"] += 1
        counts["audio_samples"] += FINAL_LENGTH // 2 if n == LAST else CHUNK_SAMPLES
    for (key, _), size in objects.items():
        caller = OWNERS[key.session_id]
        used[caller.user, caller.key_id or ""]["stored_bytes"] += size
    return {who: dict(counts) for who, counts in used.items()}


def open_memory() -> apsw.Connection:
    connection = apsw.Connection(":memory:")
    migrate(connection, package="interview_edge.catalog")
    for session_id, caller in OWNERS.items():
        in_transaction(connection, partial(open_session, session_id=session_id, at=1, caller=caller))
    return connection


def usage(connection: apsw.Connection) -> dict[tuple[str, str], dict[str, int]]:
    used: dict[tuple[str, str], dict[str, int]] = {}
    for owner, key_id, what, amount in connection.execute(
        "SELECT owner, key_id, what, sum(amount) FROM usage GROUP BY owner, key_id, what"
    ):
        used.setdefault((owner, key_id), {})[what] = amount
    return used


def cut_off(work: Callable[[apsw.Connection], object]) -> Callable[[apsw.Connection], object]:
    """The same, and the node ends before its commit."""

    def run(connection: apsw.Connection) -> None:
        work(connection)
        raise PowerLostError

    return run


@settings(max_examples=150)
@given(st.lists(st.tuples(steps, st.integers(0, 3), st.booleans()), max_size=12))
def test_usage_is_of_each_once(sequence: list[tuple[Step, int, bool]]) -> None:
    connection = open_memory()
    done: list[Step] = []
    for n, (step, day, lost) in enumerate(sequence):
        again = sequence[n // 2][0]  # an earlier one (or this), as a retry brings it
        for each in (step, again):
            work = partial(record_stored, stored=each.stored(AT + day * 86_400_000))
            if lost:
                with pytest.raises(PowerLostError):
                    in_transaction(connection, cut_off(work))
            else:
                in_transaction(connection, work)
                done.append(each)
    assert usage(connection) == model(done)
