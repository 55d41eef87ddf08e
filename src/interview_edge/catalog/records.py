"""The catalog's values as columns: JSON text for what SQL never looks into, packed blocks for identities."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import cattrs.preconf.json
import msgspec

from interview_edge.core.models import LedgerSnapshot, SessionState, VadPosition
from interview_edge.core.pcm import IDENTITY_BYTES

BLOCK_SEQS = 64
BLOCK_BYTES = BLOCK_SEQS * IDENTITY_BYTES
ABSENT = bytes(IDENTITY_BYTES)  # SHA-256 gives sixteen zeros once in 2^128 chunks

_converter = cattrs.preconf.json.make_converter()


def to_json(value: Any) -> str:
    """JSON text of plain data."""
    return msgspec.json.encode(value).decode()


def from_json(text: str) -> Any:
    """Plain data of JSON text."""
    return msgspec.json.decode(text)


def state_to_json(state: SessionState) -> str:
    """A session's state as JSON text."""
    return to_json(_converter.unstructure(state))


def state_from_json(text: str) -> SessionState:
    """The state that `state_to_json` wrote."""
    return _converter.structure(from_json(text), SessionState)


def vad_from_columns(sample: int | None, tracker: str | None) -> VadPosition | None:
    """A stream's VAD position, None where none was kept."""
    return None if sample is None or tracker is None else VadPosition(sample, from_json(tracker))


def ledger_from_columns(
    held: str,
    final_seq: int | None,
    final_length: int,
    duplicates: int,
    started_at: int | None,
    updated_at: int | None,
) -> LedgerSnapshot:
    """A stream's ledger; the columns in the order of `LedgerSnapshot`'s fields."""
    ranges = tuple((first, last) for first, last in from_json(held))
    return LedgerSnapshot(ranges, final_seq, final_length, duplicates, started_at, updated_at)


def by_block(identities: Mapping[int, bytes]) -> dict[int, dict[int, bytes]]:
    """Identities by seq, sorted into blocks."""
    blocks: dict[int, dict[int, bytes]] = {}
    for seq, identity in sorted(identities.items()):
        blocks.setdefault(block_of(seq), {})[seq] = identity
    return blocks


def block_of(seq: int) -> int:
    """The block that a seq's identity is in."""
    return (seq - 1) // BLOCK_SEQS


def identity_in(digests: bytes | bytearray, seq: int) -> bytes | None:
    """The seq's identity in its block, None where it is absent."""
    start = _position(seq)
    identity = bytes(digests[start : start + IDENTITY_BYTES])
    return None if identity == ABSENT else identity


def place(digests: bytearray, seq: int, identity: bytes) -> None:
    """Write the seq's identity into its block."""
    start = _position(seq)
    digests[start : start + IDENTITY_BYTES] = identity


def blocks_of(seqs: Iterable[int]) -> list[int]:
    """The blocks of these seqs, each once, ascending."""
    return sorted({block_of(seq) for seq in seqs})


def _position(seq: int) -> int:
    return (seq - 1) % BLOCK_SEQS * IDENTITY_BYTES
