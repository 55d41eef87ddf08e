"""The client's part of the admin API, over a real socket."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import trio

from interview_edge.client import EdgeHttp, EdgeRequestError, open_ingest
from interview_edge.serving import open_server
from interview_edge.settings import Settings
from nodes import second


async def test_a_client_lists_downloads_deletes_and_cleans_up(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", port=0, journal_min_free_bytes=0, drain_timeout=2.0)
    with trio.fail_after(30):
        async with open_server(settings) as server, EdgeHttp(server.url) as edge:
            async with open_ingest(server.url, "a/b") as ingest:
                for seq in (1, 2):
                    await ingest.send(second(seq))
                await ingest.drain()
            await edge.finalize("a/b")
            assert (await edge.storage_stats())["totalFiles"] == 2
            first = await edge.files("local", limit=1)
            rest = await edge.files("local", limit=1, cursor=first["nextCursor"])
            keys = [page["files"][0]["key"] for page in (first, rest)]
            assert await edge.save_file(keys[1], tmp_path / "second") == 32_000
            assert (tmp_path / "second").read_bytes() == second(2)
            for wanted, count in ((keys, 3), ("a/b", 4)):  # each with its manifest
                size = await edge.save_zip(wanted, tmp_path / "some.zip")
                assert size == (tmp_path / "some.zip").stat().st_size
                with zipfile.ZipFile(tmp_path / "some.zip") as archive:
                    assert len(archive.namelist()) == count
            gone = await edge.delete_files([keys[0], "nothing"])
            assert (gone["deleted"], [each["path"] for each in gone["failed"]]) == ([keys[0]], ["nothing"])
            with pytest.raises(EdgeRequestError) as expired:
                await edge.save_file(keys[0], tmp_path / "first")
            assert (expired.value.status, expired.value.code) == (410, "chunk_expired")
            assert (await edge.clean_up(30, dry_run=True))["deletedFiles"] == 0
            with pytest.raises(EdgeRequestError) as wrong:
                await edge.clean_up(366)
            assert "maxAgeDays must be a whole number, 1..365" in str(wrong.value)
