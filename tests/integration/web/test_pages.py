"""The pages as files: served as they are, by name only, with a policy that lets nothing else in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import interview_edge.web
from asgi_calls import call
from interview_edge.web.page_resource import read_pages
from nodes import OpenNode

FOLDER = Path(interview_edge.web.__file__).parent / "pages"
PAGES = read_pages()
LANGUAGES = {name: json.loads(PAGES["locales", f"{name}.json"].data) for name in ("en", "zh")}
PARTS = [key for key in PAGES if key[0]]


def sources(kind: str) -> Iterator[str]:
    return (file.data.decode() for (_, name), file in PAGES.items() if name.endswith(f".{kind}"))


@pytest.mark.parametrize("path", ["/audio-storage-test", "/console"])
async def test_a_page_runs_only_what_is_ours(open_node: OpenNode, path: str) -> None:
    async with open_node() as edge:
        answer = await call(edge.asgi_app, "GET", path)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; ")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "microphone=(self)" in answer.headers["permissions-policy"]
    page = answer.body.decode()
    assert not re.search(r"<script[^>]*>[^<]|\son\w+=|style=|javascript:", page)


@pytest.mark.parametrize("root_path", ["", "/edge"])
async def test_the_root_leads_to_the_console(open_node: OpenNode, root_path: str) -> None:
    async with open_node() as edge:
        answer = await call(edge.asgi_app, "GET", f"{root_path}/", root_path=root_path)
    assert (answer.status, answer.headers["location"]) == (
        307,
        "console",
    )  # beside it, wherever it is mounted


@pytest.mark.parametrize("path", ["/health", "/docs", "/pages/record/page.js"])
async def test_nothing_else_may_use_the_microphone(open_node: OpenNode, path: str) -> None:
    async with open_node() as edge:
        answer = await call(edge.asgi_app, "GET", path)
    assert "microphone=()" in answer.headers["permissions-policy"]


async def test_every_part_is_served_with_its_type_and_asked_for_once(open_node: OpenNode) -> None:
    types = {
        "js": "text/javascript; charset=utf-8",
        "css": "text/css; charset=utf-8",
        "json": "application/json; charset=utf-8",
        "svg": "image/svg+xml",
    }
    async with open_node() as edge:
        for folder, name in PARTS:
            path = f"/pages/{folder}/{name}"
            answer = await call(edge.asgi_app, "GET", path)
            assert answer.status == 200
            assert answer.body == (FOLDER / folder / name).read_bytes()
            assert answer.headers["content-type"] == types[name.rpartition(".")[2]]
            assert answer.headers["cache-control"] == "no-cache"
            again = await call(
                edge.asgi_app, "GET", path, headers={"if-none-match": f'"x", W/{answer.headers["etag"]}'}
            )
            assert (again.status, again.body, again.headers["etag"]) == (304, b"", answer.headers["etag"])


@pytest.mark.parametrize(
    "path",
    [
        "/pages/style/nothing.css",
        "/pages/style/..%2Frecorder.html",
        "/pages/..%2Fstyle/page.css",
        "/pages/%2E%2E/page_resource.py",
        "/pages/style/%2Fetc%2Fpasswd",
        "/pages/%00/page.css",
    ],
)
async def test_only_what_is_in_the_folder_is_served(open_node: OpenNode, path: str) -> None:
    async with open_node() as edge:
        answer = await call(edge.asgi_app, "GET", path)
    assert (answer.status, answer.json()["code"]) == (404, "page_file_not_found")


@pytest.mark.parametrize(
    "path",
    ["/pages", "/pages/", "/pages/style", "/pages/style/", "/pages/style/page.css/", "/pages//recorder.html"],
)
async def test_folders_are_nothing(open_node: OpenNode, path: str) -> None:
    async with open_node() as edge:
        answer = await call(edge.asgi_app, "GET", path)
    assert answer.status == 404


def test_languages_say_the_same_things() -> None:
    assert LANGUAGES["en"].keys() == LANGUAGES["zh"].keys()
    for key, text in LANGUAGES["en"].items():
        names = sorted(re.findall(r"\{\w+\}", text))
        assert sorted(re.findall(r"\{\w+\}", LANGUAGES["zh"][key])) == names, key


def test_every_text_of_the_pages_is_there_and_none_else() -> None:
    named = {key for page in sources("html") for key in re.findall(r'data-(?:text|label)="([^"]+)"', page)}
    literal = {key for script in sources("js") for key in re.findall(r'"([a-z]+\.[a-z_]+)"', script)}
    patterns = {start for script in sources("js") for start in re.findall(r"say\(`([a-z]+\.)\$\{", script)}
    known = set(LANGUAGES["en"])
    computed = {key for key in known if key.startswith(tuple(patterns))}
    assert named <= known
    assert known - named - literal - computed == {"seconds"}


def test_the_english_of_the_pages_is_that_of_their_texts() -> None:
    """What stands there until the texts are loaded."""
    for page in sources("html"):
        for key, text in re.findall(r'data-text="([^"]+)"[^>]*>([^<]*)<', page):
            assert text == LANGUAGES["en"][key]


async def test_health_s_checks_have_names(open_node: OpenNode) -> None:
    async with open_node() as edge:
        checks = (await call(edge.asgi_app, "GET", "/health")).json()["checks"]
    assert {f"check.{name}" for name in checks} <= LANGUAGES["en"].keys()


def test_modules_import_only_modules_that_are_there() -> None:
    for (folder, name), file in PAGES.items():
        for target in re.findall(r'(?:from|import\()\s*"([^"]+)"', file.data.decode() if folder else ""):
            if name.endswith(".js"):
                path = (FOLDER / folder / target).resolve().relative_to(FOLDER)
                assert (path.parent.name, path.name) in PAGES, f"{folder}/{name} imports {target}"
