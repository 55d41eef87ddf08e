"""The servers under test, each in a process of its own, and what the kernel says about one."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import attrs

START_TIMEOUT = 30.0
SETTLE_TIMEOUT = 60.0
QUIET_SHARE = 0.03  # of a core: what a server without work uses at most

_PRODUCT = (
    sys.executable,
    "-c",
    "from interview_edge.cli import main; main()",
    "serve",
    "--host=127.0.0.1",
    "--port=0",
)
_ECHO = (sys.executable, "-m", "benchmarks.echo")
_ROOT = Path(__file__).resolve().parent.parent


class ServerFailed(Exception):
    """The server under test did not start, or did not come to rest."""


@attrs.frozen
class ServerProcess:
    """One running server. Its CPU and memory are its own process's: the client's are never in them."""

    pid: int
    url: str

    def cpu_seconds(self) -> float:
        """CPU that all its threads have used, those that ended included."""
        # The process's CPU clock: clock_getcpuclockid(3) makes the id in this way on Linux.
        return time.clock_gettime((~self.pid << 3) | 2)

    def memory_bytes(self) -> int:
        """Its proportional set size: resident memory, what it shares with other processes divided by them."""
        for line in Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
        raise ServerFailed(f"the kernel shows no memory for process {self.pid}")

    def settle(self, quiet: float = 0.2) -> None:
        """Wait until it has used no CPU to speak of for `quiet` seconds: what follows an ack is then done.

        Raises ServerFailed after a minute.
        """
        deadline = time.monotonic() + SETTLE_TIMEOUT
        while time.monotonic() < deadline:
            before = self.cpu_seconds()
            time.sleep(quiet)
            if self.cpu_seconds() - before < quiet * QUIET_SHARE:
                return
        raise ServerFailed(f"{self.url} still works {SETTLE_TIMEOUT:.0f} s after the last ack")


@contextmanager
def open_product(**settings: object) -> Iterator[ServerProcess]:
    """`interview-edge serve` on a free port and a temporary folder, with defaults but for `settings`.

    `settings` are environment variables by name. Killed at the end: the folder goes with it, so there is
    nothing to drain.
    """
    with tempfile.TemporaryDirectory(prefix="edge-bench-") as folder:
        # More sessions than a default node admits: rounds leave theirs open behind them.
        environment = {"EDGE_DATA_DIR": folder, "EDGE_LOG_LEVEL": "error", "EDGE_MAX_SESSIONS": "100000"}
        environment |= {name: str(value) for name, value in settings.items()}
        with _process(_PRODUCT, environment, Path(folder)) as server:
            yield server


@contextmanager
def open_echo(answer: str) -> Iterator[ServerProcess]:
    """The stock Quart-Trio echo; `answer` is `same`, `short` or `decoding` (see echo.py)."""
    with (
        tempfile.TemporaryDirectory(prefix="edge-bench-echo-") as folder,
        _process((*_ECHO, answer), {}, Path(folder)) as server,
    ):
        yield server


@contextmanager
def _process(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> Iterator[ServerProcess]:
    """Start `command`, wait for the URL that it prints, and kill it at the end."""
    log = folder / "stderr.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, env={**os.environ, **environment}, cwd=_ROOT
        )
    try:
        try:
            url = _read_url(process)
        except ServerFailed as error:
            raise ServerFailed(f"{error}: {log.read_text()[-2000:]}") from None
        yield ServerProcess(process.pid, url)
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _read_url(process: subprocess.Popen[bytes]) -> str:
    """The first URL on the process's standard output. Raises ServerFailed."""
    if process.stdout is None:
        raise ServerFailed("the server has no standard output")
    deadline = time.monotonic() + START_TIMEOUT
    output = b""
    while b"\n" not in output or b"http://" not in output:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
            raise ServerFailed(f"the server printed no URL within {START_TIMEOUT:.0f} s")
        part = os.read(process.stdout.fileno(), 4096)
        if not part:
            raise ServerFailed("the server ended at its start")
        output += part
    return next(word for word in output.decode().split() if word.startswith("http://"))
