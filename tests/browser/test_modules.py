"""The page's own modules, each by itself, in the browser that runs them: imported as they are served."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from browser.conftest import Run
from interview_edge.core.pcm import CHUNK_BYTES, SAMPLE_RATE
from interview_edge.core.resample import Resampler
from interview_edge.wire import chunk_dialect

# -- samples


def test_sixteen_bit_samples_come_through_the_audio_graph_unchanged(run: Run) -> None:
    every = list(range(-32_768, 32_768, 7))
    body = "return [...m.toPcm16(Float32Array.from(a, value => value / 32768))]"
    assert run("capture/pcm", body, every) == every


def test_what_is_too_loud_is_clipped_and_doesn_t_wrap(run: Run) -> None:
    body = "return [...m.toPcm16(Float32Array.from(a))]"
    assert run("capture/pcm", body, [1.0, 1.5, -1.0, -2.0]) == [32_767, 32_767, -32_768, -32_768]


RESAMPLE = """
  const resampler = new m.Resampler(a.rate);
  const pieces = [];
  for (let at = 0; at < a.samples.length;) {
    const size = a.sizes[pieces.length % a.sizes.length];
    pieces.push(...resampler.feed(Float32Array.from(a.samples.slice(at, at + size))));
    pieces.push(null);
    at += size;
  }
  return [...pieces.filter(piece => piece !== null), ...resampler.finish()];
"""


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
def test_resampling_is_that_of_the_command_line_whatever_the_pieces(run: Run, rate: int) -> None:
    noise = np.random.default_rng(rate).uniform(-0.5, 0.5, rate // 4 + 11).astype(np.float32)
    reference = Resampler(rate)
    wanted = np.concatenate((reference.feed(noise), reference.finish()))
    found = run(
        "capture/resampler", RESAMPLE, {"rate": rate, "samples": noise.tolist(), "sizes": [1_024, 1, 333]}
    )
    assert len(found) == len(wanted) == -(-len(noise) * SAMPLE_RATE // rate)
    assert np.abs(np.array(found) - wanted).max() < 1e-5


@pytest.mark.parametrize(("hertz", "gain_db"), [(1_000, 0.0), (6_900, 0.0), (8_100, -80.0), (15_900, -80.0)])
def test_resampling_passes_speech_and_nothing_that_would_fold(run: Run, hertz: int, gain_db: float) -> None:
    rate = 48_000
    tone = np.sin(2 * np.pi * hertz * np.arange(rate // 2) / rate)
    found = np.array(
        run("capture/resampler", RESAMPLE, {"rate": rate, "samples": tone.tolist(), "sizes": [1_024]})
    )
    middle = found[2_000:-2_000]
    decibels = 20 * np.log10(max(1e-9, np.sqrt(2 * np.mean(middle**2))))
    assert decibels == pytest.approx(0, abs=0.1) if gain_db == 0 else decibels <= gain_db


@pytest.mark.parametrize("rate", [0, 999, 400_000, 44_100.5])
def test_rates_that_no_microphone_has_are_refused(run: Run, rate: float) -> None:
    body = "try { new m.Resampler(a); } catch (error) { return error.name; }"
    assert run("capture/resampler", body, rate) == "RangeError"


# -- chunks

CUT = """
  const cutter = new m.ChunkCutter(a.first);
  const chunks = [];
  let value = 0;
  for (const size of a.sizes) {
    chunks.push(...cutter.push(Int16Array.from({ length: size }, () => value++ % 30011), 1000));
  }
  const last = cutter.finish();
  return [...chunks, ...(last ? [last] : [])].map(
    ({ seq, final, pcm, timestampMs }) => ({ seq, final, timestampMs, samples: [...new Int16Array(pcm)] }));
