"""What models call languages, as codes."""

from __future__ import annotations

import pytest

from interview_edge.core.languages import language_code


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (None, None),
        ("en", "en"),
        (" EN ", "en"),
        ("yue", "yue"),
        ("zh-CN", "zh"),
        ("pt_BR", "pt"),
        ("english", "en"),
        ("Chinese", "zh"),
        ("haitian creole", "ht"),
        ("yoruba", "yo"),
        ("lao", "lo"),
        ("afrikaans", "af"),
        ("klingon", None),
        ("", None),
        ("en\x00", None),
    ],
)
def test_a_language_is_its_code(said: str | None, code: str | None) -> None:
    assert language_code(said) == code
