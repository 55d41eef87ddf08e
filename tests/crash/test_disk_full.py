"""A disk that is really full: the journal lies on a small tmpfs, a ballast file takes its space and goes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from crash.workload import audio
from interview_edge.client import EdgeHttp, open_ingest
from interview_edge.client.link import Persistence
from interview_edge.core.models import StreamKey
from server_process import ServerProcess, serving

KEY = StreamKey("call")
DISK = 64 * 2**20
CHUNKS = 300  # about 10 MB, in the WAL and in the file: more than the ballast leaves, less than the disk
PATIENCE = 30.0  # seconds


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 MiB of its own."""
    folder = tmp_path / "data"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(f"a file system can't be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def settings(tmp_path: Path, min_free: int) -> dict[str, object]:
    """Only the journal is on the small disk; nothing is uploaded, so nothing is trimmed."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    return {
        "EDGE_JOURNAL_MIN_FREE_BYTES": min_free,
        "EDGE_STORAGE_TIMEOUT": 1,
        "EDGE_STORAGE": (elsewhere / "objects").as_uri(),
        "EDGE_CATALOG": f"sqlite://{elsewhere / 'catalog.db'}",
        "AUDIO_STORAGE_UPLOAD_INTERVAL_MS": 60_000,
    }


def fill(folder: Path) -> Path:
    """Take all the space that is left but about 3 MB."""
    ballast = folder / "ballast"
    stat = os.statvfs(folder)
    ballast.write_bytes(bytes(stat.f_bavail * stat.f_frsize - 3 * 10**6))
    return ballast


async def stalled_at(server: ServerProcess, acked: set[int]) -> int:
    """Wait until acks have stopped, and /health says that the journal is in trouble."""
    async with EdgeHttp(server.url) as edge:
        with trio.fail_after(PATIENCE):
            while True:
                count = len(acked)
                await trio.sleep(1.0)
                journal = (await edge.health())["checks"]["journal"]
                if count and len(acked) == count:
                    assert journal["status"] == "error", journal
                    return count


@pytest.mark.parametrize("min_free", [0, 10**6], ids=["the disk says so", "the free minimum says so"])
async def test_a_full_disk_stops_acks_and_loses_nothing(
    tmp_path: Path, small_disk: Path, min_free: int
) -> None:
    acked: set[int] = set()
    async with serving(tmp_path, settings(tmp_path, min_free)) as server:
        ballast = fill(small_disk)
        async with (
            open_ingest(
                server.url,
                KEY.session_id,
                on_ack=lambda ack: acked.add(ack.seq),
                max_unacked=CHUNKS,
                persistence=Persistence(retry_initial=0.05, retry_max=0.2),
            ) as ingest,
            EdgeHttp(server.url) as edge,
        ):
            for seq in range(1, CHUNKS + 1):
                await ingest.send(audio(KEY, seq))
            stopped = await stalled_at(server, acked)
            assert 0 < stopped < CHUNKS
            assert await edge.chunk(KEY.session_id, max(acked)) == audio(KEY, max(acked))
            ballast.unlink()
            with trio.fail_after(PATIENCE):
                await ingest.drain()
        await server.kill()
    async with serving(tmp_path, settings(tmp_path, 0)) as server, EdgeHttp(server.url) as edge:
        ingest_now = (await edge.state(KEY.session_id))["ingest"]
        assert (ingest_now["received_chunks"], ingest_now["missing_chunks"]) == (CHUNKS, 0)
        for seq in range(1, CHUNKS + 1, 7):
            assert await edge.chunk(KEY.session_id, seq) == audio(KEY, seq)
