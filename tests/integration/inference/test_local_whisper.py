"""Whisper on this machine, with its real weights: what JFK said, in his utterances, and Mandarin's script."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.mandarin import ARCHIVE as MANDARIN
from benchmarks.mandarin import SAID as SAID_IN_MANDARIN
from benchmarks.mandarin import mandarin_pcm
from benchmarks.word_errors import character_errors
from interview_edge.core.pcm import CHUNK_BYTES
from interview_edge.speech.local_whisper import LocalWhisperOptions, open_local_whisper
from interview_edge.speech.models import WHISPER_BASE
from interview_edge.speech.transcriber import Failure, TranscriptionFailed
from local_models import archive_folder, model_folder
from voices import jfk, pcm

SAID = (
    "and so my fellow americans ask not what your country can do for you ask what you can do for your country"
)


def words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())


async def test_it_writes_what_was_said() -> None:
    folder = model_folder(WHISPER_BASE, "faster_whisper")
    async with open_local_whisper(LocalWhisperOptions(model_dir=folder)) as transcriber:
        found = await transcriber.transcribe(pcm(jfk()), language="en")
        assert words(found.text) == SAID.split()
        assert found.language == "en"
        assert found.fetch_ms > 0
        guessed = await transcriber.transcribe(pcm(jfk(4.0)))
        assert guessed.language == "en"


async def test_mandarin_is_written_in_simplified_characters() -> None:
    folder = model_folder(WHISPER_BASE, "faster_whisper")
    spoken = mandarin_pcm(archive_folder(MANDARIN))
    async with open_local_whisper(LocalWhisperOptions(model_dir=folder)) as transcriber:
        found = await transcriber.transcribe(spoken, language="zh")
    errors, characters = character_errors(SAID_IN_MANDARIN, found.text)
    assert errors / characters <= 0.05
    assert not set("說沒別為遊戲這樣氣們過給") & set(found.text)
    assert set("，。？,!?！") & set(found.text)
    assert found.language == "zh"


async def test_without_its_files_it_says_what_to_do(tmp_path: Path) -> None:
    async with open_local_whisper(LocalWhisperOptions(model_dir=tmp_path)) as transcriber:
        with pytest.raises(TranscriptionFailed, match="interview-edge models fetch") as error:
            await transcriber.transcribe(bytes(CHUNK_BYTES))
    assert error.value.failure is Failure.UNAVAILABLE
    assert not error.value.passing


async def test_damaged_files_are_told(tmp_path: Path) -> None:
    model_folder(WHISPER_BASE, "faster_whisper")
    broken = tmp_path / WHISPER_BASE.name
    broken.mkdir()
    for file in WHISPER_BASE.files:
        with (broken / file.name).open("wb") as stream:
            stream.truncate(file.size)  # of the right size, and nothing but zeros
    async with open_local_whisper(LocalWhisperOptions(model_dir=tmp_path)) as transcriber:
        with pytest.raises(TranscriptionFailed, match="fetch them again") as error:
            await transcriber.transcribe(bytes(CHUNK_BYTES))
    assert error.value.failure is Failure.UNAVAILABLE


BEGIN_AND_LEAVE = """
import sys, trio
from pathlib import Path
from interview_edge.speech.local_whisper import LocalWhisperOptions, open_local_whisper

async def main(folder, seconds):
    async with open_local_whisper(LocalWhisperOptions(model_dir=folder)) as transcriber:
        with trio.move_on_after(seconds):
            await transcriber.transcribe(bytes(5 * 32_000))

trio.run(main, Path(sys.argv[1]), float(sys.argv[2]))
"""


@pytest.mark.parametrize("seconds", [0.1, 0.8, 1.2])
def test_a_process_that_ends_in_the_middle_of_it_ends_well(seconds: float) -> None:
    """Native threads that outlive the interpreter abort it."""
    folder = model_folder(WHISPER_BASE, "faster_whisper")
    command = [sys.executable, "-c", BEGIN_AND_LEAVE, str(folder), str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
