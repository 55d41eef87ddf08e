"""schemathesis, over everything that /openapi.json documents, against a real server: it finds nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import httpx
import trio

from inference_api import InferenceApi
from interview_edge.client import open_ingest
from nodes import second
from openai_api import KEY, open_openai_api
from server_process import SERVE, environment, serving

HERE = Path(__file__).parent
SEED = 20261127
PATIENCE = 300.0  # seconds, for a machine that does other things
# Its own limits would be all that it finds: it is the one client of this server, and in a hurry.
SETTINGS: dict[str, object] = {
    "EDGE_KEY_RATE": 0,
    "EDGE_IP_RATE": 0,
    "EDGE_MAX_FAILED_AUTH": 1_000_000,
    "EDGE_REALTIME_MINTS_A_DAY": 1_000_000,
    "EDGE_JOURNAL_MIN_FREE_BYTES": 0,
}


async def make_key(folder: Path, scopes: str) -> str:
    command = [*SERVE[:-1], "keys", "create", "--name", "schemathesis", "--owner", "alice"]
    made = await trio.run_process(
        [*command, "--scopes", scopes, "--data-dir", str(folder / "data")],
        env=environment(SETTINGS),
        capture_stdout=True,
        capture_stderr=True,
    )
    return made.stdout.decode().split()[0]


async def record(url: str, key: str) -> None:
    """Two seconds of the session that schemathesis.toml names."""
    async with open_ingest(url, "recorded", api_key=key) as ingest:
        for seq in (1, 2):
            await ingest.send(second(seq))


async def run_schemathesis(
    url: str, folder: Path, *arguments: str, spare_key: str
) -> subprocess.CompletedProcess[bytes]:
    command: Sequence[str] = [
        *(sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()"),
        *("--config-file", str(HERE / "schemathesis.toml"), "run", f"{url}/openapi.json"),
        *("--seed", str(SEED), "--generation-database", "none", "--no-color", *arguments),
    ]
    with trio.fail_after(PATIENCE):
        return await trio.run_process(
            command,
            cwd=folder,
            env=os.environ
            | {"SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(HERE)}
            | {"SPARE_KEY_ID": spare_key.split("_")[1]},
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )


def found_nothing(run: subprocess.CompletedProcess[bytes]) -> bool:
    """What it said is shown where it found something."""
    print(run.stdout.decode(), run.stderr.decode())
    return run.returncode == 0


async def test_with_every_right_it_finds_nothing(tmp_path: Path, nursery: trio.Nursery) -> None:
    inference = InferenceApi()
    await nursery.start(inference.serve)
    async with open_openai_api() as openai:
        key, spare = await make_key(tmp_path, "admin"), await make_key(tmp_path, "ingest")
        providers = {
            "INFERENCE_BASE_URL": inference.url,
            "OPENAI_BASE_URL": openai.url,
            "OPENAI_API_KEY": KEY,
        }
        async with serving(tmp_path, SETTINGS | providers) as server:
            await record(server.url, key)
            header = f"Authorization: Bearer {key}"
            run = await run_schemathesis(
                server.url, tmp_path, "-H", header, "--max-examples", "5", spare_key=spare
            )
            assert found_nothing(run)
            async with httpx.AsyncClient(headers={"x-api-key": key}) as client:
                me = await client.get(f"{server.url}/auth/me")
            assert me.status_code == 200, "it revoked its own key on the way: the rest found nothing but 401"


async def test_without_a_credential_it_finds_nothing(tmp_path: Path) -> None:
    spare = await make_key(tmp_path, "ingest")
    async with serving(tmp_path, SETTINGS) as server:
        run = await run_schemathesis(
            server.url, tmp_path, "--phases", "fuzzing", "--max-examples", "3", spare_key=spare
        )
        assert found_nothing(run)
        async with httpx.AsyncClient() as client:
            refused = await client.get(f"{server.url}/v1/sessions")
        assert refused.status_code == 401
