"""The commands as a user runs them: real processes, few and quick."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
import trio
from rich.console import Console

from interview_edge.cli.demo import DemoFailed, recording, run_demo, verify
from interview_edge.cli.smoke import smoke
from interview_edge.client import EdgeHttp

COMMAND = [sys.executable, "-c", "from interview_edge.cli import main; main()"]
SECONDS = 60  # a busy machine starts slowly


def environment(**more: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("EDGE_")}
    return {**clean, "COLUMNS": "300", **more}


def test_the_recording_is_the_one_that_the_document_describes() -> None:
    document = (Path(__file__).parents[3] / "docs/demo-audio.md").read_text()
    assert hashlib.sha256(recording()).hexdigest() in document
    assert len(recording()) == 352_000


@pytest.mark.parametrize("change", ["a sample", "the length", "the rate"])
def test_the_comparison_notices_other_audio(tmp_path: Path, change: str) -> None:
    samples = np.frombuffer(recording(), "<i2").copy()
    rate = 16_000
    if change == "a sample":
        samples[-1] ^= 1
    elif change == "the length":
        samples = samples[:-1]
    else:
        rate = 8_000
    soundfile.write(tmp_path / "other.wav", samples, rate)
    with pytest.raises(DemoFailed, match="is not the recording"):
        verify(tmp_path / "other.wav", recording())


async def test_the_demo_repairs_what_it_breaks(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=200)
    report = await run_demo(console, tmp_path, speed=1000)
    assert (report.seconds, report.gaps_repaired) == (11.0, 2)
    assert report.utterances >= 1
    samples, rate = soundfile.read(report.wav, dtype="int16")
    assert (rate, samples.astype("<i2").tobytes()) == (16_000, recording())
    assert json.loads(report.result.read_text())["complete"] is True


def test_the_demo_command_prints_where_everything_lies(tmp_path: Path) -> None:
    outcome = subprocess.run(
        [*COMMAND, "demo"],
        env=environment(TMPDIR=str(tmp_path)),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert (outcome.returncode, outcome.stderr) == (0, "")
    (folder,) = tmp_path.glob("interview-edge-demo-*")
    assert str(folder / "interview.wav") in outcome.stdout
    assert str(folder / "result.json") in outcome.stdout
    assert "gaps repaired" in outcome.stdout


@contextmanager
def serving(data_dir: Path, *flags: str, **more: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """`interview-edge serve` (by default on a free port): its URL and its process, killed at the end."""
    process = subprocess.Popen(
        [*COMMAND, "serve", "--data-dir", str(data_dir), *(flags or ("--port", "0"))],
        env=environment(**more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            pytest.fail(process.communicate(timeout=SECONDS)[1])
        yield line.split()[-1], process
    finally:
        process.kill()
        process.communicate(timeout=SECONDS)


async def test_serve_prints_its_url_works_and_ends_with_0_on_sigterm(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as (url, process):
        assert await smoke(url, url, "s1", 2, lambda _: None) == 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=SECONDS) == 0


@pytest.mark.parametrize(
    ("auto_cleanup", "said"),
    [("1", "audio older than max_age_days is deleted daily"), ("0", "nothing is deleted by age")],
)
def test_a_start_says_once_whether_audio_is_deleted_by_age(
    tmp_path: Path, auto_cleanup: str, said: str
) -> None:
    with serving(tmp_path / "data", EDGE_AUTO_CLEANUP=auto_cleanup) as (_, process):
        process.send_signal(signal.SIGTERM)
        _, logged = process.communicate(timeout=SECONDS)
    of_it = [line for line in logged.splitlines() if "delete" in line or "auto_cleanup" in line]
    assert len(of_it) == 1, of_it
    assert said in of_it[0]


async def wait_for_chunks(url: str, count: int) -> None:
    async with EdgeHttp(url) as http:
        for _ in range(20 * SECONDS):
            ingest = (await http.state("s1"))["ingest"]
            if ingest is not None and ingest["received_chunks"] == count:
                return
            await trio.sleep(0.05)
    pytest.fail(f"the server never held {count} chunks")


async def save_audio(url: str, path: Path) -> None:
    async with EdgeHttp(url) as http:
        await http.save_audio("s1", path)


def test_send_rides_out_a_kill_of_the_server(tmp_path: Path) -> None:
    """A pipe is being sent, the server is killed and started again: nothing is lost, nothing is asked."""
    data_dir = tmp_path / "data"
    pcm = recording()
    with serving(data_dir) as (url, first):
        port = url.rpartition(":")[2]
        sending = subprocess.Popen(
            [*COMMAND, "send", "-", "--raw", "--url", url, "--session-id", "s1", "--speed", "max"],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert sending.stdin is not None
        sending.stdin.write(pcm[:128_000])
        sending.stdin.flush()
        trio.run(wait_for_chunks, url, 4)
        first.kill()
        first.wait(timeout=SECONDS)
    with serving(data_dir, "--port", port) as (url, _):
        printed, complaints = sending.communicate(pcm[128_000:], timeout=SECONDS)
        assert sending.returncode == 0, complaints.decode()
        assert b"reconnects: 1" in printed
        trio.run(save_audio, url, tmp_path / "kept.wav")
    assert verify(tmp_path / "kept.wav", pcm) == 11.0


def test_a_second_server_on_the_same_folder_is_refused_with_the_reason(tmp_path: Path) -> None:
    with serving(tmp_path / "data"):
        second = subprocess.run(
            [*COMMAND, "serve", "--port", "0", "--data-dir", str(tmp_path / "data")],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    assert second.returncode == 2
    assert "in use by another" in second.stderr


def test_a_port_that_is_taken_is_refused_with_the_reason(tmp_path: Path) -> None:
    with serving(tmp_path / "one") as (url, _):
        second = subprocess.run(
            [*COMMAND, "serve", "--port", url.rpartition(":")[2], "--data-dir", str(tmp_path / "two")],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    assert second.returncode == 1
    assert f"127.0.0.1 port {url.rpartition(':')[2]}: Address already in use" in second.stderr
    assert "Traceback" not in second.stderr
