"""For the browser tests: a server process without async code around it, to be killed and started again."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

from api_keys import MADE
from server_process import END_TIMEOUT, SERVE, environment


class NodeProcess:
    """One node on `folder/data`. It keeps its port over restarts, so that pages find it again."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self._folder = folder
        self._settings: dict[str, Any] = {"EDGE_JOURNAL_MIN_FREE_BYTES": 0} | settings
        self._process: subprocess.Popen[str] | None = None
        self._port = 0
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        return f"http://localhost:{self._port}"

    @property
    def log(self) -> str:
        """What it wrote to stderr, over all its starts."""
        return (self._folder / "server.log").read_text(errors="replace")

    def start(self) -> None:
        """Start, and wait until it listens."""
        data = str(self._folder / "data")
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*SERVE, "--port", str(self._port), "--data-dir", data],
                env=environment(self._settings),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        assert said, f"the server ended before it listened:\n{self.log}"
        self._port = int(said.split()[-1].rpartition(":")[2])

    def give_key(self, *scopes: str, owner: str = "local") -> str:
        """A new API key, by the command that operators use; a node that runs takes it within two seconds."""
        said = self._keys("create", "--name", "test", "--owner", owner, "--scopes", ",".join(scopes))
        found = re.search(r"\bie_[\w-]+", said)
        assert found, said
        MADE.add(found[0].split("_", 2)[2])
        return found[0]

    def revoke(self, key: str) -> None:
        self._keys("revoke", key.split("_")[1])

    def _keys(self, *command: str) -> str:
        """What `interview-edge keys ...` prints."""
        return subprocess.run(
            [*SERVE[:-1], "keys", *command, "--data-dir", str(self._folder / "data")],
            env=environment(self._settings),
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait(END_TIMEOUT)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process = None
