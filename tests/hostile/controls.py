"""The hostile tests' hold on the server process: commands, and the proof that an attack left nothing."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

from hostile import controlled_server
from interview_edge.client import open_ingest
from server_process import ServerProcess, serving

COMMAND = (sys.executable, controlled_server.__file__)
MEGABYTE = 2**20
AFTERMATH = 20.0  # seconds until everything of an attack must be gone, on a busy machine
# Short enough that a test sees each deadline pass; everything else as in production.
SETTINGS: dict[str, object] = {
    "EDGE_SILENT_PEER_TIMEOUT": 1,
    "EDGE_SEND_TIMEOUT": 1,
    "EDGE_IN_FLIGHT_TIMEOUT": 1,
    "EDGE_SESSION_IDLE_TIMEOUT": 0.4,
    "EDGE_DRAIN_TIMEOUT": 4,
    "EDGE_JOURNAL_MIN_FREE_BYTES": 0,
    "EDGE_RETRY_MAX": 0.5,
    "EDGE_LOG_LEVEL": "warning",
    "AUDIO_STORAGE_UPLOAD_INTERVAL_MS": 200,
}


@attrs.frozen
class Holdings:
    """What the server process holds at one moment."""

    tasks: int
    sockets: int
    sessions: int
    journalled: int
    queued_bytes: int
    descriptors: int
    resident: int


@attrs.frozen
class Controls:
    server: ServerProcess

    @property
    def url(self) -> str:
        return self.server.url

    async def look(self) -> Holdings:
        return await self._command("look")

    async def outage(self, on: bool) -> None:
        await self._command("outage" if on else "recover")

    async def _command(self, command: str) -> Holdings:
        process = self.server.process
        assert process.stdin is not None
        assert process.stdout is not None
        await process.stdin.send_all(f"{command}\n".encode())
        said = b""
        with trio.fail_after(AFTERMATH):
            while not said.endswith(b"\n"):
                more = await process.stdout.receive_some()
                assert more, f"the server ended; see {self.server.log}"
                said += more
        return Holdings(
            **json.loads(said),
            descriptors=self.server.descriptors(),
            resident=self.server.resident_bytes(),
        )

    @asynccontextmanager
    async def unharmed(self, *, growth: int, aftermath: float = AFTERMATH) -> AsyncIterator[None]:
        """Whatever the block does: memory grows by less than `growth` bytes while it does it; within
        `aftermath` seconds tasks, sockets, sessions and descriptors are what they were, an honest client is
        served, no fault is logged.
        """
        await self.serve_an_honest_client()  # what is loaded with the first client isn't the attack's
        before = await self._settled(await self.look())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_memory, before.resident, growth)
            yield
            nursery.cancel_scope.cancel()
        await self._settled(before, aftermath)
        await self.serve_an_honest_client()
        assert "Traceback" not in await trio.Path(self.server.log).read_text()

    async def _watch_memory(self, before: int, growth: int) -> None:
        most = 0
        try:
            while True:
                most = max(most, self.server.resident_bytes() - before)
                assert most < growth, f"grew by {most / MEGABYTE:.0f} MB, {growth / MEGABYTE:.0f} are allowed"
                await trio.sleep(0.05)
        finally:
            print(f"memory grew by {most / MEGABYTE:.0f} MB at most")

    async def _settled(self, before: Holdings, within: float = AFTERMATH) -> Holdings:
        """Wait until no socket, session or backlog is left, and no more tasks and descriptors than before."""
        return await self.wait_for(
            lambda now: (
                not (now.sockets or now.sessions or now.journalled)
                and now.tasks <= before.tasks
                and now.descriptors <= before.descriptors
            ),
            within,
        )

    async def wait_for(self, reached: Callable[[Holdings], bool], within: float = AFTERMATH) -> Holdings:
        """Look until it is `reached`; AssertionError with what stands instead after `within` seconds."""
        now = await self.look()
        deadline = trio.current_time() + within
        while not reached(now):
            assert trio.current_time() < deadline, f"still {now}"
            await trio.sleep(0.05)
            now = await self.look()
        return now

    async def serve_an_honest_client(self) -> None:
        with trio.fail_after(AFTERMATH):
            async with open_ingest(self.url, "honest") as ingest:
                await ingest.send(bytes(32_000), seq=1)
                await ingest.drain()


@asynccontextmanager
async def controlled(folder: Path, **settings: object) -> AsyncIterator[Controls]:
    """A server process under control, killed at the end."""
    async with serving(folder, {**SETTINGS, **settings}, command=COMMAND) as server:
        yield Controls(server)
