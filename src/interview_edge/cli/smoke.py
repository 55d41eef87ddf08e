"""`interview-edge smoke`: does a deployed server do what it should? Contract ingest.md, Smoke.

Prints a `connected` line, an `ack` line a chunk, a `status` line and last a line of JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np

from interview_edge.cli.send import require_server
from interview_edge.client import ClientError, EdgeHttp, Persistence, open_ingest
from interview_edge.core.pcm import SAMPLE_RATE
from interview_edge.wire.frames import Ack

_DEADLINE = 30.0  # without one ack, seconds


class SmokeFailed(Exception):
    """The server answered, but not as it should. The text is the reason."""


def tone(seq: int) -> bytes:
    """One second of a sine that differs by seq, so that chunks that change places show."""
    frequency = 220 + 20 * (seq % 50)
    wave = np.sin(2 * np.pi * frequency * np.arange(SAMPLE_RATE) / SAMPLE_RATE)
    data: bytes = (wave * 12_000).astype("<i2").tobytes()
    return data


async def smoke(
    base_http: str,
    base_ws: str,
    session_id: str,
    chunks: int,
    show: Callable[[str], None],
    *,
    api_key: str | None = None,
) -> int:
    """Send `chunks` tones as JSON frames and check acks, counts and state; answers the exit status."""
    try:
        report = await _exercise(base_http, base_ws, session_id, chunks, show, api_key)
    except (SmokeFailed, ClientError, ValueError) as error:
        show(json.dumps({"ok": False, "session_id": session_id, "error": str(error)}, ensure_ascii=False))
        return 1
    show(json.dumps({"ok": True, "session_id": session_id, **report}, ensure_ascii=False))
    return 0


async def _exercise(
    base_http: str,
    base_ws: str,
    session_id: str,
    chunks: int,
    show: Callable[[str], None],
    api_key: str | None,
) -> dict[str, int]:
    acks: list[Ack] = []

    def on_ack(ack: Ack) -> None:
        acks.append(ack)
        show(
            f"ack seq={ack.seq} status={ack.status} last_seq={ack.last_seq} "
            f"missing_count={ack.missing_count} duplicate_count={ack.duplicate_count}"
        )

    await require_server(base_http)
    patience = Persistence(give_up_after=_DEADLINE, answer_timeout=_DEADLINE)
    async with open_ingest(
        base_ws, session_id, binary=False, api_key=api_key, persistence=patience, on_ack=on_ack
    ) as ingest:
        before = ingest.ready.ingest
        first = before.last_seq + 1
        show(f"connected session_id={session_id} last_seq={before.last_seq} ack={ingest.ready.ack}")
        seqs = [await ingest.send(tone(seq), seq=seq) for seq in range(first, first + chunks)]
        await ingest.drain()
        status = await ingest.status()
        show(
            f"status received_chunks={status.received_chunks} last_seq={status.last_seq} "
            f"missing_chunks={status.missing_chunks} bytes_stored={status.bytes_stored}"
        )
    _expect("acks", [(ack.seq, ack.status) for ack in acks], [(seq, "stored") for seq in seqs])
    _expect("last_seq", status.last_seq, before.last_seq + chunks)
    _expect("received_chunks", status.received_chunks, before.received_chunks + chunks)
    _expect("missing_chunks", status.missing_chunks, before.missing_chunks)
    async with EdgeHttp(base_http, api_key=api_key, timeout=_DEADLINE) as http:
        state = await http.state(session_id)
    report = {name: getattr(status, name) for name in ("received_chunks", "last_seq", "bytes_stored")}
    ingested = state.get("ingest") or {}
    _expect("the state's ingest", {name: ingested.get(name) for name in report}, report)
    return report


def _expect(name: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise SmokeFailed(f"{name} is {found}, expected {wanted}")
