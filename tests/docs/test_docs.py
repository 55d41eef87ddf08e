"""The documents say what is so: links lead somewhere, and every example in them works."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pybase64
import pytest
import trio

from interview_edge.cli.settings_sources import TomlSource, load_settings
from interview_edge.core.pcm import CHUNK_BYTES
from interview_edge.errors import EdgeError
from interview_edge.web.access_schemas import ACCESS_SCHEMAS
from interview_edge.web.asyncapi import SERVER_FRAMES
from interview_edge.web.state_lane_resource import parse_resolve
from interview_edge.wire import browser_dialect, chunk_dialect
from interview_edge.wire.auth_frame import decode_auth
from interview_edge.wire.browser_frames import AudioChunk
from server_process import environment, serving

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
# A first run imports the whole server on a busy machine.
EXAMPLE_SECONDS = 60
SERVER_IN_DOCS = "http://127.0.0.1:8080"
SOCKETS_IN_DOCS = "ws://127.0.0.1:8080"

_LINK = re.compile(r"(?<!`)\[[^\]\n]*\]\(([^)\s]+)\)")
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def name(document: Path) -> str:
    return document.relative_to(ROOT).as_posix()


def blocks(document: Path, language: str) -> list[str]:
    return [text for kind, text in _BLOCK.findall(document.read_text()) if kind == language]


def anchors(document: Path) -> set[str]:
    """The headings as GitHub's anchors: lower case, punctuation gone, spaces as dashes."""
    headings = re.findall(r"^#+ +(.+?) *$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in _LINK.findall(document.read_text()):
        if "://" in target or target.startswith("mailto:"):
            continue  # the network is no part of this suite
        path, _, anchor = target.partition("#")
        linked = (document.parent / path).resolve() if path else document
        assert linked.exists(), f"{name(document)} links to {target}, which is not there"
        if anchor:
            assert anchor in anchors(linked), f"{name(document)} links to {target}, which has no such heading"


@pytest.mark.parametrize("document", [d for d in DOCUMENTS if blocks(d, "python")], ids=name)
async def test_python_examples_run(document: Path, tmp_path: Path) -> None:
    """The Python blocks of a document, in order, are one program; a server that they name is a real one."""
    program = "\n".join(blocks(document, "python"))
    if SERVER_IN_DOCS not in program and SOCKETS_IN_DOCS not in program:
        await run(program, tmp_path)
        return
    async with serving(tmp_path / "server", {}) as server:
        program = program.replace(SERVER_IN_DOCS, server.url)
        await run(program.replace(SOCKETS_IN_DOCS, server.url.replace("http", "ws")), tmp_path)


async def run(program: str, folder: Path) -> None:
    (folder / "example.py").write_text(program)
    with trio.fail_after(EXAMPLE_SECONDS):
        outcome = await trio.run_process(
            [sys.executable, "-W", "error", "example.py"],
            cwd=folder,
            env=environment({}),
            capture_stdout=True,
            stderr=subprocess.STDOUT,
            check=False,
        )
    assert outcome.returncode == 0, outcome.stdout.decode()


def test_toml_examples_are_settings() -> None:
    for document in DOCUMENTS:
        for text in blocks(document, "toml"):
            load_settings(toml=TomlSource(name(document), text))


@pytest.mark.parametrize("document", ["README.md", "docs/reference/websocket.md"])
def test_json_examples_are_frames(document: str) -> None:
    lines = [line for text in blocks(ROOT / document, "json") for line in text.splitlines()]
    assert lines
    for line in lines:
        if line.endswith(", ...}"):
            shown = json.loads(line.replace(", ...}", "}"))
            assert shown.keys() <= fields_of_server_frame(shown["type"]), line
        else:
            assert is_client_frame(line) or is_server_frame(line), line


def test_json_examples_of_the_browser_socket_are_frames() -> None:
    lines = [
        line
        for text in blocks(ROOT / "docs/reference/browser-socket.md", "json")
        for line in text.splitlines()
    ]
    assert lines
    for line in lines:
        # What was read is what was shown: a field that a frame doesn't have would be skipped.
        assert json.loads(written_as_browser_frame(line.encode())) == json.loads(line), line


def written_as_browser_frame(line: bytes) -> bytes:
    """The line read as a frame of either side, and written again."""
    with contextlib.suppress(EdgeError):
        frame = browser_dialect.decode(line, text=True)
        if not isinstance(frame, AudioChunk):
            return browser_dialect.encode_client(frame)
        assert frame.fault is None
        return browser_dialect.encode_audio(frame.pcm, frame.mark, frame.prompt)
    return browser_dialect.encode_utf8(browser_dialect.decode_server(line))


def test_json_examples_of_the_http_reference_are_resolves_and_usage() -> None:
    resolves, usage = blocks(ROOT / "docs/reference/http.md", "json")
    for line in resolves.splitlines():
        parse_resolve(line.encode())
    shown, schema = json.loads(usage), ACCESS_SCHEMAS["Usage"]
    assert list(shown) == schema["required"]
    for name in ("totals", "days", "quotas"):
        part = schema["properties"][name]
        for row in shown[name] if "items" in part else [shown[name]]:
            assert list(row) == part.get("items", part)["required"]


def fields_of_server_frame(type_: str) -> set[str]:
    (frame,) = (f for f in SERVER_FRAMES if f.__struct_config__.tag == type_)
    return {"type"} | {field.encode_name for field in msgspec.structs.fields(frame)}


def is_client_frame(line: str) -> bool:
    second = pybase64.b64encode(bytes(CHUNK_BYTES)).decode()
    frame: dict[str, Any] = json.loads(line.replace("AAAA...", second))
    session_id = frame.get("meeting_id", "any")
    try:
        if frame["type"] == "auth":  # it has a decoder of its own: it comes before the dialect
            decode_auth(line.encode(), text=True)
            return True
        chunk_dialect.decode(json.dumps(frame), session_id=session_id)
    except chunk_dialect.EdgeError:
        return False
    return True


def is_server_frame(line: str) -> bool:
    frame = chunk_dialect.decode_server(line)
    # What was read is what was shown: a field that a frame doesn't have would be skipped.
    return frame is not None and json.loads(chunk_dialect.encode(frame)) == json.loads(line)


def test_the_picture_shows_what_the_demo_prints() -> None:
    """docs/make_demo_picture.py has to run again where this fails."""
    picture = (ROOT / "docs/images/demo.svg").read_text().replace("&#160;", " ")
    rows = re.findall(r'add_row\("([^"]+)"', (ROOT / "src/interview_edge/cli/demo.py").read_text())
    assert len(rows) > 3
    for row in rows:
        assert row in picture
    # It may not load anything either: READMEs are shown where that is refused.
    assert not re.search(r"@import|<image|<script|(url\(|href=)[\"']?http", picture)


def test_ci_runs_the_test_command_of_the_readme() -> None:
    """.ci/run takes the command from README.md by this expression."""
    expression = re.search(r"sed -nE '(s/.*?/p)' README\.md", (ROOT / ".ci/run").read_text())
    assert expression is not None
    found = subprocess.run(
        ["sed", "-nE", expression[1], str(ROOT / "README.md")], capture_output=True, text=True, check=True
    )
    assert found.stdout == "uvx --with tox-uv tox\n"
