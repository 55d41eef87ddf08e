"""Real Chromium records speech; whatever happens to server, network and page, every second arrives."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile

from browser.alignment import Samples, align, write_speech
from browser.conftest import SPEECH, Visits
from browser.node_process import NodeProcess
from browser.visits import Visit, microphone_playing
from interview_edge.core.pcm import CHUNK_BYTES, SAMPLE_RATE

# Chromium's own word on each attempt to reach a server that isn't there; a page can't keep it from saying so.
NO_SERVER = "ERR_CONNECTION_REFUSED"
NO_NETWORK = "ERR_INTERNET_DISCONNECTED"
TAIL = 1  # seconds that are recorded after the speech is over


def stored(node: NodeProcess, session_id: str) -> bytes:
    """The finished WAV's samples, s16le."""
    answer = httpx.get(f"{node.url}/v1/sessions/{session_id}/audio").raise_for_status()
    assert answer.headers["x-missing-seconds"] == "0"
    samples, rate = soundfile.read(io.BytesIO(answer.content), dtype="int16")
    assert rate == 16_000
    return samples.tobytes()


def finish(visit: Visit) -> bytes:
    """Stop and finalize; what the page captured, whole."""
    visit.stop()
    assert visit.seconds("unacked") == visit.seconds("missing") == 0
    visit.page.click("#finalize")
    visit.page.wait_for_selector("#result:visible")
    assert "nothing is missing" in visit.page.inner_text("#finish-text")
    chunks = visit.captured()
    assert list(chunks) == list(range(1, len(chunks) + 1))
    return b"".join(chunks.values())


def leave(visit: Visit) -> bytes:
    """What the page has captured when it is left. (A second that is full just then may be kept or not.)"""
    captured = b"".join(visit.captured().values())
    visit.page.goto("about:blank")
    return captured


def record_over_a_kill(node: NodeProcess, browser: Any, played: Samples, seconds: int) -> None:
    visit = Visit.begin(browser.new_context(), node.url)
    visit.open()
    session_id = visit.record()
    visit.wait_until_captured(seconds // 2)
    node.kill()
    visit.wait_for(lambda: visit.seconds("unacked") >= 2)
    assert "not connected" in visit.page.inner_text("#state")
    node.start()
    visit.wait_until_acked()
    assert "Recording, connected" in visit.page.inner_text("#state")
    visit.wait_until_captured(seconds + TAIL)
    captured = finish(visit)
    assert "reconnected: 1" in visit.page.inner_text("#capture-note")
    visit.check(but=NO_SERVER)
    assert stored(node, session_id) == captured

    found = align(played, np.frombuffer(captured, "<i2").astype(np.float64))
    assert set(found.drift) == {0}, "a stretch is missing or repeated"
    assert min(found.likeness) >= 0.99
    assert abs(found.offset) < SAMPLE_RATE / 10, "a microphone is open a moment before the page has it"


@pytest.mark.parametrize("seconds", [12, pytest.param(60, marks=pytest.mark.long)])
def test_a_recording_outlives_a_killed_server(
    own_node: NodeProcess, playwright: Any, tmp_path: Path, seconds: int
) -> None:
    played = write_speech(tmp_path / "played.wav", SPEECH, seconds)
    with microphone_playing(playwright, tmp_path / "played.wav") as browser:
        record_over_a_kill(own_node, browser, played, seconds)


def test_browsers_without_a_track_processor_record_through_an_audio_graph(
    own_node: NodeProcess, playwright: Any, tmp_path: Path
) -> None:
    """As Firefox and Safari do. On a busy machine the graph may slip, so this asks for less."""
    played = write_speech(tmp_path / "played.wav", SPEECH, 5)
    with microphone_playing(playwright, tmp_path / "played.wav") as browser:
        context = browser.new_context()
        context.add_init_script("delete globalThis.MediaStreamTrackProcessor")
        visit = Visit.begin(context, own_node.url)
        visit.open()
        session_id = visit.record()
        visit.wait_until_captured(6)
        captured = finish(visit)
        visit.check()
    assert stored(own_node, session_id) == captured
    found = align(played, np.frombuffer(captured, "<i2").astype(np.float64))
    assert np.median(found.likeness) >= 0.95


def test_seconds_wait_in_the_browser_while_the_network_is_gone(own_node: NodeProcess, visit: Visits) -> None:
    page = visit()
    page.open()
    session_id = page.record()
    page.wait_until_captured(2)
    page.page.context.set_offline(True)
    page.wait_for(lambda: page.seconds("unacked") >= 3)
    page.page.context.set_offline(False)
    page.wait_until_acked()
    captured = finish(page)
    page.check(but=NO_NETWORK)
    assert stored(own_node, session_id) == captured


def test_a_reloaded_page_goes_on_where_the_recording_was(own_node: NodeProcess, visit: Visits) -> None:
    page = visit()
    page.open()
    session_id = page.record()
    page.wait_until_captured(2)
    own_node.kill()
    page.wait_for(lambda: page.seconds("unacked") >= 2)
    own_node.start()
    before = leave(page)
    page.open()
    unfinished = page.page.locator("#unfinished-list li")
    assert session_id in unfinished.inner_text()
    unfinished.get_by_role("button", name="Continue recording").click()
    page.wait_until_captured(2)
    page.stop()
    assert page.page.locator("#unfinished").is_hidden()
    after = page.captured()
    page.check(but=NO_SERVER)
    held = stored(own_node, session_id)
    assert held.startswith(before)
    assert held.endswith(b"".join(after.values()))
    assert len(held) // CHUNK_BYTES + 1 == max(after)


def test_what_a_reloaded_page_finds_can_be_sent_and_ended(own_node: NodeProcess, visit: Visits) -> None:
    page = visit()
    page.open()
    session_id = page.record()
    page.wait_until_captured(1)
    own_node.kill()
    page.wait_for(lambda: page.seconds("unacked") >= 2)
    own_node.start()
    before = leave(page)
    page.open()
    page.page.get_by_role("button", name="Send the rest and end it").click()
    page.page.wait_for_selector("#finish:visible")
    page.check(but=NO_SERVER)
    assert stored(own_node, session_id).startswith(before)
    page.open()
    assert page.page.locator("#unfinished").is_hidden()


def test_a_session_that_the_server_won_t_have_is_kept_and_another_can_begin(
    visit: Visits, node: NodeProcess
) -> None:
    with httpx.Client(base_url=node.url) as http:
        http.post("/v1/sessions/gone/finalize").raise_for_status()
        http.delete("/v1/sessions/gone").raise_for_status()
    page = visit()
    page.open()
    page.page.fill("#session", "gone")
    page.record()
    page.wait_until_captured(1)
    page.wait_for(lambda: "doesn't take this session" in page.page.inner_text("#state"))
    page.page.click("#stop")
    page.page.wait_for_selector("#start:not(:disabled)")
    page.page.wait_for_selector("#unfinished-list li")
    with page.page.expect_download() as download:
        page.page.get_by_role("button", name="Save what is kept here").click()
    samples, rate = soundfile.read(download.value.path(), dtype="int16")
    assert (samples.tobytes(), rate) == (b"".join(page.captured().values()), SAMPLE_RATE)
    page.page.get_by_role("button", name="Discard").click()
    page.page.click("#confirm button[value=yes]")
    page.page.wait_for_selector("#unfinished", state="hidden")
    page.check(but="")
