"""Word errors as the field counts them."""

from __future__ import annotations

import pytest

from benchmarks.word_errors import character_errors, word_errors, words


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
    assert word_errors(reference, found) == (errors, len(words(reference)))


def test_mandarin_is_counted_by_characters() -> None:
    assert character_errors("喂喂喂，说你呢？", "喂喂喂说你呢。") == (0, 6)
    assert character_errors("没收了。", "末收了") == (1, 3)
