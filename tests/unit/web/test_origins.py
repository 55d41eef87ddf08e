"""Host, Origin and Sec-Fetch-Site: which requests are this machine's, and which are our own pages'."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network
from typing import Any

import pytest

from interview_edge.access.credentials import LoginCookie
from interview_edge.access.csrf import csrf_token
from interview_edge.errors import EdgeError
from interview_edge.web.client_address import CLIENT, find_client
from interview_edge.web.origins import check_local, check_page

LISTED = ("https://console.example.com",)
LOGIN = LoginCookie("secret-of-the-login")


def scope(*headers: tuple[str, str], client: Any = ("127.0.0.1", 5), **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "type": "http",
        "method": "POST",
        "scheme": "http",
        "client": client,
        "headers": [(name.encode(), value.encode()) for name, value in headers],
    }
    return made | more | {CLIENT: find_client(made, [ip_network("10.0.0.0/8")])}


def refused(check: Any, *arguments: Any) -> str | None:
    """The code of the refusal; None where there is none."""
    try:
        check(*arguments)
    except EdgeError as error:
        return error.kind.code
    return None


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8080", "127.0.0.1", "127.9.9.9:1", "[::1]", "[::1]:8080"]
)
@pytest.mark.parametrize("client", [("127.0.0.1", 5), ("::1", 5), ("::ffff:127.0.0.1", 5), None])
def test_a_client_of_this_machine_is_served(host: str, client: Any) -> None:
    assert refused(check_local, scope(("host", host), client=client), LISTED) is None


@pytest.mark.parametrize("client", [("192.168.1.5", 5), ("::2", 5), ("10.0.0.1", 5), ("nobody", 5), ("", 0)])
def test_a_client_of_another_machine_is_not(client: Any) -> None:
    assert refused(check_local, scope(("host", "localhost"), client=client), LISTED) == "local_only"


@pytest.mark.parametrize("name", ["X-Forwarded-For", "x-forwarded-host", "x-real-ip", "forwarded", "via"])
def test_nor_is_whoever_stands_behind_a_proxy(name: str) -> None:
    asked = scope(("host", "localhost"), (name, "127.0.0.1"))
    assert refused(check_local, asked, LISTED) == "local_only"


@pytest.mark.parametrize(
    "hosts",
    [
        [],
        [""],
        ["rebound.example.com"],
        ["rebound.example.com:8080"],
        ["localhost.example.com"],
        ["localhost@example.com"],
        ["[::1]example.com"],
        ["128.0.0.1:80"],
        ["128.0.0.1"],
        ["localhost", "localhost"],
    ],
)
def test_nor_a_name_that_was_made_to_point_here(hosts: Sequence[str]) -> None:
    asked = scope(*(("host", host) for host in hosts))
    assert refused(check_local, asked, LISTED) == "local_only"


@pytest.mark.parametrize(
    ("origin", "code"),
    [
        ("http://localhost:3000", None),
        ("https://127.0.0.1", None),
        ("http://[::1]:8080", None),
        ("https://console.example.com", None),
        ("https://console.example.com:444", "local_only"),
        ("https://evil.example.com", "local_only"),
        ("null", "local_only"),
        ("file://localhost", "local_only"),
        ("http://localhost@evil.example.com", "local_only"),
    ],
)
def test_nor_the_page_of_another_site(origin: str, code: str | None) -> None:
    asked = scope(("host", "localhost:8080"), ("origin", origin))
    assert refused(check_local, asked, LISTED) == code


TOKEN = ("x-csrf-token", csrf_token(LOGIN.text))
HOST = ("host", "edge.example.com")


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ([TOKEN], None),
        ([TOKEN, ("origin", "https://edge.example.com")], None),
        ([TOKEN, ("origin", "https://edge.example.com:443")], None),
        ([TOKEN, ("origin", "https://console.example.com"), ("sec-fetch-site", "same-site")], None),
        ([TOKEN, ("sec-fetch-site", "same-origin")], None),
        ([TOKEN, ("sec-fetch-site", "none")], None),
        ([], "csrf_refused"),
        ([("origin", "https://edge.example.com")], "csrf_refused"),
        ([("x-csrf-token", "")], "csrf_refused"),
        ([("x-csrf-token", csrf_token("another login"))], "csrf_refused"),
        ([("x-csrf-token", "é")], "csrf_refused"),
        ([TOKEN, TOKEN], "csrf_refused"),
        ([TOKEN, ("origin", "https://evil.example.com")], "csrf_refused"),
        ([TOKEN, ("origin", "https://edge.example.com:444")], "csrf_refused"),
        ([TOKEN, ("origin", "null")], "csrf_refused"),
        ([TOKEN, ("sec-fetch-site", "cross-site")], "csrf_refused"),
        ([TOKEN, ("sec-fetch-site", "same-site")], "csrf_refused"),
    ],
)
def test_a_change_by_cookie_needs_a_page_of_ours(headers: list[tuple[str, str]], code: str | None) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE", "BREW"):
        assert refused(check_page, scope(HOST, *headers, method=method), LOGIN, LISTED) == code
    for method in ("GET", "HEAD", "OPTIONS"):
        assert refused(check_page, scope(HOST, *headers, method=method), LOGIN, LISTED) is None


@pytest.mark.parametrize(
    ("origins", "code"),
    [
        (["https://edge.example.com"], None),
        (["https://console.example.com"], None),
        ([], "origin_refused"),
        (["https://evil.example.com"], "origin_refused"),
        (["edge.example.com"], "origin_refused"),
        (["https://edge.example.com", "https://edge.example.com"], "origin_refused"),
    ],
)
def test_a_socket_by_cookie_needs_an_origin_of_ours(origins: list[str], code: str | None) -> None:
    headers = [("origin", origin) for origin in origins]
    asked = scope(HOST, TOKEN, *headers, type="websocket", scheme="ws")
    assert refused(check_page, asked, LOGIN, LISTED) == code
