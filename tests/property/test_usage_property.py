"""What counts as used: each second and each object once, in whatever order and however often steps come."""

from __future__ import annotations

import random
from contextlib import closing

import apsw
from hypothesis import given
from hypothesis import strategies as st

from interview_edge.catalog import objects, queries
from interview_edge.catalog.access import UsageKind
from interview_edge.catalog.protocol import StoredChunks
from interview_edge.core.models import Caller
from interview_edge.sqlite import in_transaction, migrate
from interview_edge.testing.catalog import stored_chunks

LAST = 12
FINAL_BYTES = 320


def step(first: int, last: int, mark: int) -> StoredChunks:
    final = FINAL_BYTES if last == LAST else None
    return stored_chunks(first, last, mark=mark, object_key=f"{first}-{last}-{mark}", final_length=final)


@st.composite
def steps(draw: st.DrawFn) -> list[StoredChunks]:
    """Objects of one stream, some of which overlap."""
    spans = st.tuples(st.integers(1, LAST), st.integers(1, LAST)).map(sorted)
    return [step(first, last, 1) for first, last in draw(st.lists(spans, min_size=1, max_size=6))]


@given(steps(), st.randoms(use_true_random=False))
def test_repeats_and_order_change_nothing(made: list[StoredChunks], chance: random.Random) -> None:
    held = {seq for one in made for seq in range(one.extents[0].first, one.extents[0].last + 1)}
    sizes = {one.extents[0].key: one.extents[0].object_size for one in made}
    come = [*made, *chance.choices(made, k=4)]
    chance.shuffle(come)
    with closing(apsw.Connection(":memory:")) as connection:
        migrate(connection, package="interview_edge.catalog")
        queries.open_session(connection, "session", 1, Caller("alice", "k1"))
        for one in come:
            in_transaction(connection, lambda c, one=one: objects.record_stored(c, one))
        found = dict(
            connection.execute(
                "SELECT what, sum(amount) FROM usage WHERE owner = 'alice' AND key_id = 'k1' GROUP BY what"
            )
        )
    samples = 16_000 * len(held) - ((32_000 - FINAL_BYTES) // 2 if LAST in held else 0)
    assert found == {
        UsageKind.CHUNKS: len(held),
        UsageKind.AUDIO_SAMPLES: samples,
        UsageKind.STORED_BYTES: sum(sizes.values()),
    }
