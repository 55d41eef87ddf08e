"""The page as people have it before them: in their language, on their screen, by keyboard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import interview_edge.web
from browser.conftest import Visits

LOCALES = Path(interview_edge.web.__file__).parent / "pages/locales"
TEXTS: dict[str, Any] = {name: json.loads((LOCALES / f"{name}.json").read_text()) for name in ("en", "zh")}
PHONE = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.mark.parametrize(("locale", "language"), [("zh-CN", "zh"), ("de-DE", "en")])
def test_the_page_speaks_the_visitor_s_language_or_english(visit: Visits, locale: str, language: str) -> None:
    page = visit(locale=locale)
    page.open()
    assert page.page.inner_text("#start") == TEXTS[language]["record.start"]
    assert page.page.title() == TEXTS[language]["recorder.title"]
    assert page.page.get_attribute("html", "lang") == {"zh": "zh-Hans", "en": "en"}[language]
    page.check()


def test_the_language_is_switched_at_once_and_remembered(visit: Visits) -> None:
    page = visit()
    page.open()
    page.page.select_option("#language", "zh")
    default = TEXTS["zh"]["record.microphone_default"]
    page.wait_for(lambda: page.page.inner_text("#microphone option:first-child") == default)
    ready = TEXTS["zh"]["state.ready"]
    page.wait_for(lambda: page.page.inner_text("#state") == ready)
    page.open()
    assert page.page.inner_text("#state") == ready
    assert page.page.input_value("#language") == "zh"
    page.check()


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("path", ["/audio-storage-test", "/console"])
def test_nothing_is_wider_than_a_phone(visit: Visits, language: str, path: str) -> None:
    page = visit(locale=language, **PHONE)
    page.page.goto(page.origin + path)
    page.page.wait_for_selector("#checks > div")
    assert page.page.evaluate(OVERFLOW) == 0
    if path != "/console":
        page.record()
        page.wait_until_captured(1)
        page.stop()
        page.page.click("#files-form button")
        page.page.wait_for_selector("#files-state:not(:empty)")
        assert page.page.evaluate(OVERFLOW) == 0
    page.check()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(visit: Visits, scheme: str) -> None:
    """WCAG AA: 4.5 to 1 for text, 3 to 1 for what a colour alone says."""
    page = visit(color_scheme=scheme)
    page.open()
    names = [
        "card",
        "ground",
        "fill",
        "ink",
        "quiet",
        "accent",
        "on-accent",
        "missing",
        "held",
        "sent",
        "waiting",
    ]
    colours = page.page.evaluate(
        """names => names.map(name => {
          const probe = document.createElement("i");
          probe.style.color = `var(--${name})`;
          document.body.append(probe);
          const rgb = getComputedStyle(probe).color.match(/\\d+/g).map(Number);
          probe.remove();
          return rgb;
        })""",
        names,
    )
    of = dict(zip(names, colours, strict=True))
    for text, ground in [
        ("ink", "card"), ("ink", "ground"), ("ink", "fill"), ("quiet", "card"), ("accent", "card"),
        ("on-accent", "accent"), ("missing", "card"), ("held", "card"),
    ]:  # fmt: skip
        assert contrast(of[text], of[ground]) >= 4.5, (text, ground)
    for mark in ("held", "sent", "waiting", "missing"):
        assert contrast(of[mark], of["card"]) >= 3 or mark == "waiting", mark
    dark = contrast(of["ground"], [0, 0, 0]) < contrast(of["ground"], [255, 255, 255])
    assert dark == (scheme == "dark")


def contrast(one: list[int], other: list[int]) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(rgb: list[int]) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in rgb)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_a_recording_needs_no_mouse(visit: Visits) -> None:
    page = visit()
    page.open()
    keys = page.page.keyboard

    def reach(element_id: str) -> None:
        for _ in range(30):
            keys.press("Tab")
            if page.page.evaluate("document.activeElement.id") == element_id:
                outline = "getComputedStyle(document.activeElement).outlineStyle"
                assert page.page.evaluate(outline) == "solid", "one must see where one is"
                return
        raise AssertionError(f"Tab doesn't lead to #{element_id}")

    reach("start")
    keys.press("Enter")
    page.wait_until_captured(1)
    assert page.page.evaluate("document.activeElement.id") == "stop", "where one goes on from"
    keys.press("Enter")
    page.page.wait_for_selector("#finish:visible")
    assert page.page.evaluate("document.activeElement.id") == "finalize"
    keys.press("Enter")
    page.page.wait_for_selector("#result:visible")
    page.check()


def test_every_control_has_a_name(visit: Visits) -> None:
    page = visit()
    page.open()
    unnamed = page.page.evaluate(
        """[...document.querySelectorAll("input, select, button, a, canvas[role], [role=meter]")].filter(
          element => !(element.getAttribute("aria-label") || element.labels?.length ||
            element.textContent.trim())).map(element => element.outerHTML)"""
    )
    assert [html for html in unnamed if 'id="window"' not in html] == []  # it is named once there are seconds
    assert page.page.get_attribute("#state", "aria-live") == "polite"


def test_the_console_says_how_the_node_is_and_leads_to_the_rest(visit: Visits) -> None:
    page = visit()
    page.page.goto(page.origin + "/console")
    page.page.wait_for_selector("#checks > div")
    assert "All well" in page.page.inner_text("#health-state")
    for link in page.page.eval_on_selector_all("a[href]", "links => links.map(link => link.href)"):
        assert page.page.request.get(link).ok
    page.check()
