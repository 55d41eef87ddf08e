"""Many sessions for a long time, faster than people speak: memory stays where it was once the windows are
full, and every second is there in the end.
"""

from __future__ import annotations

import os
from pathlib import Path
from random import Random
from statistics import median

import pytest
import trio

from crash.at_rest import check_everything
from crash.workload import Sender, audio
from hostile.controls import MEGABYTE, Controls, controlled
from interview_edge.client import open_ingest
from interview_edge.core.models import StreamKey

SESSIONS = int(os.environ.get("SOAK_SESSIONS", "200"))
MINUTES = int(os.environ.get("SOAK_MINUTES", "30"))  # of audio in each session
# Times as fast as speech: 400 chunks a second of 200 sessions. As fast as the server acks (1,200 a second
# here) most of it would still be in the journal at the end.
SPEED = float(os.environ.get("SOAK_SPEED", "2"))
WINDOW_SECONDS = 120
DRAIN_SECONDS = 600.0  # for what waits in the journal at the end, on a busy machine
SAMPLE_EVERY = 1.0
# Of what is resident with full windows: uploads come in bursts, and this machine has other work beside.
ALLOWED_GROWTH = 0.05


async def stream(url: str, sender: Sender, seconds: int) -> None:
    """One session's audio, at SPEED or as fast as it is acked."""
    began = trio.current_time()
    async with open_ingest(
        url, sender.key.session_id, on_ack=lambda ack: sender.acked.add(ack.seq), max_unacked=8
    ) as ingest:
        for sent in range(seconds):
            await trio.sleep_until(began + sent / SPEED)
            sender.sent.add(await ingest.send(audio(sender.key, len(sender.sent) + 1)))


async def sample(controls: Controls, senders: list[Sender], samples: list[tuple[int, int]]) -> None:
    """(chunks acked, bytes resident), until cancelled."""
    while True:
        samples.append((sum(len(sender.acked) for sender in senders), controls.server.resident_bytes()))
        await trio.sleep(SAMPLE_EVERY)


def check_flat(samples: list[tuple[int, int]], total: int) -> None:
    """From the moment all windows are full: the second half needs no more than the first."""
    full = SESSIONS * WINDOW_SECONDS
    assert total >= 2 * full, "sessions this short never fill their windows"
    middle = full + (total - full) // 2
    first = [resident for acked, resident in samples if full <= acked < middle]
    second = [resident for acked, resident in samples if acked >= middle]
    before, after = median(first), median(second)
    print(
        f"resident with full windows, median: {before / MEGABYTE:.0f} MB in the first half, "
        f"{after / MEGABYTE:.0f} MB in the second, {max(second) / MEGABYTE:.0f} MB at most"
    )
    assert after <= before * (1 + ALLOWED_GROWTH)


@pytest.mark.long
async def test_memory_stays_flat_and_every_second_is_kept(tmp_path: Path) -> None:
    senders = [Sender(StreamKey(f"soak{n}"), Random(n)) for n in range(SESSIONS)]
    samples: list[tuple[int, int]] = []
    settings = {"AUDIO_STORAGE_UPLOAD_INTERVAL_MS": 2_000, "EDGE_SILENT_PEER_TIMEOUT": 60}
    async with controlled(tmp_path, **settings, EDGE_STORAGE_TIMEOUT=60) as controls:
        async with trio.open_nursery() as watching:
            watching.start_soon(sample, controls, senders, samples)
            async with trio.open_nursery() as nursery:
                for sender in senders:
                    nursery.start_soon(stream, controls.url, sender, MINUTES * 60)
            watching.cancel_scope.cancel()
        await controls.wait_for(lambda now: not (now.sessions or now.journalled), DRAIN_SECONDS)
        assert "Traceback" not in await trio.Path(controls.server.log).read_text()
    assert all(sender.acked == sender.sent for sender in senders)
    check_flat(samples, SESSIONS * MINUTES * 60)
    await check_everything(tmp_path, {"EDGE_JOURNAL_MIN_FREE_BYTES": 0}, senders)
