"""Word errors as the field counts them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[3] / "benchmarks/word_errors.py"
spec = importlib.util.spec_from_file_location("word_errors", SOURCE)
assert spec is not None
assert spec.loader is not None
counting = importlib.util.module_from_spec(spec)
spec.loader.exec_module(counting)


@pytest.mark.parametrize(
    ("reference", "found", "errors"),
    [
        ("", "", 0),
        ("He was not an ill disposed young man", "He was not an ill-disposed young man.", 0),
        ("mister John", "Mr. John", 0),
        ("a b c", "a x c", 1),
        ("a b c", "a c", 1),
        ("a b c", "a b b c", 1),
        ("a b", "", 2),
        ("", "a b", 2),
        ("a b c d", "b c d e", 2),
        ("don't", "dont", 1),
    ],
)
def test_the_least_edits(reference: str, found: str, errors: int) -> None:
    assert counting.word_errors(reference, found) == (errors, len(counting.words(reference)))
