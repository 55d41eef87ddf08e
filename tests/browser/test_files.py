"""Stored files in the page: listed, played in place, downloaded, deleted, cleaned up."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
import soundfile
import trio

from browser.conftest import Visits
from browser.node_process import NodeProcess
from browser.visits import Visit
from interview_edge.client import EdgeHttp, open_ingest

SECONDS = 2


@pytest.fixture(scope="module", params=["chunks", "segments"])
def node(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    process = NodeProcess(tmp_path_factory.mktemp("node"), EDGE_LAYOUT=request.param)
    process.start()
    yield process
    process.kill()


@pytest.fixture
def listed(visit: Visits, node: NodeProcess) -> Visit:
    """A page that has recorded, and lists what came of it and nothing else."""
    for file in httpx.get(f"{node.url}/api/audio-storage/files/local").json()["data"]["files"]:
        httpx.delete(f"{node.url}/v1/sessions/{file['sessionId']}")
    page = visit(accept_downloads=True)
    page.open()
    page.record()
    page.wait_until_captured(SECONDS)
    page.stop()
    page.page.click("#finalize")
    page.page.wait_for_selector("#result:visible")
    assert page.page.input_value("#files-user") == "local"
    page.page.click("#files-form button")
    page.page.wait_for_selector("#files-rows tr")
    return page


def files_of(page: Visit) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = page.page.request.get(
        page.origin + "/api/audio-storage/files/local"
    ).json()["data"]["files"]
    return found


def pcm_of(file: Mapping[str, Any], data: bytes) -> bytes:
    if file["filename"].endswith(".pcm"):
        return data
    samples, _ = soundfile.read(io.BytesIO(data), dtype="int16")
    return bytes(samples.tobytes())


def test_files_are_played_where_they_stand(listed: Visit) -> None:
    listed.page.locator("#files-rows").get_by_role("button", name="Play").first.click()
    listed.wait_for(lambda: listed.page.evaluate("document.getElementById('files-audio').currentTime > 0"))
    listed.check()


def test_the_whole_session_is_played_after_recording(listed: Visit) -> None:
    seconds = len(b"".join(listed.captured().values())) / 32_000
    listed.page.evaluate("void document.getElementById('playback').play()")
    listed.wait_for(lambda: listed.page.evaluate("document.getElementById('playback').currentTime > 0"))
    assert listed.page.evaluate("document.getElementById('playback').duration") == pytest.approx(
        seconds, abs=0.01
    )
    listed.check()


def test_one_file_is_downloaded_as_it_is_stored(listed: Visit) -> None:
    with listed.page.expect_download() as download:
        listed.page.locator("#files-rows a").first.click()
    file = files_of(listed)[0]
    data = Path(download.value.path()).read_bytes()
    assert download.value.suggested_filename == file["filename"]
    assert len(data) == file["size"]
    assert sha256(pcm_of(file, data)).hexdigest() == file["sha256"]  # a file's is that of its PCM
    listed.check()


def test_selected_files_are_downloaded_as_a_zip(listed: Visit) -> None:
    listed.page.check("#files-all")
    with listed.page.expect_download() as download:
        listed.page.click("#files-zip")
    with zipfile.ZipFile(io.BytesIO(Path(download.value.path()).read_bytes())) as archive:
        lines = [json.loads(line) for line in archive.read("manifest.jsonl").splitlines()]
        assert archive.testzip() is None
        assert len(archive.namelist()) == len(files_of(listed)) + 1 == len(lines) + 1
    listed.check()


def test_files_are_deleted_only_once_it_is_confirmed(listed: Visit) -> None:
    before = len(files_of(listed))
    listed.page.check("#files-all")
    listed.page.click("#files-delete")
    listed.page.click("#confirm button[value=no]")
    assert len(files_of(listed)) == before
    listed.page.click("#files-delete")
    listed.page.click("#confirm button[value=yes]")
    listed.wait_for(lambda: listed.page.inner_text("#files-state") == f"Deleted: {before}")
    assert files_of(listed) == []
    assert listed.page.locator("#files-rows tr").count() == 0
    listed.check()


def test_cleaning_up_shows_first_what_would_go(listed: Visit) -> None:
    page = listed.page
    assert page.is_disabled("#cleanup-run")
    page.click("#cleanup-form button[type=submit]")
    listed.wait_for(lambda: page.inner_text("#cleanup-state").startswith("Files older than 30 days: 0,"))
    assert page.is_disabled("#cleanup-run"), "there is nothing to delete"
    for wrong in ("0", "366", "1.5", ""):
        page.fill("#cleanup-days", wrong)
        assert page.inner_text("#cleanup-state") == ""
        page.click("#cleanup-form button[type=submit]")
        assert page.evaluate("!document.getElementById('cleanup-days').checkValidity()")
    assert files_of(listed) != []
    listed.check()


async def record_streams(url: str, session_id: str) -> None:
    for stream in ("students", "teacher"):
        async with open_ingest(url, session_id, stream=stream) as ingest:
            await ingest.send(bytes(32_000))
            await ingest.drain()
    async with EdgeHttp(url) as edge:
        await edge.finalize(session_id)  # what is recorded is in the store now


@pytest.mark.parametrize("language", ["en", "zh"])
def test_two_streams_are_told_apart(visit: Visits, node: NodeProcess, language: str) -> None:
    session_id = f"lesson-{language}"
    trio.run(record_streams, node.url, session_id)
    page = visit(locale=language)
    page.open()
    page.wait_for(lambda: page.page.input_value("#files-user") == "local")
    page.page.press("#files-user", "Enter")  # while the page still grows, a click may miss its button
    rows = page.page.locator("#files-rows tr", has_text=session_id)
    page.wait_for(lambda: rows.count() == 2)

    assert [rows.nth(n).locator("td").nth(2).inner_text() for n in (0, 1)] == ["students", "teacher"]
    rows.nth(1).locator("button.danger").click()
    question = page.page.inner_text("#confirm-text")
    assert f"{session_id} · teacher · 1" in question
    assert "1 files" not in question
    page.page.click("#confirm button[value=no]")
    for n in (0, 1):
        rows.nth(n).locator("input").check()
    page.page.click("#files-delete")
    question = page.page.inner_text("#confirm-text")
    assert f"{session_id} · students, {session_id} · teacher" in question
    page.page.click("#confirm button[value=no]")
    page.check()
    httpx.delete(f"{node.url}/v1/sessions/{session_id}")
