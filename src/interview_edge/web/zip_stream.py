"""Many objects as one ZIP, written while it is read: nothing of it is in memory but the object under way and
the directory (some 0.8 kB an entry) that a ZIP ends with.

The entries are stored, not compressed: PCM and FLAC gain nothing, or have gained it. The last one is
`manifest.jsonl`, a line for each object: its size and SHA-256, or why it isn't there. So none goes missing
unseen.
"""

from __future__ import annotations

import hashlib
import time
import zipfile
from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec
import trio

from interview_edge.backends.protocol import ObjectNotFound, StorageBackend

MANIFEST = "manifest.jsonl"
# Checksums of this many bytes take a millisecond or two; more go to a thread.
INLINE_BYTES = 256 * 1024


_FIRST_DATE = 315_532_800.0  # 1980: a ZIP knows none before, and a machine without a clock may be in 1970


class _Sink:
    """Where ZipFile writes: it can't seek, so sizes and checksums follow each entry's data."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """There is nothing to close."""

    def taken(self) -> bytes:
        """What was written since the last call."""
        parts, self._parts = self._parts, []
        return b"".join(parts)


class ZipStream:
    """One ZIP under way. `now` (epoch seconds) is every entry's date."""

    def __init__(self, now: float) -> None:
        self._sink = _Sink()
        self._zip = zipfile.ZipFile(self._sink, "w", zipfile.ZIP_STORED)
        self._date = time.gmtime(max(now, _FIRST_DATE))[:6]
        self._manifest: list[bytes] = []

    async def add(self, key: str, data: bytes) -> bytes:
        """The ZIP's next bytes: this object."""
        if len(data) <= INLINE_BYTES:
            self._add(key, data)
        else:
            await trio.to_thread.run_sync(self._add, key, data)
        return self._sink.taken()

    def _add(self, key: str, data: bytes) -> None:
        self._zip.writestr(zipfile.ZipInfo(key, self._date), data)
        self._note({"path": key, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()})

    def miss(self, key: str, why: str) -> None:
        """This object isn't there: the manifest says so."""
        self._note({"path": key, "error": why})

    def _note(self, line: dict[str, object]) -> None:
        self._manifest.append(msgspec.json.encode(line))

    async def finish(self) -> bytes:
        """The ZIP's last bytes: the manifest, and the directory."""
        await trio.to_thread.run_sync(self._finish)
        return self._sink.taken()

    def _finish(self) -> None:
        lines = b"".join(line + b"\n" for line in self._manifest)
        self._zip.writestr(zipfile.ZipInfo(MANIFEST, self._date), lines)
        self._zip.close()


async def zip_objects(
    keys: AsyncGenerator[str, None], backend: StorageBackend, *, now: float, timeout: float
) -> AsyncGenerator[bytes, None]:
    """The objects of `keys`, which it closes, as a ZIP. One that isn't there is named in the manifest.

    Each object is read within `timeout` seconds. Raises BackendError and `trio.TooSlowError` where the store
    fails: the ZIP ends without its directory, so that no reader takes it for whole.
    """
    stream = ZipStream(now)
    async with aclosing(keys):
        async for key in keys:
            try:
                with trio.fail_after(timeout):
                    data = await backend.get(key)
            except ObjectNotFound:
                stream.miss(key, "the object is missing")
                # A step of its own: whoever bounds each step lets any number be missing.
                yield b""  # noqa: ASYNC119 - the request closes this generator (file_answers.streamed)
            else:
                yield await stream.add(key, data)  # noqa: ASYNC119 - as above
    yield await stream.finish()
