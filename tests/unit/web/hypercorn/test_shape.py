"""An unknown Hypercorn is refused at the start, by a message that says what to do."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import trio
from hypercorn.trio.tcp_server import TCPServer

from interview_edge.web.hypercorn import UnsupportedHypercornError, serve
from interview_edge.web.hypercorn.shape import check_shape


def test_the_installed_hypercorn_has_the_known_shape() -> None:
    check_shape()


def test_another_version_is_refused() -> None:
    with pytest.raises(UnsupportedHypercornError, match=r"hypercorn 0\.19\.0 is installed; .*0\.18"):
        check_shape("0.19.0")


def test_a_method_that_is_gone_is_named() -> None:
    with pytest.raises(UnsupportedHypercornError, match=r"tcp_server\.TCPServer\._gone, which"):
        check_shape(overridden=[(TCPServer, ("_gone",))])


async def test_serve_checks_before_it_binds(monkeypatch: pytest.MonkeyPatch) -> None:
    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        raise AssertionError

    monkeypatch.setattr("interview_edge.web.hypercorn.shape.version", lambda _name: "0.17.3")
    with trio.fail_after(10), pytest.raises(UnsupportedHypercornError):
        await partial(serve, app, shutdown_trigger=trio.sleep_forever)()
