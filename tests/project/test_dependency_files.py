"""The files that name dependencies agree with each other."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONSTRAINTS = (ROOT / "constraints.txt").read_text()


def direct() -> list[Requirement]:
    """What pyproject.toml asks for by name: the server's, the extras', the groups' dependencies."""
    groups = [
        PROJECT["project"]["dependencies"],
        *PROJECT["project"]["optional-dependencies"].values(),
        *PROJECT["dependency-groups"].values(),
    ]
    return [Requirement(line) for group in groups for line in group if isinstance(line, str)]


def pinned() -> dict[str, list[Requirement]]:
    pins: dict[str, list[Requirement]] = {}
    for line in re.findall(r"^([^\s#][^\\\n]*)", CONSTRAINTS, re.MULTILINE):
        requirement = Requirement(line.strip())
        pins.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return pins


def test_constraints_name_exact_versions_with_hashes_and_no_index() -> None:
    entries = re.split(r"\n(?=\S)", CONSTRAINTS.strip())
    for entry in entries:
        assert re.match(r"[\w.-]+==[\w.+!]+", entry), entry.splitlines()[0]
        assert "--hash=sha256:" in entry, entry.splitlines()[0]
    assert "://" not in CONSTRAINTS
    assert "index" not in CONSTRAINTS


def test_uv_constrains_to_the_same_versions() -> None:
    mine = {str(Requirement(line)) for line in PROJECT["tool"]["uv"]["constraint-dependencies"]}
    assert mine == {str(pin) for pins in pinned().values() for pin in pins}


@pytest.mark.parametrize("requirement", direct(), ids=lambda requirement: requirement.name)
def test_each_dependency_is_pinned_inside_its_range_and_explained(requirement: Requirement) -> None:
    pins = pinned().get(canonicalize_name(requirement.name), [])
    assert pins, "not in constraints.txt"
    for pin in pins:
        (specifier,) = pin.specifier
        assert requirement.specifier.contains(specifier.version)
    explained = re.findall(r"^\| ([\w.-]+) \|", (ROOT / "docs/dependencies.md").read_text(), re.MULTILINE)
    assert requirement.name in explained, "has no line in docs/dependencies.md"


def test_nothing_else_is_explained() -> None:
    explained = re.findall(r"^\| ([\w.-]+) \|", (ROOT / "docs/dependencies.md").read_text(), re.MULTILINE)
    assert set(explained) - {"Package"} == {requirement.name for requirement in direct()}
