from __future__ import annotations

import sys

import attrs
import pytest

from interview_edge.core.ledger import MAX_MISSING_LISTED, MAX_SEQ_AHEAD, Ledger, Standing, merge
from interview_edge.core.models import LedgerSnapshot
from interview_edge.core.pcm import CHUNK_BYTES
from interview_edge.errors import EdgeError

THREE_HOURS = 3 * 3600


def held(*seqs: int) -> Ledger:
    ledger = Ledger()
    for seq in seqs:
        ledger.admit(seq, at=seq)
    return ledger


def refusal(ledger: Ledger, seq: int, *, final: bool = False) -> str:
    with pytest.raises(EdgeError) as caught:
        ledger.standing(seq, final=final)
    assert caught.value.fields == {"seq": seq}
    return caught.value.kind.code


def deep_size(thing: object) -> int:
    """Bytes of an object and everything it refers to by slot, list, tuple or set."""
    size = sys.getsizeof(thing)
    if isinstance(thing, list | tuple | set):
        return size + sum(deep_size(each) for each in thing)
    slots = getattr(type(thing), "__slots__", ())
    return size + sum(deep_size(getattr(thing, name)) for name in slots if hasattr(thing, name))


def test_three_hours_with_a_gap_are_a_few_hundred_bytes() -> None:
    ledger = Ledger()
    for seq in range(1, THREE_HOURS + 1):
        if seq != 5000:
            ledger.reserve(seq)
            ledger.admit(seq, at=1_700_000_000_000 + seq)
    assert ledger.snapshot().held == ((1, 4999), (5001, THREE_HOURS))
    assert deep_size(ledger) < 1000
    assert deep_size(ledger.snapshot().held) < 500


def test_a_late_chunk_fills_its_gap() -> None:
    ledger = held(1, 2, 4)
    assert (ledger.next_seq, ledger.missing_count, ledger.missing()) == (3, 1, (((3, 3),), False))
    assert ledger.standing(3) is Standing.NEW
    ledger.admit(3, at=1)
    assert (ledger.next_seq, ledger.missing_count, ledger.missing()) == (5, 0, ((), False))


def test_missing_past_the_last_held_when_the_end_is_known() -> None:
    assert held(1, 3).missing(upto=5) == (((2, 2), (4, 5)), False)
    assert held(1, 3).missing(upto=2) == (((2, 2),), False)


def test_a_released_chunk_is_new_again() -> None:
    ledger = held(1)
    ledger.reserve(2, final=True)
    assert ledger.standing(2) is Standing.PENDING
    assert refusal(ledger, 3) == "stream_ended"
    ledger.release(2)
    assert ledger.standing(2) is Standing.NEW
    assert ledger.standing(3) is Standing.NEW


def test_a_seq_may_be_a_day_ahead_and_no_more() -> None:
    ledger = held(1)
    assert ledger.standing(1 + MAX_SEQ_AHEAD) is Standing.NEW
    assert refusal(ledger, 2 + MAX_SEQ_AHEAD) == "seq_too_far"


def test_nothing_comes_after_the_final_chunk_but_late_ones() -> None:
    ledger = held(1)
    ledger.admit(5, 640, final=True, at=9)
    assert refusal(ledger, 6) == "stream_ended"
    assert refusal(ledger, 6, final=True) == "stream_ended"
    assert refusal(ledger, 4, final=True) == "final_below_held"
    assert ledger.standing(4) is Standing.NEW
    assert (ledger.final_seq, ledger.bytes_held) == (5, CHUNK_BYTES + 640)


def test_no_final_chunk_below_what_is_held_or_pending() -> None:
    ledger = held(1, 5)
    assert refusal(ledger, 4, final=True) == "final_below_held"
    ledger.reserve(7)
    assert refusal(ledger, 6, final=True) == "final_below_held"
    assert ledger.standing(8, final=True) is Standing.NEW


def test_missing_lists_a_thousand_ranges_and_says_that_there_are_more() -> None:
    ledger = held(*range(2, 2 * MAX_MISSING_LISTED + 2, 2))
    assert len(ledger.missing()[0]) == MAX_MISSING_LISTED
    assert ledger.missing()[1] is False
    ledger.admit(2 * MAX_MISSING_LISTED + 2, at=1)
    missing, truncated = ledger.missing()
    assert (len(missing), truncated) == (MAX_MISSING_LISTED, True)
    assert ledger.status("s", 0).missing_truncated


def test_times_are_of_the_first_and_the_latest_chunk_whatever_their_order() -> None:
    ledger = Ledger()
    for seq, at in ((2, 20), (1, 10), (3, 15)):
        ledger.admit(seq, at=at)
    assert (ledger.started_at, ledger.updated_at) == (10, 20)
    ledger.count_duplicate(25)
    assert (ledger.started_at, ledger.updated_at, ledger.duplicates) == (10, 25, 1)


def test_two_ends_of_one_stream_merge_to_the_later() -> None:
    early = LedgerSnapshot(held=((1, 5),), final_seq=5, final_length=640)
    late = LedgerSnapshot(held=((1, 7),), final_seq=7, final_length=320)
    assert merge(early, late) == late
    assert merge(late, attrs.evolve(early, duplicates=3)) == attrs.evolve(late, duplicates=3)
