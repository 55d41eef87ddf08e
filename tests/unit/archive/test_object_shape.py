from __future__ import annotations

import hashlib

import pytest

from interview_edge.archive.objects import CONTENT_TYPES, Codec, NewObject, chunk_metadata
from interview_edge.core.models import StreamKey
from interview_edge.journal.records import JournalRow


@pytest.mark.parametrize("format", list(CONTENT_TYPES))
async def test_every_format_gives_the_pcm_back(format: str) -> None:
    pcm = bytes(range(200)) * 320
    codec = Codec()
    assert await codec.decode(await codec.encode(pcm, format), format) == pcm


@pytest.mark.parametrize("format", ["wav", "flac"])
async def test_something_else_is_not_decoded(format: str) -> None:
    with pytest.raises(ValueError):
        await Codec().decode(b"something else", format)


def test_the_distinct_key_names_the_content() -> None:
    new = NewObject("sessions/a.b/chunks/00000001.pcm", b"x", "pcm", {})
    digest = hashlib.sha256(b"x").hexdigest()[:8]
    assert new.distinct_key == f"sessions/a.b/chunks/00000001~{digest}.pcm"


@pytest.mark.parametrize(("session_id", "shown"), [("a-1.x", "a-1.x"), (" a%/é\n", "%20a%25%2F%C3%A9%0A")])
def test_metadata_is_header_safe(session_id: str, shown: str) -> None:
    row = JournalRow(1, 5, False, 32_000, b"", b"", 0)
    metadata = chunk_metadata(StreamKey(session_id), row)
    assert metadata["session_id"] == metadata["meeting_id"] == shown
    assert all(isinstance(value, str) and value.isascii() for value in metadata.values())
