from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from interview_edge.core.pcm import CHUNK_BYTES
from interview_edge.core.window import Window

ONE, TWO, THREE = (bytes([n]) * CHUNK_BYTES for n in (1, 2, 3))
SILENT = bytes(CHUNK_BYTES)


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def mappings() -> int:
    return len(Path("/proc/self/maps").read_text().splitlines())


def test_reads_what_was_written() -> None:
    window = Window()
    assert window.write(1, ONE)
    assert window.write(2, memoryview(TWO))
    assert window.read(1) == ONE
    assert window.read(2) == TWO
    assert window.read(3) is None
    assert window.highest == 2
    window.close()


def test_a_gap_is_zeros_until_the_late_chunk_fills_it() -> None:
    window = Window(3000)
    window.write(1, ONE)
    window.write(3, THREE)
    assert window.read(2) is None
    assert window.read_last(3000) == ONE + SILENT + THREE
    window.write(2, TWO)
    assert window.read_last(3000) == ONE + TWO + THREE
    window.close()


def test_a_gap_does_not_show_the_lap_before() -> None:
    window = Window(3000)
    for seq in (1, 2, 3):
        window.write(seq, ONE)
    window.write(6, THREE)  # passes over the slots of 1 and 2
    assert window.read_last(3000) == THREE
    window.write(4, TWO)
    assert window.read_last(3000) == TWO + SILENT + THREE
    window.close()


def test_older_than_the_window_is_refused() -> None:
    window = Window(2000)
    window.write(10, ONE)
    assert window.write(8, TWO) is False
    assert window.write(9, TWO) is True
    window.close()


def test_a_short_final_second_ends_where_its_audio_ends() -> None:
    window = Window(2000)
    for seq in (1, 2, 3):
        window.write(seq, ONE)
    window.write(4, TWO[:320])
    assert window.read(4) == TWO[:320]
    assert window.read_last(10) == TWO[:320]
    assert window.read_last(20) == ONE[:320] + TWO[:320]
    assert window.read_last(1_000_000) == ONE + TWO[:320]
    window.close()


def test_a_short_second_is_followed_by_zeros_not_by_the_lap_before() -> None:
    window = Window(2000)
    window.write(1, ONE)
    window.write(3, TWO[:320])
    window.write(4, THREE)
    assert window.read_last(2000) == TWO[:320] + bytes(CHUNK_BYTES - 320) + THREE
    window.close()


def test_read_last_counts_back_from_end_seq() -> None:
    window = Window(3000)
    for seq, pcm in ((1, ONE), (2, TWO), (3, THREE)):
        window.write(seq, pcm)
    assert window.read_last(1500, end_seq=2) == ONE[:16_000] + TWO
    assert window.read_last(1000, end_seq=9) == THREE
    assert window.read_last(1000, end_seq=0) == b""
    assert window.read_last(0) == b""
    window.close()


def test_an_idle_window_costs_no_mapping_and_little_else() -> None:
    before = mappings()
    window = Window()
    assert window.read(1) is None
    assert window.read_last(1000) == b""
    assert window.held_bytes == 0
    assert mappings() == before
    assert sys.getsizeof(window) < 1024
    window.close()


def test_memory_comes_second_by_second_and_goes_at_once() -> None:
    Window().write(1, ONE)  # what numpy keeps for itself is counted before
    windows = [Window() for _ in range(4)]
    before = resident_bytes()
    for window in windows:
        window.write(1, ONE)
    assert resident_bytes() - before < 4 * 100_000
    for window in windows:
        for seq in range(2, 121):
            window.write(seq, ONE)
    full = resident_bytes() - before
    assert 0.9 * 4 * 3_840_000 < full < 4 * (3_840_000 + 128 * 1024)
    for window in windows:
        window.close()
    assert resident_bytes() - before < 0.1 * full


def test_eviction_gives_the_memory_back_and_goes_on() -> None:
    window = Window()
    window.write(5, ONE)
    window.evict()
    assert window.held_bytes == 0
    assert window.read(5) is None
    assert window.read_last(1000) == b""
    window.write(4, TWO)
    assert window.read_last(2000) == TWO + SILENT
    window.write(6, THREE)
    assert window.read_last(5000) == TWO + SILENT + THREE
    window.close()


def test_closed_for_good() -> None:
    window = Window()
    window.write(1, ONE)
    window.close()
    window.close()
    for use in (
        lambda: window.write(1, ONE),
        lambda: window.read(1),
        lambda: window.read_last(1),
        window.evict,
    ):
        with pytest.raises(ValueError, match="closed"):
            use()


@pytest.mark.parametrize(("seq", "pcm"), [(0, ONE), (-1, ONE), (1, b""), (1, b"\0"), (1, ONE + b"\0\0")])
def test_what_is_no_chunk_is_refused(seq: int, pcm: bytes) -> None:
    window = Window()
    with pytest.raises(ValueError, match="not a chunk"):
        window.write(seq, pcm)


def test_capacity_is_whole_seconds_and_at_least_one() -> None:
    window = Window(1001)
    window.write(2, TWO)
    assert window.write(1, ONE)
    window.close()
    with pytest.raises(ValueError, match="holds nothing"):
        Window(0)
    with pytest.raises(ValueError, match="can't read"):
        Window().read_last(-1)
