"""Word error rate, as the field counts it: substitutions, insertions and deletions a reference word."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

_SPELLED = {"mr": "mister", "mrs": "missus", "dr": "doctor"}


def words(text: str) -> list[str]:
    """What is compared: lower case, no punctuation, a hyphen as a space, titles spelled out."""
    plain = unicodedata.normalize("NFKC", text).lower().replace("-", " ")
    return [_SPELLED.get(word, word) for word in re.findall(r"[^\W_]+(?:'[^\W_]+)*", plain)]


def word_errors(reference: str, found: str) -> tuple[int, int]:
    """(errors, reference words): the least edits that turn one into the other (Levenshtein, by words)."""
    return _errors(words(reference), words(found))


def character_errors(reference: str, found: str) -> tuple[int, int]:
    """The same by characters, for what is written without spaces; punctuation doesn't count."""
    return _errors("".join(words(reference)), "".join(words(found)))


def _errors(wanted: Sequence[str], got: Sequence[str]) -> tuple[int, int]:
    row = list(range(len(got) + 1))
    for i, word in enumerate(wanted, 1):
        previous, row[0] = row[0], i
        for j, other in enumerate(got, 1):
            kept = previous + (word != other)
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, kept)
    return row[-1], len(wanted)
