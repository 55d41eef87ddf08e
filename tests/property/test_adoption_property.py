"""An object that nothing names: every one of its seconds is judged once, and what is recorded reads back."""

from __future__ import annotations

import hashlib

from hypothesis import given, settings
from hypothesis import strategies as st

from interview_edge.archive.fsck.adoption import adopt, judge, take_apart
from interview_edge.core.models import StreamKey
from interview_edge.core.pcm import CHUNK_BYTES, identify
from interview_edge.core.ranges import Ranges

KEY = StreamKey("s")


def audio(first: int, last: int, end: int) -> dict[int, bytes]:
    """A second for each seq, the last of `end` bytes."""
    return {
        seq: (hashlib.sha256(str(seq).encode()).digest() * 1000)[: end if seq == last else CHUNK_BYTES]
        for seq in range(first, last + 1)
    }


@settings(max_examples=100)
@given(
    first=st.integers(1, 200),
    count=st.integers(1, 6),
    end=st.sampled_from([2, 500, CHUNK_BYTES]),
    final=st.booleans(),
    says=st.booleans(),
    held=st.sets(st.integers(0, 5)),
    differing=st.sets(st.integers(0, 5)),
)
def test_every_second_is_judged_once_and_the_adopted_ones_read_back(
    first: int, count: int, end: int, final: bool, says: bool, held: set[int], differing: set[int]
) -> None:
    last = first + count - 1
    final = final or end < CHUNK_BYTES
    seconds = audio(first, last, end)
    pcm = b"".join(seconds.values())
    orphan = take_apart(
        "k",
        pcm,
        first=first,
        last=last,
        format="wav",
        size=9,
        at=7,
        final=final if says else None,
    )
    assert orphan is not None
    known = {
        seq: identify(part, final=final and seq == last)[1] if seq - first not in differing else b"x" * 16
        for seq, part in seconds.items()
        if seq - first in held
    }
    verdict = judge(orphan, known)
    assert sorted([*verdict.unheld, *verdict.copied, *verdict.differing]) == list(seconds)
    assert set(verdict.unheld) == seconds.keys() - known.keys()
    assert set(verdict.differing) == {seq for seq in known if seq - first in differing}
    if not verdict.unheld:
        return
    step = adopt(KEY, [(orphan, verdict.unheld)], stored_at=8)
    read = {}
    for extent in step.extents:
        part = pcm[extent.offset : extent.offset + extent.length]
        assert hashlib.sha256(part).digest() == extent.sha256
        for seq in range(extent.first, extent.last + 1):
            assert seq not in read
            start = (seq - extent.first) * CHUNK_BYTES
            read[seq] = part[start : start + CHUNK_BYTES]
    assert read == {seq: seconds[seq] for seq in verdict.unheld}
    assert Ranges(step.ledger.held) == Ranges((seq, seq) for seq in verdict.unheld)
    ends = last in verdict.unheld and (end < CHUNK_BYTES or (says and final))
    assert (step.ledger.final_seq, step.ledger.final_length) == ((last, end) if ends else (None, 0))
    if says or end < CHUNK_BYTES:
        assert step.identities == {
            seq: identify(seconds[seq], final=final and seq == last)[1] for seq in verdict.unheld
        }


@given(
    length=st.integers(0, 3 * CHUNK_BYTES + 2).filter(
        lambda n: n % 2 or not 2 * CHUNK_BYTES < n <= 3 * CHUNK_BYTES
    )
)
def test_audio_of_another_length_than_the_key_says_is_not_taken_apart(length: int) -> None:
    assert take_apart("k", bytes(length), first=4, last=6, format="pcm", size=9, at=7, final=None) is None
