"""What is said stands in the page as it is written: once, in order, over everything that goes wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from browser.conftest import Visits
from browser.node_process import NodeProcess
from browser.speech_api import SpeechApi, speech_api
from browser.test_page import OVERFLOW, PHONE, TEXTS
from browser.visits import Visit

MARKUP = "<b>x</b><img src=x onerror=alert(1)>"
NO_SERVER = "ERR_CONNECTION_REFUSED"


@pytest.fixture
def api() -> Iterator[SpeechApi]:
    with speech_api(lambda n: f"{MARKUP} {n}") as serving:
        yield serving


@pytest.fixture
def own_node(tmp_path: Path, api: SpeechApi) -> Iterator[NodeProcess]:
    process = NodeProcess(
        tmp_path / "node",
        EDGE_TRANSCRIPTION_BASE_URL=api.url,
        EDGE_TRANSCRIPTION_PARTIALS=0.5,
        EDGE_TRANSCRIPTION_LATE_AFTER=1,
    )
    process.start()
    yield process
    process.kill()


def shown(page: Visit) -> list[str]:
    return page.page.locator("#transcript-lines .said").all_inner_texts()


def record(node: NodeProcess, session_id: str) -> dict[str, Any]:
    """The server's own transcript."""
    found: dict[str, Any] = httpx.get(f"{node.url}/v1/sessions/{session_id}/transcript").json()
    return found


def wait_until_written(page: Visit, node: NodeProcess, session_id: str) -> list[str]:
    """Until the page shows what the server's record says; answers the lines."""

    def agree() -> bool:
        found = record(node, session_id)
        return (
            found["waiting"] == 0
            and len(found["lines"]) > 0
            and shown(page) == [line["text"] for line in found["lines"]]
        )

    page.wait_for(agree)
    return shown(page)


def test_what_is_said_is_shown_as_text_first_provisional_then_for_good(
    own_node: NodeProcess, visit: Visits
) -> None:
    page = visit()
    page.open()
    page.page.wait_for_selector("#transcript:visible")
    assert page.page.inner_text("#transcript-note") == TEXTS["en"]["transcript.empty"]
    session_id = page.record()
    page.page.wait_for_selector("#transcript-now .said:visible")
    assert MARKUP in page.page.inner_text("#transcript-now")
    page.wait_for(lambda: len(shown(page)) > 0)
    log = page.page.locator("#transcript-log")
    assert (log.get_attribute("role"), log.get_attribute("aria-live")) == ("log", "polite")
    assert page.page.locator("#transcript-log #transcript-now").count() == 0, "partials aren't read aloud"
    page.page.select_option("#language", "zh")
    page.wait_for(lambda: page.page.inner_text("#transcript-title") == TEXTS["zh"]["transcript.title"])
    page.stop()
    page.page.click("#finalize")
    page.page.wait_for_selector("#result:visible")  # it ends what was being said, too
    lines = wait_until_written(page, own_node, session_id)
    assert all(line.startswith(MARKUP) for line in lines)
    assert page.page.locator("#transcript b, #transcript img").count() == 0
    assert page.page.inner_text("#transcript-lines li:first-child .at").startswith("0:0")
    page.wait_for(lambda: page.page.locator("#transcript-now > *").count() == 0)
    page.check()


def test_after_a_kill_and_a_reload_every_line_is_there_once(own_node: NodeProcess, visit: Visits) -> None:
    page = visit()
    page.open()
    session_id = page.record()
    page.wait_for(lambda: len(shown(page)) > 0)
    own_node.kill()
    page.wait_for(lambda: page.seconds("unacked") >= 2)
    own_node.start()
    page.wait_until_acked()
    page.page.goto("about:blank")
    page.open()
    assert shown(page) == []
    page.page.get_by_role("button", name="Continue recording").click()
    page.wait_for(lambda: len(shown(page)) > 0)
    page.wait_until_captured(2)
    page.stop()
    wait_until_written(page, own_node, session_id)
    page.check(but=NO_SERVER)


def test_late_lines_are_said_to_be_and_come_after_the_recording(
    own_node: NodeProcess, visit: Visits, api: SpeechApi
) -> None:
    api.open.clear()
    page = visit(**PHONE)
    page.open()
    session_id = page.record()
    note = "#transcript-note"
    page.wait_for(lambda: page.page.inner_text(note).startswith("Lines still being written: "))
    assert page.page.evaluate(OVERFLOW) == 0
    page.stop()
    assert shown(page) == []
    api.open.set()
    wait_until_written(page, own_node, session_id)
    page.wait_for(lambda: page.page.inner_text(note) == "")
    assert page.page.evaluate(OVERFLOW) == 0
    page.check()


def test_a_key_that_only_records_sees_lines_while_it_does(own_node: NodeProcess, visit: Visits) -> None:
    key = own_node.give_key("ingest")
    own_node.kill()
    own_node.start()
    page = visit()
    page.page.goto(page.origin + "/audio-storage-test")
    page.page.fill("#key", key)
    page.page.keyboard.press("Enter")
    page.page.wait_for_selector("#start:not(:disabled)")
    page.record()
    page.wait_for(lambda: len(shown(page)) > 0)
    page.stop()
    page.check(but="401")


def test_a_node_without_a_transcriber_says_so(node: NodeProcess, visit: Visits) -> None:
    page = visit()
    page.open()
    page.page.wait_for_selector("#transcript:visible")
    assert page.page.inner_text("#transcript-note") == TEXTS["en"]["transcript.none"]
    page.check()
