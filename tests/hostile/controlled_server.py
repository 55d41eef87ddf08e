"""A real server process whose store can be taken away, and that tells what it holds.

Each line on stdin is a command; each answer is a line of JSON on stdout: `outage` and `recover` switch the
store, `look` changes nothing.
"""

from __future__ import annotations

import json
import os
import sys

import trio

from interview_edge.backends import open_backend
from interview_edge.cli.settings_sources import load_settings
from interview_edge.logs import configure_logs
from interview_edge.serving import Server, open_server
from interview_edge.settings import Settings
from interview_edge.testing import FaultyBackend


def holdings(server: Server) -> dict[str, int]:
    """What this process holds at the moment. `tasks` are trio's, of the whole process."""
    return {
        "tasks": trio.lowlevel.current_statistics().tasks_living,
        "sockets": len(server.edge.sockets),
        "sessions": len(server.edge.registry),
        "journalled": server.edge.parts.journal.stats.rows,
        "queued_bytes": server.edge.parts.journal.stats.queued_bytes,
    }


async def serve_and_obey(settings: Settings) -> None:
    async with open_backend(settings.storage_url) as inner:
        backend = FaultyBackend(inner)
        async with open_server(settings, backend=backend) as server:
            print("listens on", server.url, flush=True)
            async for line in trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())):
                command = line.strip().decode()
                if command != "look":
                    backend.outage = command == "outage"
                print(json.dumps(holdings(server)), flush=True)


if __name__ == "__main__":
    _, _, port, _, data_dir = sys.argv
    settings = load_settings({"port": int(port), "data_dir": data_dir}, os.environ, None)
    configure_logs(settings)
    trio.run(serve_and_obey, settings)
