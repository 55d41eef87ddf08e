"""Which addresses a node without keys may listen on."""

from __future__ import annotations

import pytest

from interview_edge.access.exposure import is_loopback_name, refuse_exposure
from interview_edge.settings import Settings, SettingsError

LOOPBACK = ["127.0.0.1", "127.8.8.8", "::1", "localhost", "LOCALHOST"]
OTHERS = ["0.0.0.0", "::", "192.168.1.5", "8.8.8.8", "edge.example.com", "localhost.example.com", ""]  # noqa: S104  # refused, which is the point


@pytest.mark.parametrize("host", LOOPBACK)
def test_loopback_needs_no_key(host: str) -> None:
    assert is_loopback_name(host)
    refuse_exposure(Settings(host=host), guarded=False)


@pytest.mark.parametrize("host", OTHERS)
def test_any_other_host_needs_one_or_the_operator_s_word(host: str) -> None:
    assert not is_loopback_name(host)
    with pytest.raises(SettingsError, match=r"EDGE_HOST.*interview-edge keys create"):
        refuse_exposure(Settings(host=host), guarded=False)
    refuse_exposure(Settings(host=host), guarded=True)
    refuse_exposure(Settings(host=host, insecure=True), guarded=False)
