"""The object store goes away while sessions stream, and comes back: acks go on, memory stays bounded, and
everything is stored once afterwards.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
import trio

from crash.at_rest import check_everything
from crash.workload import Sender, audio
from hostile.controls import AFTERMATH, MEGABYTE, Controls, controlled
from interview_edge.client import open_ingest
from interview_edge.core.models import StreamKey

WINDOW = 4 * MEGABYTE  # of one session, full
OVERHEAD = 40 * MEGABYTE


async def stream(url: str, sender: Sender, speed: float, seconds: float) -> None:
    """One session, `speed` times as fast as one speaks, until `seconds` have passed; all of it acked."""
    end = trio.current_time() + seconds
    async with open_ingest(
        url, sender.key.session_id, on_ack=lambda ack: sender.acked.add(ack.seq), max_unacked=32
    ) as ingest:
        while trio.current_time() < end:
            seq = await ingest.send(audio(sender.key, len(sender.sent) + 1))
            sender.sent.add(seq)
            await trio.sleep(1 / speed)


async def outlast(controls: Controls, sessions: int, outage: float, speed: float) -> list[Sender]:
    """So many sessions before, during and after an outage; what they sent, all of it acked."""
    senders = [Sender(StreamKey(f"call{n}"), Random(n)) for n in range(sessions)]
    # Whatever came in meanwhile has to go to the store: as long again, on a busy machine.
    patience = AFTERMATH + outage
    async with (
        controls.unharmed(growth=sessions * WINDOW + OVERHEAD, aftermath=patience),
        trio.open_nursery() as nursery,
    ):
        for sender in senders:
            nursery.start_soon(stream, controls.url, sender, speed, outage + 2)
        await trio.sleep(1)
        await controls.outage(True)
        acked_before = sum(len(sender.acked) for sender in senders)
        await trio.sleep(outage)
        held = await controls.look()
        acked_during = sum(len(sender.acked) for sender in senders) - acked_before
        assert acked_during > sessions * outage * speed / 4, "the outage delayed the acks"
        assert held.journalled >= acked_during, "what is acked while the store is away is in the journal"
        await controls.outage(False)
    assert all(sender.acked == sender.sent for sender in senders)
    return senders


async def run(folder: Path, sessions: int, outage: float, speed: float) -> None:
    # The last retry of a long outage may lie half a minute off: here at most three seconds.
    async with controlled(folder, EDGE_SILENT_PEER_TIMEOUT=20, EDGE_RETRY_MAX=3) as controls:
        senders = await outlast(controls, sessions, outage, speed)
    await check_everything(folder, {"EDGE_JOURNAL_MIN_FREE_BYTES": 0}, senders, others={"honest"})


async def test_a_short_outage_loses_and_doubles_nothing(tmp_path: Path) -> None:
    await run(tmp_path, 20, 2.0, 8.0)


@pytest.mark.long
@pytest.mark.parametrize(("sessions", "minutes", "speed"), [(20, 2, 5.0), (50, 5, 1.0)])
async def test_minutes_of_outage_lose_and_double_nothing(
    tmp_path: Path, sessions: int, minutes: int, speed: float
) -> None:
    await run(tmp_path, sessions, minutes * 60.0, speed)
