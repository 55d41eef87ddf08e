"""A session's transcript: lines out of its events, and the formats that people and players read. Pure."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from interview_edge.core.models import Event

TRANSCRIPT, RESOLVE = "transcript", "resolve"  # the types of the events that lines come of


class TranscriptFormat(enum.StrEnum):
    JSON = "json"
    TXT = "txt"
    SRT = "srt"
    VTT = "vtt"


@attrs.frozen
class Line:
    """One utterance that was written. Times are ms from the start of its stream; `speaker` is a name, or None
    where nobody is known.
    """

    stream: str
    utterance: int
    start_ms: int
    end_ms: int
    text: str
    language: str | None = None
    speaker: str | None = None

    def to_wire(self) -> dict[str, Any]:
        return attrs.asdict(self)


def lines_of(events: Iterable[Event], bindings: Mapping[str, str]) -> list[Line]:
    """The lines by their start, those of one moment by stream. What was heard and has no words gives none.

    `bindings` are the session's names by cluster, as they are now: a line takes the name that its voice has
    got since; without one, what was found when it was resolved.
    """
    events = list(events)
    speakers = {
        _utterance_of(event): bindings.get(event.body["cluster_id"]) or event.body["speaker_name"]
        for event in events
        if event.type == RESOLVE and "utterance" in event.body
    }
    found = [
        Line(
            stream=event.stream or "",
            utterance=event.body["utterance"],
            start_ms=event.body["start_ms"],
            end_ms=event.body["end_ms"],
            text=event.body["text"],
            language=event.body.get("language"),
            speaker=speakers.get(_utterance_of(event)),
        )
        for event in events
        if event.type == TRANSCRIPT and event.body.get("text")
    ]
    return sorted(found, key=lambda line: (line.start_ms, line.stream, line.utterance))


def _utterance_of(event: Event) -> tuple[str | None, int | str]:
    """What tells it from the session's others: a client numbers its own anew in each recording."""
    return event.stream, event.body.get("utterance_id", event.body["utterance"])


def to_txt(lines: Sequence[Line]) -> str:
    """A line each, with its time and who spoke: the speaker, or the stream where there are several."""
    several = len({line.stream for line in lines}) > 1
    return "".join(
        f"[{_clock(line.start_ms, '.')[:8]}] {_who(line, several)}{_one_line(line.text)}\n" for line in lines
    )


def to_srt(lines: Sequence[Line]) -> str:
    """SubRip: numbered cues, commas before the milliseconds."""
    several = len({line.stream for line in lines}) > 1
    cues = [
        f"{number}\n{_clock(line.start_ms, ',')} --> {_clock(line.end_ms, ',')}\n"
        f"{_who(line, several)}{_one_line(line.text)}\n"
        for number, line in enumerate(lines, 1)
    ]
    return "\n".join(cues)


def to_vtt(lines: Sequence[Line]) -> str:
    """WebVTT (W3C): who spoke as the voice of a cue; text escaped as its section 4.2.2 asks."""
    several = len({line.stream for line in lines}) > 1
    cues = []
    for line in lines:
        name = _name(line, several)
        voice = f"<v {_escaped(name)}>" if name else ""
        text = _escaped(_one_line(line.text))
        cues.append(f"{_clock(line.start_ms, '.')} --> {_clock(line.end_ms, '.')}\n{voice}{text}\n")
    return "\n".join(["WEBVTT\n", *cues])


def _who(line: Line, several: bool) -> str:
    name = _name(line, several)
    return f"{name}: " if name else ""


def _name(line: Line, several: bool) -> str:
    """The speaker's, or the stream's where there are several; "" for neither."""
    return _one_line(line.speaker or "") or (line.stream if several else "")


def _clock(ms: int, point: str) -> str:
    seconds, ms = divmod(ms, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{point}{ms:03d}"


def _one_line(text: str) -> str:
    """An empty line would end a cue, any other a line of text."""
    return " ".join(text.split())


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
