"""The documents say what is so: links lead somewhere, Python blocks run, TOML blocks are settings."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from interview_edge.cli.settings_sources import TomlSource, load_settings

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
# A first run imports the whole server on a busy machine.
EXAMPLE_SECONDS = 60

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


def test_python_examples_run(tmp_path: Path) -> None:
    """The Python blocks of a document, in order, are one program."""
    for document in DOCUMENTS:
        if not (parts := blocks(document, "python")):
            continue
        folder = tmp_path / document.stem
        folder.mkdir()
        (folder / "example.py").write_text("\n".join(parts))
        outcome = subprocess.run(
            [sys.executable, "-W", "error", "example.py"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=EXAMPLE_SECONDS,
            check=False,
        )
        assert outcome.returncode == 0, f"{name(document)}:\n{outcome.stderr}"


def test_toml_examples_are_settings() -> None:
    for document in DOCUMENTS:
        for text in blocks(document, "toml"):
            load_settings(toml=TomlSource(name(document), text))
