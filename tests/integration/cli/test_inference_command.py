"""`interview-edge inference serve`, as a process: what it prints, asks for, and how it ends."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from interview_edge.cli.inference import serve_inference
from interview_edge.settings import Settings
from interview_edge.speech.models import CAMPPLUS
from interview_edge.speech.speaker_work import SpeakerWork, SpeakerWorkOptions
from local_models import model_folder
from server_process import environment
from voices import SpectrumEmbedder

COMMAND = (sys.executable, "-c", "from interview_edge.cli import main; main()", "inference", "serve")


def run(*flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *flags], env=environment({}), capture_output=True, text=True, timeout=60, check=False
    )


def test_without_the_model_it_says_how_to_fetch_it(tmp_path: Path) -> None:
    done = run("--port", "0", "--model-dir", str(tmp_path))
    assert done.returncode == 1
    assert re.fullmatch(
        r"interview-edge: \S+/campplus_cn_en_common\.pt is missing: "
        "run `interview-edge models fetch campplus`",
        done.stderr.strip().splitlines()[-1],
    )


async def test_a_port_that_is_taken_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "interview_edge.web.inference_server.open_speaker_work",
        lambda _, waiting: SpeakerWork(SpectrumEmbedder, SpeakerWorkOptions(waiting=waiting)),
    )
    said: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert await serve_inference(Settings(), "127.0.0.1", port, said.append) == 1
    (line,) = said
    assert f"127.0.0.1 port {port}: Address already in use" in line
    assert "\n" not in line


def test_other_machines_need_a_key(tmp_path: Path) -> None:
    done = run("--port", "0", "--host", "192.168.1.5", "--model-dir", str(tmp_path))
    assert done.returncode == 2
    assert "INFERENCE_API_KEY" in done.stderr


def test_it_serves_until_sigterm() -> None:
    folder = model_folder(CAMPPLUS, "kaldi_native_fbank", "onnx", "onnxruntime")
    process = subprocess.Popen(
        [*COMMAND, "--port", "0", "--model-dir", str(folder)],
        env=environment({"INFERENCE_API_KEY": "correct horse"}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("interview-edge inference listens on http://127.0.0.1:"), process.stderr
        url = line.split()[-1]
        health = httpx.get(f"{url}/health").json()
        assert (health["status"], health["model_id"]) == ("ok", "campplus")
        assert httpx.post(f"{url}/sd/diarize").status_code == 401
        assert httpx.post(f"{url}/sd/diarize", headers={"x-api-key": "correct horse"}).status_code == 501
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
        assert process.returncode == 0
        assert "correct horse" not in said
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("flag", ["--host", "--port", "--model-dir"])
def test_help_names_the_flags(flag: str) -> None:
    assert flag in run("--help").stdout
