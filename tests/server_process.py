"""For tests: the server as a process of its own, to be killed, starved and measured."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

from api_keys import MADE

SERVE = (sys.executable, "-c", "from interview_edge.cli import main; main()", "serve")
START_TIMEOUT = 60.0  # seconds: a busy machine starts slowly
END_TIMEOUT = 60.0


@attrs.frozen
class ServerProcess:
    """One server process that listens on `url`. `log` is what it wrote to stderr, over all its starts."""

    url: str
    process: trio.Process
    log: Path

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        return host, int(port)

    async def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        self.process.kill()
        await self.wait()

    async def terminate(self) -> int:
        """SIGTERM; answers the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return await self.wait()

    async def wait(self) -> int:
        with trio.fail_after(END_TIMEOUT):
            return await self.process.wait()

    def resident_bytes(self) -> int:
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


def environment(settings: dict[str, object]) -> dict[str, str]:
    """This process's environment with `settings` as EDGE_* (or contract) variables and no others of those."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("EDGE_", "AUDIO_STORAGE_", "INFERENCE_"))
    }
    return clean | {name: str(value) for name, value in settings.items()}


async def start(
    folder: Path, settings: dict[str, object], command: Sequence[str] = SERVE, port: int = 0
) -> trio.Process:
    """Start a server on `folder/data`; its URL is still to be read from its stdout."""
    with _log(folder).open("ab") as log:
        return await trio.lowlevel.open_process(
            [*command, "--port", str(port), "--data-dir", str(folder / "data")],
            env=environment(settings),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        )


@asynccontextmanager
async def serving(
    folder: Path, settings: dict[str, object], *, command: Sequence[str] = SERVE, port: int = 0
) -> AsyncIterator[ServerProcess]:
    """A server on `folder/data` that listens; killed at the end of the block if it still runs."""
    process = await start(folder, settings, command, port)
    log = _log(folder)
    try:
        yield ServerProcess(await _url(process, log), process, log)
    finally:
        process.kill()
        _check_log(log)
        with trio.CancelScope(shield=True, deadline=trio.current_time() + END_TIMEOUT):
            await process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    await pipe.aclose()


def _check_log(log: Path) -> None:
    """No key that a test has used stands in what the server logged."""
    text = log.read_text(errors="replace")
    assert not [secret for secret in MADE if secret in text], f"{log} holds a key"


def _log(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder / "server.log"


async def _url(process: trio.Process, log: Path) -> str:
    assert process.stdout is not None
    said = b""
    with trio.fail_after(START_TIMEOUT):
        while not said.endswith(b"\n"):
            more = await process.stdout.receive_some()
            assert more, f"the server ended before it listened; see {log}"
            said += more
    return said.split()[-1].decode()
