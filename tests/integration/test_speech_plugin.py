"""A plugin package, really built and installed, hears for a node that its settings' names chose."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from installed_plugins import install_plugin
from interview_edge.client import EdgeHttp, open_ingest
from interview_edge.core.pcm import CHUNK_BYTES
from server_process import environment, serving
from voices import audio, jfk, pcm

pytestmark = pytest.mark.process

SECONDS = 120  # a busy machine starts slowly
WORDS = "some words, "
COMMAND = f"sh -c 'printf \"{WORDS}\"; wc -c'"

CHECK = """
import trio
from example_speech.command import open_command
from example_speech.spectrum import open_spectrum
from interview_edge import Settings
from interview_edge.testing import check_speakers, check_transcriber

trio.run(check_transcriber, lambda: open_command(Settings()))
trio.run(check_speakers, lambda: open_spectrum(Settings()))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install_plugin("example_speech", tmp_path_factory.mktemp("plugin"))


def test_it_conforms(installed: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", CHECK],
        env=os.environ | {"PYTHONPATH": str(installed), "EXAMPLE_TRANSCRIBER_COMMAND": COMMAND},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert result.returncode == 0, result.stderr


async def test_a_node_is_served_by_it(installed: Path, tmp_path: Path) -> None:
    settings: dict[str, object] = {
        "EDGE_TRANSCRIBER": "command",
        "EDGE_SPEAKERS": "spectrum",
        "EXAMPLE_TRANSCRIBER_COMMAND": COMMAND,
        "PYTHONPATH": installed,
    }
    speech = pcm(jfk()) + bytes(2 * CHUNK_BYTES)  # the silence ends its last utterance
    with trio.fail_after(SECONDS):
        async with serving(tmp_path, settings) as server, EdgeHttp(server.url) as http:
            async with open_ingest(server.url, "interview-1") as ingest:
                for start in range(0, len(speech), CHUNK_BYTES):
                    await ingest.send(speech[start : start + CHUNK_BYTES])
                await ingest.drain()
            lines = await written(server.url)
            assert lines
            for line in lines:
                assert line["text"].startswith(WORDS)
                heard = (line["end_ms"] - line["start_ms"]) * 32 + 44  # and the WAV's header
                assert abs(int(line["text"].removeprefix(WORDS)) - heard) <= 64  # ends are whole milliseconds
            body = {"audio": audio(jfk(4.0)), "asr_text": "I'm Jack"}
            answer = await http.resolve("interview-1", body)
            assert (answer["cluster_id"], answer["speaker_name"]) == ("c1", "Jack")
            health = await http.health()
            assert health["speakers"]["provider"] == "spectrum"
            assert health["transcription"]["provider"] == "command"


async def written(url: str) -> list[dict[str, Any]]:
    """The transcript's lines, once nothing waits any more."""
    async with httpx.AsyncClient(base_url=url) as client:
        while True:
            found = (await client.get("/v1/sessions/interview-1/transcript")).json()
            if found["lines"] and not found["waiting"]:
                lines: list[dict[str, Any]] = found["lines"]
                return lines
            await trio.sleep(0.02)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"EDGE_TRANSCRIBER": "command"}, "'command' needs EXAMPLE_TRANSCRIBER_COMMAND"),
        (
            {"EDGE_TRANSCRIBER": "comand"},
            "transcriber (EDGE_TRANSCRIBER) must be one of auto, off, http, local, command, got 'comand'",
        ),
        (
            {"EDGE_SPEAKERS": "other"},
            "speakers (EDGE_SPEAKERS) must be one of auto, off, http, local, spectrum, got 'other'",
        ),
    ],
)
def test_a_start_that_fails_says_why_in_a_line(
    installed: Path, tmp_path: Path, settings: dict[str, object], told: str
) -> None:
    result = subprocess.run(
        [sys.executable, "-c", "from interview_edge.cli import main; main()", "serve", "--port", "0"],
        env=environment(settings | {"PYTHONPATH": installed, "EDGE_DATA_DIR": tmp_path}),
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert result.returncode != 0
    assert told in result.stderr
    assert "Traceback" not in result.stderr
