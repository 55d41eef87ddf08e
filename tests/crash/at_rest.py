"""The whole check of a data folder: over HTTP first, then with the server gone, object by object."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from pathlib import Path

from crash.workload import LostAudio, Sender, audio, loss_alone
from interview_edge.archive.objects import Codec
from interview_edge.backends import open_backend
from interview_edge.backends.protocol import ObjectNotFound, StorageBackend
from interview_edge.catalog import open_catalog
from interview_edge.catalog.protocol import Catalog
from interview_edge.client import EdgeHttp, EdgeRequestError, EdgeUnreachable
from interview_edge.core.keys import result_key
from interview_edge.core.ledger import Ledger
from interview_edge.core.models import Extent
from interview_edge.core.pcm import CHUNK_BYTES
from interview_edge.core.wav import decode_wav
from interview_edge.settings import Settings
from server_process import serving

CHUNKS_READ = 5  # of each stream, one by one


async def check_everything(
    folder: Path,
    settings: dict[str, object],
    senders: Sequence[Sender],
    *,
    others: Collection[str] = (),
    journal_lost: bool = False,
) -> None:
    """Start a sound server on the folder, read back every acked second, finalize, stop it, look at the store.

    `others` are sessions that nobody checks. With a `journal_lost` there may be objects of chunks that were
    never acked: nobody knows any more that they were put. Raises LostAudio.
    """
    with loss_alone():
        async with serving(folder, settings) as server, EdgeHttp(server.url) as edge:
            try:
                await _read_back(edge, senders, folder)
                for session_id in sorted({sender.key.session_id for sender in senders}):
                    answer = await edge.finalize(session_id)
                    result = await edge.result(session_id)
                    assert result["complete"] is answer["complete"]
            except (EdgeRequestError, EdgeUnreachable) as error:  # refused, or an answer cut off midway
                raise LostAudio("the server can't read or finalize what it acked") from error
            assert await server.terminate() == 0
    data = Settings(data_dir=folder / "data")
    async with open_catalog(data.catalog_url) as catalog, open_backend(data.storage_url) as backend:
        known = {result_key(sender.key.session_id) for sender in senders}
        for sender in senders:
            known |= await _check_stream(sender, catalog, backend)
        for session_id in others:
            known |= set(await catalog.held_objects(session_id))
        found = {info.key async for info in backend.list("")}
        if known - found or (found - known and not journal_lost):
            raise LostAudio(f"objects that no table names: {found - known}; named and gone: {known - found}")


async def _read_back(edge: EdgeHttp, senders: Sequence[Sender], folder: Path) -> None:
    """Every acked second out of `GET .../audio`, some out of `.../chunks/{seq}`, during the replay."""
    for sender in senders:
        if not sender.acked:
            continue
        session_id, stream = sender.key.session_id, sender.key.stream
        await edge.save_audio(session_id, folder / "audio.wav", stream=stream)
        pcm = decode_wav((folder / "audio.wav").read_bytes())
        for seq in sender.acked:
            if pcm[(seq - 1) * CHUNK_BYTES : seq * CHUNK_BYTES] != audio(sender.key, seq):
                raise LostAudio(f"{sender.key}: seq {seq} is not the acked audio")
        for seq in sorted(sender.acked)[:: len(sender.acked) // CHUNKS_READ + 1]:
            if await edge.chunk(session_id, seq, stream=stream) != audio(sender.key, seq):
                raise LostAudio(f"{sender.key}: seq {seq} is not the acked audio")


async def _check_stream(sender: Sender, catalog: Catalog, backend: StorageBackend) -> set[str]:
    """Ledger, object table and objects of one stream; answers the keys that the table names."""
    key = sender.key
    record = await catalog.load_session(key.session_id)
    if record is None:
        raise LostAudio(f"{key}: the catalog doesn't know the session")
    if not sender.sent:
        return set()
    if key.stream not in record.streams:
        sender.check_held(set())
        return set()
    ledger = Ledger(record.streams[key.stream].ledger)
    held = {seq for first, last in ledger.held for seq in range(first, last + 1)}
    sender.check_held(held)
    status = ledger.status(key.session_id, record.created_at)
    counts = (status.received_chunks, status.missing_chunks, status.bytes_stored, status.last_seq)
    assert counts == (len(held), max(held) - len(held), CHUNK_BYTES * len(held), max(held)), status
    extents = await catalog.extents(key)
    seqs = [seq for extent in extents for seq in range(extent.first, extent.last + 1)]
    if sorted(seqs) != sorted(held):
        raise LostAudio(f"{key}: the object table has {len(seqs)} seqs, the ledger {len(held)}")
    for extent in extents:
        await _check_object(sender, extent, backend)
    return {extent.key for extent in extents}


async def _check_object(sender: Sender, extent: Extent, backend: StorageBackend) -> None:
    try:
        data = await backend.get(extent.key)
    except ObjectNotFound as error:
        raise LostAudio(f"{extent.key} is in the object table and not in the store") from error
    pcm = (await Codec().decode(data, extent.format))[extent.offset : extent.offset + extent.length]
    whole = b"".join(audio(sender.key, seq) for seq in range(extent.first, extent.last + 1))
    if pcm != whole or hashlib.sha256(pcm).digest() != extent.sha256:
        raise LostAudio(f"{extent.key} holds other bytes than were sent")
