"""The page's own modules, each by itself, in the browser that runs them: imported as they are served."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from browser.node_process import NodeProcess
from interview_edge.core.pcm import CHUNK_BYTES, SAMPLE_RATE
from interview_edge.core.resample import Resampler
from interview_edge.wire import chunk_dialect

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def run(browser: Any, node: NodeProcess) -> Iterator[Run]:
    """`run("capture/pcm", body, a)`: the body of a function of `m` (the module) and `a`."""
    page = browser.new_page()
    page.goto(f"{node.url}/console")  # under whose policy our modules may run

    def call(module: str, body: str, argument: Any = None) -> Any:
        return page.evaluate(
            f"async a => {{ const m = await import('{node.url}/pages/{module}.js'); {body} }}", argument
        )

    yield call
    page.close()


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


# -- the transcript's lines

LINES = """
  let seq = 0;
  const event = (type, more = {}) => ({ seq_no: ++seq, type, stream: "mixed", ...more });
  const ended = utterance => event("speech_ended", { utterance, start_ms: utterance * 1000 });
  const said = (utterance, text) => event("transcript", { utterance, start_ms: utterance * 1000, text });
  const voice = (utterance, cluster_id, speaker_name, decision = "auto") =>
    event("resolve", { utterance, cluster_id, speaker_name, decision });
  const partial = (utterance, text) => ({ stream: "mixed", utterance, start_ms: utterance * 1000, text });
  const lines = new m.Lines();
  const texts = () => lines.written.map(({ who, text }) => who ? `${who}: ${text}` : text);
  const now = () => lines.provisional.map(({ text }) => text);
"""


def lines(run: Run, script: str) -> Any:
    return run("transcript/lines", LINES + script)


def test_lines_stand_in_the_order_of_speech_and_none_is_doubled(run: Run) -> None:
    script = """
      const all = [ended(1), ended(2), said(2, "two"), said(1, "one"), said(3, "three"), said(4, "")];
      const fresh = [5, 0, 3, 3, 2].map(i => lines.take(all[i]));
      const hole = [lines.reached, lines.hasHole];
      const pages = [lines.takePage(all.slice(1)), lines.takePage(all)];
      return [fresh, hole, ...pages, texts(), lines.reached, lines.hasHole];
    """
    fresh = [True, True, True, False, True]
    assert lines(run, script) == [
        fresh, [1, True], True, False, ["one", "two", "three"], 6, False
    ]  # fmt: skip


def test_a_partial_gives_way_to_the_next_and_at_last_to_the_line(run: Run) -> None:
    script = """
      lines.takePartial(partial(1, "ask"));
      lines.takePartial(partial(1, "ask not"));
      const before = [now(), texts()];
      lines.take(said(1, "Ask not what"));
      lines.takePartial(partial(1, "ask not wh")); // overtaken on its way
      return [before, now(), texts()];
    """
    assert lines(run, script) == [[["ask not"], []], [], ["Ask not what"]]


def test_a_voice_that_gets_its_name_later_has_it_on_all_its_lines(run: Run) -> None:
    script = """
      lines.takePage([said(1, "a"), said(2, "b"), said(3, "c"), voice(1, "c1", null, "unknown"),
        voice(2, "c2", "Bo", "confirm"), voice(3, "c1", "Ann"), voice(9, "c2", null, "unknown")]);
      const first = texts();
      lines.take(event("resolve", { cluster_id: "c1", speaker_name: "Anna", decision: "auto" }));
      return [first, texts()];
    """
    assert lines(run, script) == [["Ann: a", "Bo: b", "Ann: c"], ["Anna: a", "Bo: b", "Anna: c"]]


def test_names_don_t_depend_on_the_order_in_which_events_come(run: Run) -> None:
    script = """
      const all = [said(1, "a"), voice(1, "c1", "Ann"), voice(1, "c2", "Bo")];
      all.reverse().forEach(each => lines.take(each));
      return texts();
    """
    assert lines(run, script) == ["Bo: a"]


def test_streams_are_told_apart_and_named_where_there_are_several(run: Run) -> None:
    script = """
      lines.takePage([{ ...said(1, "hello"), stream: "teacher" }, { ...said(1, "hi"), stream: "students" }]);
      return texts();
    """
    assert lines(run, script) == ["students: hi", "teacher: hello"]


def test_a_client_s_utterances_are_told_apart_by_their_ids(run: Run) -> None:
    script = """
      lines.takePage([{ ...said(1, "a"), utterance_id: "r1-1" }, { ...said(1, "b"), utterance_id: "r2-1" }]);
      return texts();
    """
    assert lines(run, script) == ["a", "b"]


def test_what_is_late_is_counted_until_it_is_there(run: Run) -> None:
    script = """
      const seen = [lines.late];
      const step = (...events) => { lines.takePage(events); seen.push(lines.late); };
      step(ended(1), ended(2), ended(3), event("transcription_late", { waiting: 3 }));
      step(said(1, "one"));
      step(event("transcription_deferred", { waiting: 2 }));
      step(event("transcript_failed", { utterance: 2, start_ms: 2000 }), said(3, ""));
      step(event("transcription_caught_up"));
      return [seen, lines.waiting, lines.written.map(({ text, failed }) => [text, failed])];
    """
    seen = [
        None,
        {"deferred": False, "waiting": 3},
        {"deferred": False, "waiting": 2},
        {"deferred": True, "waiting": 2},
        {"deferred": True, "waiting": 2},  # none is known here: the server's own count
        None,
    ]
    assert lines(run, script) == [seen, 0, [["one", False], ["", True]]]


def test_what_was_begun_is_owed_until_it_is_written(run: Run) -> None:
    script = """
      const seen = [lines.owing];
      const here = { utterance: 1, start_ms: 0 };
      for (const each of [voice(1, "c1", "Ann"), event("speech_started", here), ended(1),
                          event("transcript_failed", here), said(1, "after all")]) {
        lines.take(each);
        seen.push(lines.owing);
      }
      return [seen, texts()];
    """
    assert lines(run, script) == [[False, False, True, True, False, False], ["Ann: after all"]]


def test_a_language_is_a_tag_or_nothing(run: Run) -> None:
    script = """
      lines.takePage([["en", "a"], ["zh-Hans", "b"], ["english", "c"], [null, "d"], ['"><x', "e"]].map(
        ([language, text], i) => ({ ...said(i + 1, text), language })));
      return lines.written.map(({ language }) => language);
    """
    assert lines(run, script) == ["en", "zh-Hans", "", "", ""]


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
