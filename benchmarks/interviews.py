"""Recorded interviews of two, with who speaks when: one as it was recorded, others stitched of readings.

The recordings come out of pinned packages, told by their SHA-256; JFK is the demo's, the LibriVox clips are
Debian's pocketsphinx-testdata.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path

import attrs
import numpy as np
import soundfile

from interview_edge.core.pcm import SAMPLE_RATE
from interview_edge.core.resample import Resampler
from interview_edge.speech.clips import Samples
from interview_edge.speech.model_files import Download, fetch, folder_of
from interview_edge.speech.models import Member, Model, ModelFile

LIBRIVOX = Path("/usr/share/pocketsphinx/test/data/librivox")
_LIBRIVOX_NAME = "sense_and_sensibility_01_austen_64kb-{}.wav"
_LIBRIVOX_SHA256 = {
    "0870": "b0557cf95c974d930577e58e46b7f068c432a6e3afcc286563d88922b2a5315c",
    "0880": "fbec491ef00ee734a67f0ee318e98c51c157b479e1629ff4f4426861ecac0414",
    "0890": "5793ffbdee55fb8bfd284943a6866864c832d9d4accf2661cabd39915c84ee10",
    "0920": "40882414ef4cc51f3ff7a63bad0c8c87e7f595ffeb8209fbf756c8ebc5c28a59",
    "0930": "954adbf0b56ac8a148cbe77b39ca18d76b5f2a1e1f405565bd786ce3e68a68b7",
}

_PYANNOTE = "pyannote-audio==4.0.7"
_MOONSHINE = "moonshine-voice==0.1.5"
RECORDINGS = Model(
    name="recordings",
    purpose="the benchmark of speakers",
    origin="pyannote.audio's sample call with its reference; a reading of A Tale of Two Cities",
    license="as their packages say",
    files=(
        ModelFile(
            "sample.wav",
            960_104,
            "c319b4abca767b124e41432d364fd7df006cb26bb79d09326c487d606a134e6e",
            (Member(_PYANNOTE, "pyannote/audio/sample/sample.wav"),),
        ),
        ModelFile(
            "sample.rttm",
            596,
            "d78fe62c69d8e6dcbb42c26adfce83faccb374c5a1e6d987fe37f85f1c173c87",
            (Member(_PYANNOTE, "pyannote/audio/sample/sample.rttm"),),
        ),
        ModelFile(
            "two_cities.wav",
            4_260_326,
            "f3348494d77cb74a02862f5e685ed09faf3e75832c5cc5c80703282c2cd8b52e",
            (Member(_MOONSHINE, "moonshine_voice/assets/two_cities.wav"),),
        ),
    ),
)

_TURN_SECONDS = (3.0, 2.2, 4.0, 2.6)  # over and over: what a reading is cut into


@attrs.frozen
class Turn:
    """What one person says before the other does."""

    speaker: str
    samples: Samples

    @property
    def seconds(self) -> float:
        return len(self.samples) / SAMPLE_RATE


@attrs.frozen
class Interview:
    name: str
    turns: Sequence[Turn]


def stitched_interview() -> Interview:
    """JFK and a LibriVox reader by turns: of what is on a Debian machine, nothing fetched.

    Raises FileNotFoundError without pocketsphinx-testdata.
    """
    return stitch("JFK, LibriVox", {"JFK": cut(jfk()), "LibriVox": librivox()})


def all_interviews(folder: Path, download: Download | None = None) -> list[Interview]:
    """Every interview, the recordings fetched into `folder` where they aren't there. Raises ModelError,
    FileNotFoundError.
    """
    fetch(RECORDINGS, folder, download=download)
    there = folder_of(RECORDINGS, folder)
    call = telephone_call(there / "sample.wav", there / "sample.rttm")
    cities = cut(read(there / "two_cities.wav"))
    return [
        call,
        stitched_interview(),
        stitch("Two Cities, LibriVox", {"Two Cities": cities, "LibriVox": librivox()}),
        stitch("Two Cities, JFK", {"Two Cities": cities, "JFK": cut(jfk())}),
    ]


def telephone_call(wav: Path, rttm: Path) -> Interview:
    """A call as it was recorded, cut where its reference says that somebody speaks, talking over included."""
    samples = read(wav)
    turns = []
    for line in rttm.read_text().splitlines():
        fields = line.split()
        begin, seconds, speaker = float(fields[3]), float(fields[4]), fields[7]
        first = int(begin * SAMPLE_RATE)
        turns.append(Turn(speaker, samples[first : first + int(seconds * SAMPLE_RATE)]))
    return Interview("a telephone call", turns)


def stitch(name: str, spoken: dict[str, Sequence[Samples]]) -> Interview:
    """The speakers by turns, until all is said."""
    turns: list[Turn] = []
    for number in range(max(map(len, spoken.values()))):
        turns += [Turn(who, each[number]) for who, each in spoken.items() if number < len(each)]
    return Interview(name, turns)


def cut(samples: Samples) -> list[Samples]:
    """A reading as turns of 2 to 4 s; what is left at the end is dropped."""
    return list(_cut(samples))


def _cut(samples: Samples) -> Iterator[Samples]:
    begin = 0
    for number in range(len(samples)):
        end = begin + int(_TURN_SECONDS[number % len(_TURN_SECONDS)] * SAMPLE_RATE)
        if end > len(samples):
            return
        yield samples[begin:end]
        begin = end


def jfk() -> Samples:
    return read(io.BytesIO((files("interview_edge.cli") / "demo_audio" / "jfk.flac").read_bytes()))


def librivox() -> list[Samples]:
    """Five sentences of Sense and Sensibility, one reader, a turn each."""
    clips = []
    for number, sha256 in _LIBRIVOX_SHA256.items():
        path = LIBRIVOX / _LIBRIVOX_NAME.format(number)
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != sha256:
            raise FileNotFoundError(f"{path} is another recording than the one that is known")
        clips.append(read(io.BytesIO(content)))
    return clips


def read(file: Path | io.BytesIO) -> Samples:
    """A mono recording at 16 kHz."""
    samples, rate = soundfile.read(file, dtype="float32")
    resampler = Resampler(rate)
    found: Samples = np.concatenate([resampler.feed(samples), resampler.finish()])
    return found
