"""How the page comes to a session's lines: its modules for that, each by itself, in Chromium."""

from __future__ import annotations

from typing import Any

import pytest

from browser.conftest import Run

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
      lines.takePage([said(1, "a"), said(2, "b"), said(3, "c"), said(4, "d"), voice(1, "c1", null, "unknown"),
        voice(2, "c2", "Bo", "confirm"), voice(3, "c1", "Ann"), voice(4, "c2", null, "unknown")]);
      const first = texts();
      lines.take(event("resolve", { cluster_id: "c1", speaker_name: "Anna", decision: "auto" }));
      return [first, texts()];
    """
    assert lines(run, script) == [
        ["Ann: a", "Bo: b", "Ann: c", "d"],
        ["Anna: a", "Bo: b", "Anna: c", "d"],
    ]


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


FOLLOW = """
  const said = seq_no =>
    ({ seq_no, type: "transcript", utterance: seq_no, start_ms: seq_no, text: `${seq_no}` });
  const asked = [];
  const real = globalThis.fetch;
  globalThis.fetch = async url => {
    asked.push(decodeURIComponent(new URL(url).pathname + new URL(url).search));
    const [items, next = null] = a.pages.shift() ?? [[]];
    return Response.json({ items: items.map(said), next });
  };
  const link = Object.assign(new EventTarget(), { connection: { condition: "closed" } });
  const follower = new m.Follower("s", link, { may: scope => scope === "sessions" && a.may });
  for (const step of a.steps) {
    if (typeof step === "number") {
      link.dispatchEvent(new CustomEvent("event", { detail: said(step) }));
    } else {
      link.connection = { condition: step };
      link.dispatchEvent(new Event("change"));
    }
    for (let turn = 0; turn < 5; turn++) await new Promise(resolve => setTimeout(resolve));
  }
  follower.stop();
  globalThis.fetch = real;
  const shown = follower.lines.written.map(({ text }) => Number(text));
  return [asked.map(path => path.split("?after=")[1]), shown];
"""


@pytest.mark.parametrize(
    ("steps", "pages", "asked", "shown"),
    [
        pytest.param(["live"], [[[1, 2]]], [0], [1, 2], id="what was there before"),
        pytest.param(["live"], [[[1, 2], 2], [[3]]], [0, 2], [1, 2, 3], id="page by page"),
        pytest.param(["live", 1, 2], [], [0], [1, 2], id="nothing missed, nothing asked"),
        pytest.param(
            ["live", 1, "waiting", "live"], [[[]], [[2, 3]]], [0, 1], [1, 2, 3], id="missed in a cut"
        ),
        pytest.param(["live", 1, 4], [[[]], [[2, 3, 4]]], [0, 1], [1, 2, 3, 4], id="behind a hole"),
        pytest.param(["live", 1, "closed"], [[[]], [[2]]], [0, 1], [1, 2], id="after the end"),
    ],
)
def test_what_the_socket_didn_t_bring_is_asked_for(
    run: Run, steps: list[Any], pages: list[Any], asked: list[int], shown: list[int]
) -> None:
    found = run("transcript/follower", FOLLOW, {"steps": steps, "pages": pages, "may": True})
    assert found == [[f"{after}&limit=1000" for after in asked], shown]


def test_who_may_not_read_asks_nothing_and_sees_what_the_socket_brings(run: Run) -> None:
    given = {"steps": ["live", 3, "waiting", "live", 5, "closed"], "pages": [], "may": False}
    assert run("transcript/follower", FOLLOW, given) == [[], [3, 5]]
