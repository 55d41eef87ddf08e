"""At a node with keys: signing in, and what happens to a recording when the key is taken away."""

from __future__ import annotations

from browser.conftest import Visits
from browser.node_process import NodeProcess


def test_a_key_opens_the_recorder_and_is_kept_nowhere(own_node: NodeProcess, visit: Visits) -> None:
    key = own_node.give_key("ingest", "sessions")
    own_node.kill()
    own_node.start()
    page = visit()
    page.page.goto(page.origin + "/audio-storage-test")
    page.page.wait_for_selector("#sign-in:visible")
    assert page.page.is_disabled("#start")
    page.page.fill("#key", "ie_0000000000000000_" + "x" * 43)
    page.page.keyboard.press("Enter")
    page.wait_for(lambda: page.page.inner_text("#sign-in-problem") == "This key isn't valid.")
    page.page.fill("#key", key)
    page.page.keyboard.press("Enter")
    page.page.wait_for_selector("#start:not(:disabled)")
    assert "Files are for administrators" in page.page.inner_text("#files")
    page.record()
    page.wait_until_captured(1)
    page.stop()
    page.page.click("#finalize")
    page.page.wait_for_selector("#result:visible")

    secret = key.split("_", 2)[2]
    kept = "JSON.stringify([localStorage, sessionStorage]) + document.cookie + document.body.innerHTML"
    assert secret not in page.page.evaluate(kept)
    assert page.page.input_value("#key") == ""
    assert secret not in own_node.log
    page.check(but="401")  # Chromium's word on who one is before, and on the wrong key


def test_signed_out_by_a_revocation_the_recording_waits_for_another_key(
    own_node: NodeProcess, visit: Visits
) -> None:
    first, second = own_node.give_key("ingest", "sessions"), own_node.give_key("ingest", "sessions", "admin")
    own_node.kill()
    own_node.start()
    page = visit()
    page.page.goto(page.origin + "/audio-storage-test")
    page.page.fill("#key", first)
    page.page.keyboard.press("Enter")
    page.page.wait_for_selector("#start:not(:disabled)")
    page.record()
    page.wait_until_captured(1)
    own_node.revoke(first)
    page.page.wait_for_selector("#sign-in:visible")
    page.wait_for(lambda: page.seconds("unacked") > 0)
    assert page.page.inner_text("#state").startswith("Recording, signed out")
    page.page.fill("#key", second)
    page.page.keyboard.press("Enter")
    page.wait_until_acked()
    page.stop()
    page.check(but="401")
