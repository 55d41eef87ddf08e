"""The curl commands of the how-to of stored audio do what it says, with the key that it asks for."""

from __future__ import annotations

import re
import shutil
import zipfile
from pathlib import Path

import pytest
import trio

from api_keys import MADE
from interview_edge.client import EdgeHttp, open_ingest
from server_process import SERVE, environment, serving

HOW_TO = Path(__file__).parents[2] / "docs/how-to/manage-storage.md"
SERVER_IN_DOCS = "http://127.0.0.1:8080"


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
async def test_the_commands_of_manage_storage_run(tmp_path: Path) -> None:
    blocks = re.findall(r"^```console\n(.*?)^```", HOW_TO.read_text(), re.MULTILINE | re.DOTALL)
    commands = "".join(blocks)
    assert commands.count("curl ") > 8
    async with serving(tmp_path / "server", {}) as server:
        key = await make_admin(tmp_path / "server")
        async with open_ingest(server.url, "interview-1", api_key=key) as ingest:
            for _ in range(3):
                await ingest.send(bytes(32_000))
            await ingest.drain()
        async with EdgeHttp(server.url, api_key=key) as edge:
            await edge.finalize("interview-1")
            # Each must succeed (-f), and says nothing but what it answers.
            script = commands.replace(SERVER_IN_DOCS, server.url).replace("curl ", "curl -sSf ")
            ran = await trio.run_process(
                ["sh", "-e"],
                stdin=script.encode(),
                cwd=tmp_path,
                env=environment({}) | {"KEY": key},
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )
            assert ran.returncode == 0, ran.stderr.decode()
            assert (await edge.files("local"))["totalFiles"] == 0
    assert (tmp_path / "00000001.pcm").read_bytes() == bytes(32_000)
    for name, files in (("interview-1.zip", 4), ("some.zip", 2)):
        with zipfile.ZipFile(tmp_path / name) as archive:
            assert len(archive.namelist()) == files + 1  # and the manifest


async def make_admin(folder: Path) -> str:
    """A key of scope `admin`, made as docs/how-to/keys.md has it."""
    command = [*SERVE[:-1], "keys", "create", "--name", "operator", "--scopes", "admin"]
    made = await trio.run_process(
        [*command, "--data-dir", str(folder / "data")],
        env=environment({}),
        capture_stdout=True,
        capture_stderr=True,
    )
    key = made.stdout.decode().split()[0]
    MADE.add(key.split("_", 2)[2])
    return key
