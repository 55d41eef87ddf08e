"""The start on an address that others reach: refused until somebody has to show a key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from api_keys import give_key, revoke
from interview_edge.app import open_edge
from interview_edge.catalog import CatalogUnavailable, holds_keys
from interview_edge.cli.doctor import examine
from interview_edge.cli.doctor_findings import Verdict
from interview_edge.serving import open_server
from interview_edge.settings import Settings, SettingsError
from server_process import start

JWT = {"jwt_secret": "s" * 32, "jwt_audience": "edge", "jwt_issuer": "https://id.example.com"}


def exposed(folder: Path, **more: Any) -> Settings:
    defaults: dict[str, Any] = {"host": "0.0.0.0", "port": 0, "journal_min_free_bytes": 0}  # noqa: S104
    return Settings(**({"data_dir": folder} | defaults | more))


async def starts(settings: Settings) -> bool:
    with trio.fail_after(20):
        try:
            async with open_server(settings):
                return True
        except SettingsError:
            return False


async def test_a_start_without_keys_is_refused_and_one_with_a_key_is_not(tmp_path: Path) -> None:
    assert not await starts(exposed(tmp_path))
    async with open_edge(exposed(tmp_path)) as edge:
        key = await give_key(edge, "admin")
    assert await starts(exposed(tmp_path))
    async with open_edge(exposed(tmp_path)) as edge:
        await revoke(edge, key)
    assert await starts(exposed(tmp_path))  # a revoked key still guards


async def test_the_command_says_how_to_make_a_key(tmp_path: Path) -> None:
    process = await start(tmp_path, {"EDGE_HOST": "0.0.0.0", "EDGE_JOURNAL_MIN_FREE_BYTES": 0})  # noqa: S104
    with trio.fail_after(60):
        assert await process.wait() == 2
    assert process.stdin is not None
    assert process.stdout is not None
    await process.stdin.aclose()
    await process.stdout.aclose()
    assert "interview-edge keys create" in (tmp_path / "server.log").read_text()


@pytest.mark.parametrize("more", [{"insecure": True}, JWT, {"host": "127.0.0.1"}])
async def test_a_start_without_keys_that_may_be(tmp_path: Path, more: dict[str, Any]) -> None:
    assert await starts(exposed(tmp_path, **more))


async def host_verdict(settings: Settings) -> Verdict:
    return {item.check: item.verdict for item in await examine(settings)}["host"]


async def test_the_doctor_says_what_the_start_would(tmp_path: Path) -> None:
    settings = exposed(tmp_path)
    assert await host_verdict(settings) is Verdict.FAILED
    assert not (tmp_path / "catalog.db").exists()
    async with open_edge(settings) as edge:
        assert await host_verdict(settings) is Verdict.FAILED
        await give_key(edge, "admin")
        assert await host_verdict(settings) is Verdict.OK  # beside the live node
    assert await host_verdict(settings) is Verdict.OK
    assert await host_verdict(exposed(tmp_path, insecure=True)) is Verdict.WARNING


def test_keys_are_looked_for_without_touching_the_file(tmp_path: Path) -> None:
    url = f"sqlite://{tmp_path}/catalog.db"
    assert not holds_keys(url)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "catalog.db").write_bytes(b"")
    assert not holds_keys(url)  # as an older version's
    (tmp_path / "catalog.db").write_bytes(b"no database" * 100)
    with pytest.raises(CatalogUnavailable):
        holds_keys(url)