"""


@pytest.mark.parametrize(
    ("sizes", "lengths"),
    [
        ([], []),
        ([1], [1]),
        ([16_000], [16_000]),
        ([15_999, 1], [16_000]),
        ([16_000, 1], [16_000, 1]),
        ([40_000], [16_000, 16_000, 8_000]),
        ([1_024] * 47, [16_000, 16_000, 16_000, 128]),
        ([32_000], [16_000, 16_000]),
    ],
)
def test_every_sample_is_in_one_chunk_and_the_last_one_says_so(
    run: Run, sizes: list[int], lengths: list[int]
) -> None:
    chunks = run("capture/chunk_cutter", CUT, {"first": 7, "sizes": sizes})
    assert [len(chunk["samples"]) for chunk in chunks] == lengths
    assert [chunk["seq"] for chunk in chunks] == list(range(7, 7 + len(lengths)))
    assert [chunk["final"] for chunk in chunks] == [False] * (len(lengths) - 1) + [True] * bool(lengths)
    whole = [sample for chunk in chunks for sample in chunk["samples"]]
    assert whole == [n % 30_011 for n in range(sum(sizes))]


@pytest.mark.parametrize(
    ("seq", "at", "final", "size"),
    [
        (1, 1, False, CHUNK_BYTES),
        (2**31 - 1, 2**53 - 1, True, 2),
        (70_000, 1_767_225_600_000, True, CHUNK_BYTES),
    ],
)
def test_a_chunk_s_frame_is_what_the_server_reads(
    run: Run, seq: int, at: int, final: bool, size: int
) -> None:
    pcm = [n % 251 for n in range(size)]
    body = "return [...new Uint8Array(m.encodeChunk({ ...a, pcm: Uint8Array.from(a.pcm).buffer }))]"
    message = run("upload/frames", body, {"seq": seq, "timestampMs": at, "final": final, "pcm": pcm})
    frame = chunk_dialect.decode_binary(bytes(message))
    assert (frame.seq, frame.timestamp_ms, frame.final, bytes(frame.pcm)) == (seq, at, final, bytes(pcm))


def test_text_frames_are_what_the_server_reads(run: Run) -> None:
    body = "return [m.hello(a), m.STATUS, m.PING, m.CLOSE]"
    for text in run("upload/frames", body, "采访 1"):
        chunk_dialect.decode_text(text.encode(), session_id="采访 1")


# -- the outbox


def steps(run: Run, script: str) -> Any:
    ready = """
      const ready = (last_seq, missing, more = {}) =>
        ({ max_in_flight: 2, missing, ingest: { last_seq }, ...more });
      const box = new m.Outbox();
      const drain = () => {
        const out = [];
        for (let seq; (seq = box.take()) !== null;) out.push(seq);
        return out;
      };
    """
    return run("upload/outbox", ready + script)


def test_nothing_goes_out_without_a_connection(run: Run) -> None:
    assert steps(run, "box.add(1); return [drain(), box.size, box.waits(1)]") == [[], 1, True]


def test_no_more_is_on_the_wire_than_the_server_allows(run: Run) -> None:
    script = """
      [1, 2, 3].forEach(seq => box.add(seq));
      box.resume(ready(0, []));
      const first = drain();
      box.settle(1);
      return [first, drain(), box.onWire, box.size];
    """
    assert steps(run, script) == [[1, 2], [3], 2, 2]


def test_after_a_cut_only_what_the_server_lacks_goes_again(run: Run) -> None:
    script = """
      [1, 2, 3, 4].forEach(seq => box.add(seq));
      box.resume(ready(0, []));
      drain();
      box.pause();
      box.add(5);
      const nothing = drain();
      const held = box.resume(ready(4, [[2, 3]], { max_in_flight: 8 }));
      return [nothing, held, drain()];
    """
    assert steps(run, script) == [[], [1, 4], [2, 3, 5]]


def test_past_a_truncated_list_nothing_is_taken_for_granted(run: Run) -> None:
    script = """
      [1, 2, 3, 4].forEach(seq => box.add(seq));
      const more = { missing_truncated: true, max_in_flight: 8 };
      const held = box.resume(ready(4, [[2, 2]], more));
      return [held, drain()];
    """
    assert steps(run, script) == [[1], [2, 3, 4]]


def test_an_ack_that_nobody_waits_for_settles_nothing(run: Run) -> None:
    assert steps(run, "box.add(1); return [box.settle(2), box.settle(1), box.settle(1)]") == [
        False,
        True,
        False,
    ]


# -- the store, backoff, what a close means


def test_the_store_keeps_each_session_s_chunks_until_they_are_removed(run: Run) -> None:
    body = """
      const store = await m.ChunkStore.open();
      const session = (id, nextSeq) => ({ id, user: null, startedMs: 5, nextSeq, ended: false });
      const chunk = seq => ({ seq, timestampMs: 1, final: false, pcm: new Uint8Array([seq]).buffer });
      for (const id of ["a", "a/b", "b"]) {
        for (const seq of [1, 2, 10]) await store.put(session(id, seq + 1), chunk(seq));
      }
      await store.remove("a", [1, 2]);
      const again = await m.ChunkStore.open(); // as after a reload
      const kept = {};
      for (const { id, nextSeq } of await again.unfinished()) kept[id] = [nextSeq, await again.seqs(id)];
      const pcm = new Uint8Array((await again.get("a", 10)).pcm)[0];
      for (const id of ["a", "a/b", "b"]) await again.forget(id);
      return [kept, pcm, await again.unfinished(), await again.seqs("b"), again.lasting];
    """
    kept = {"a": [11, [10]], "a/b": [11, [1, 2, 10]], "b": [11, [1, 2, 10]]}
    assert run("upload/chunk_store", body) == [kept, 10, [], [], True]


def test_without_a_database_chunks_are_kept_in_memory_and_it_says_so(run: Run) -> None:
    body = """
      const store = new m.ChunkStore(null);
      await store.put({ id: "a" }, { seq: 3, pcm: new ArrayBuffer(2) });
      const before = [await store.seqs("a"), (await store.get("a", 3)).pcm.byteLength];
      await store.remove("a", [3]);
      return [before, await store.seqs("a"), await store.unfinished(), store.lasting];
    """
    assert run("upload/chunk_store", body) == [[[3], 2], [], [], False]


def test_waiting_grows_to_a_bound_and_is_never_the_same_for_all(run: Run) -> None:
    body = "return [0, 1, 2, 3, 50, 5000].map(n => [m.backoff(n, 0), m.backoff(n, 1)])"
    found = run("upload/backoff", body)
    assert found == [[150, 300], [300, 600], [600, 1_200], [1_200, 2_400], [2_500, 5_000], [2_500, 5_000]]


@pytest.mark.parametrize(
    ("code", "verdict"),
    [(1000, "again"), (1001, "again"), (1006, "again"), (1009, "over"), (1011, "again"), (1012, "again"),
     (1013, "again"), (1003, "over"), (1007, "over"), (1008, "over"),
     (4401, "signed_out"), (4403, "over"), (4410, "over")],
)  # fmt: skip
def test_nearly_every_close_asks_to_come_again(run: Run, code: int, verdict: str) -> None:
    assert run("upload/backoff", "return m.judgeClose(a)", code) == verdict


@pytest.mark.parametrize(
    ("status", "verdict"),
    [(200, "again"), (401, "signed_out"), (403, "over"), (404, "over"), (410, "over"), (426, "again"),
     (429, "again"), (500, "again"), (503, "again")],
)  # fmt: skip
def test_a_refused_handshake_is_judged_by_its_status(run: Run, status: int, verdict: str) -> None:
    assert run("upload/backoff", "return m.judgeStatus(a)", status) == verdict


def test_peaks_are_those_of_the_last_seconds(run: Run) -> None:
    body = """
      const peaks = new m.Peaks(1);
      for (const height of a) peaks.push(Int16Array.from({ length: 320 }, (_, i) => i === 7 ? -height : 0));
      peaks.push(new Int16Array(100)); // less than a step: not yet
      return [peaks.at(0), peaks.at(49), peaks.at(50), peaks.loudest(3), peaks.length];
    """
    heights = [(n + 1) * 256 for n in range(60)]
    assert run("record/peaks", body, heights) == [60 / 128, 11 / 128, 0, 60 / 128, 50]


def test_sizes_and_durations_are_written_for_people(run: Run) -> None:
    body = "return [...a.sizes.map(m.size), ...a.seconds.map(m.duration)]"
    given = {"sizes": [0, 999, 1_000, 3_840_000, 5e12], "seconds": [0, 59.9, 61, 3_725]}
    assert run("view/texts", body, given) == [
        "0 B",
        "999 B",
        "1 kB",
        "3.8 MB",
        "5 TB",
        "0:00",
        "0:59",
        "1:01",
        "1:02:05",
    ]


# -- health


def test_a_check_s_value_is_shown_in_its_unit(run: Run) -> None:
    run("view/texts", "await m.speak('en')")
    values = [["transcription", 2], ["vad", 3], ["backlog_age", 1500], ["memory", 0.425], ["catalog"]]
    shown = run("view/health_panel", "return a.map(([name, value]) => m.shown(name, value))", values)
    assert shown == [" · waiting: 2", " · 3", " · 1.5 s", " · 42.5 %", ""]


def test_the_focus_of_a_button_is_lost_as_soon_as_it_is_disabled(run: Run) -> None:
    """And not a frame later: who looks within it would leave the keyboard without a place."""
    body = """
      const pressed = m.make("button");
      document.body.append(pressed);
      const seen = [m.focusIsLost()];
      pressed.focus();
      seen.push(m.focusIsLost());
      pressed.disabled = true;
      seen.push(m.focusIsLost());
      pressed.remove();
      return seen;
    """
    assert run("view/elements", body) == [True, False, True]
