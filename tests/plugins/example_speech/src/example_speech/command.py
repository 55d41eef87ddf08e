"""Transcripts by any command that reads a WAV from its input and writes text: EDGE_TRANSCRIBER=command.

EXAMPLE_TRANSCRIBER_COMMAND says which, split as a shell would; it isn't run by one. (A plugin's own variables
have names of its own: the server refuses an EDGE_* that it doesn't know.) The command finds the hints in its
environment, as TRANSCRIBE_LANGUAGE and TRANSCRIBE_PROMPT.
"""

from __future__ import annotations

import io
import os
import shlex
import wave
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import trio

from interview_edge import Settings, SettingsError
from interview_edge.speech import Failure, Transcript, TranscriptionFailed

VARIABLE = "EXAMPLE_TRANSCRIBER_COMMAND"
AT_ONCE = 2  # more wait their turn
TIMEOUT = 60.0  # seconds a command may take


class CommandTranscriber:
    """A `Transcriber`. One process an utterance; a cancelled call ends its process."""

    provider = "command"

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._turns = trio.CapacityLimiter(AT_ONCE)

    async def transcribe(
        self, pcm: bytes, *, language: str | None = None, prompt: str | None = None
    ) -> Transcript:
        """See `Transcriber.transcribe`."""
        hints = {"TRANSCRIBE_LANGUAGE": language or "", "TRANSCRIBE_PROMPT": prompt or ""}
        async with self._turns:
            began = trio.current_time()
            try:
                with trio.fail_after(TIMEOUT):
                    done = await trio.run_process(
                        self._command,
                        stdin=_wav(pcm),
                        capture_stdout=True,
                        capture_stderr=True,
                        check=False,
                        env=os.environ | {name: hint.replace("\0", " ") for name, hint in hints.items()},
                    )
            except trio.TooSlowError as error:
                raise TranscriptionFailed(Failure.TIMEOUT, f"no text in {TIMEOUT:g} s") from error
            except OSError as error:  # not there, not executable, too long a prompt...
                raise TranscriptionFailed(Failure.UNAVAILABLE, error.strerror or "it can't be run") from error
        if done.returncode != 0:
            raise TranscriptionFailed(Failure.BROKEN, f"the command ended with status {done.returncode}")
        took = (trio.current_time() - began) * 1000
        return Transcript(_clean(done.stdout.decode("utf-8", "replace")), language, round(took, 1))


def _wav(pcm: bytes) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(16_000)
        writer.writeframes(pcm)
    return file.getvalue()


def _clean(text: str) -> str:
    return "".join(c for c in text if c.isprintable() or c in "\n\t").strip()


@asynccontextmanager
async def open_command(settings: Settings) -> AsyncIterator[CommandTranscriber]:
    """What the entry point names."""
    command = shlex.split(os.environ.get(VARIABLE, ""))
    if not command:
        raise SettingsError(f"transcriber (EDGE_TRANSCRIBER) 'command' needs {VARIABLE}")
    yield CommandTranscriber(command)
