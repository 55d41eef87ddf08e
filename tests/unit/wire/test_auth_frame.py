"""The first frame with a credential: one of three, and nothing else passes for it."""

from __future__ import annotations

from contextlib import suppress

import pytest

from interview_edge.errors import MISSING_AUTH, EdgeError
from interview_edge.wire.auth_frame import MAX_AUTH_BYTES, decode_auth
from interview_edge.wire.frames import Auth


@pytest.mark.parametrize(
    ("text", "frame"),
    [
        ('{"type":"auth","key":"k"}', Auth(key="k")),
        ('{"type":"auth","token":"t","more":[1]}', Auth(token="t")),
        ('{"ticket":"é","type":"auth"}', Auth(ticket="é")),
    ],
)
def test_each_credential_is_read_and_not_shown(text: str, frame: Auth) -> None:
    found = decode_auth(text.encode(), text=True)
    assert found == frame
    assert repr(found) == "Auth(...)"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"type":"auth"}',
        '{"type":"auth","key":""}',
        '{"type":"auth","key":null}',
        '{"type":"auth","key":1}',
        '{"type":"auth","key":"k","ticket":"t"}',
        '{"type":"hello","key":"k"}',
        '{"key":"k"}',
        '{"type":"auth","key":"' + "k" * MAX_AUTH_BYTES + '"}',
    ],
)
def test_anything_else_is_a_missing_credential(text: str) -> None:
    with pytest.raises(EdgeError) as refused:
        decode_auth(text.encode(), text=True)
    assert refused.value.kind is MISSING_AUTH


def test_deep_nesting_in_a_field_that_nobody_asked_for_is_no_fault() -> None:
    """How deep the parser goes depends on the Python: it is read over, or refused."""
    with suppress(EdgeError):
        decode_auth(
            ('{"type":"auth","key":"k","deep":' + "[" * 5_000 + "]" * 5_000 + "}").encode(), text=True
        )


@pytest.mark.parametrize("data", [b'{"type":"auth","key":"k"}', b"IE\x01\x00", b""])
def test_a_binary_message_is_none(data: bytes) -> None:
    with pytest.raises(EdgeError) as refused:
        decode_auth(data, text=False)
    assert refused.value.kind is MISSING_AUTH


def test_bytes_that_are_no_text_are_none() -> None:
    with pytest.raises(EdgeError):
        decode_auth(b'{"type":"auth","key":"\xff"}', text=True)
