"""A transcript as people and players read it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from interview_edge.core.models import Event
from interview_edge.core.transcripts import Line, lines_of, to_srt, to_txt, to_vtt

LINES = [
    Line("mixed", 1, 300, 2_450, "Hello & <welcome>.", "en", "Ann"),
    Line("mixed", 2, 3_723_004, 3_725_000, "Two\n\nlines.", "en"),
]


def test_subtitles() -> None:
    assert to_srt(LINES) == (
        "1\n00:00:00,300 --> 00:00:02,450\nAnn: Hello & <welcome>.\n\n"
        "2\n01:02:03,004 --> 01:02:05,000\nTwo lines.\n"
    )
    assert to_vtt(LINES) == (
        "WEBVTT\n\n00:00:00.300 --> 00:00:02.450\n<v Ann>Hello &amp; &lt;welcome&gt;.\n\n"
        "01:02:03.004 --> 01:02:05.000\nTwo lines.\n"
    )


def test_plain_text_names_speakers_or_streams() -> None:
    assert to_txt(LINES) == "[00:00:00] Ann: Hello & <welcome>.\n[01:02:03] Two lines.\n"
    two = [Line("students", 1, 0, 10, "Yes."), Line("teacher", 1, 5, 20, "No.")]
    assert to_txt(two) == "[00:00:00] students: Yes.\n[00:00:00] teacher: No.\n"


def test_webvtt_names_speakers_or_streams_too() -> None:
    two = [Line("students", 1, 0, 10, "Yes.", None, "R&D <Bo>"), Line("teacher", 1, 5, 20, "No.")]
    assert to_vtt(two).splitlines()[3::3] == ["<v R&amp;D &lt;Bo&gt;>Yes.", "<v teacher>No."]
    assert to_vtt([Line("teacher", 1, 0, 10, "Alone.", None, " \n")]).splitlines()[3] == "Alone."


def test_an_empty_transcript() -> None:
    assert (to_txt([]), to_srt([]), to_vtt([])) == ("", "", "WEBVTT\n")


def test_lines_come_of_transcripts_with_words_in_order() -> None:
    def event(number: int, type_: str, start: int, text: str) -> Event:
        body = {"utterance": number, "start_ms": start, "end_ms": start + 5, "text": text, "language": "en"}
        return Event(number, 1, type_, body, "mixed")

    spoken = [event(2, "transcript", 9, "b"), event(1, "transcript", 3, "a"), event(3, "transcript", 1, "")]
    found = lines_of([*spoken, event(4, "speech_ended", 0, "x")], {})
    assert [line.text for line in found] == ["a", "b"]


def test_a_line_takes_the_name_that_its_voice_has_got_since() -> None:
    def transcript(number: int) -> Event:
        body = {"utterance": number, "start_ms": number, "end_ms": number + 1, "text": "x"}
        return Event(number, 1, "transcript", body, "mixed")

    def resolve(number: int, cluster: str, name: str | None, **more: int) -> Event:
        return Event(9, 1, "resolve", {"cluster_id": cluster, "speaker_name": name} | more, "mixed")

    events = [*map(transcript, (1, 2, 3, 4)), resolve(1, "c1", None, utterance=1)]
    events += [
        resolve(2, "c2", "Bo", utterance=2),
        resolve(3, "c3", None, utterance=3),
        resolve(4, "c1", "?"),
    ]
    assert [line.speaker for line in lines_of(events, {"c1": "Ann"})] == ["Ann", "Bo", None, None]


@given(text=st.text(max_size=40), speaker=st.text(max_size=10))
def test_no_text_breaks_out_of_its_cue(text: str, speaker: str) -> None:
    lines = [Line("mixed", n, n * 10, n * 10 + 5, text, None, speaker) for n in (1, 2)]
    assert to_vtt(lines).count("-->") == 2
    blocks = to_vtt(lines).split("\n\n")
    assert len([block for block in blocks if "-->" in block]) == 2
    assert len(to_txt(lines).splitlines()) == 2
