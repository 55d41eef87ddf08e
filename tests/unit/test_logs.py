from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from interview_edge.logs import REDACTED, configure_logs, redact
from interview_edge.settings import Settings


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def restore_logging() -> Iterator[None]:
    """Logging is the process's own: leave it as it was found."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    names = ("httpx", "httpcore", "interview_edge.archive", "interview_edge.backends")
    levels = {name: logging.getLogger(name).level for name in names}
    yield
    root.handlers, root.level = handlers, level
    for name in names:
        logging.getLogger(name).setLevel(levels[name])
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_our_lines_and_a_librarys_share_one_shape() -> None:
    configure_logs(Settings(log_format="json"), out := io.StringIO())
    structlog.get_logger("interview_edge.web").info("listening", port=8080)
    logging.getLogger("hypercorn.error").warning("took %d s", 3)
    ours, theirs = lines(out)
    assert (ours["event"], ours["port"], ours["level"]) == ("listening", 8080, "info")
    assert (theirs["event"], theirs["level"], theirs["logger"]) == ("took 3 s", "warning", "hypercorn.error")
    assert ours.keys() - {"port"} == theirs.keys()


def test_context_of_the_task_is_on_every_line() -> None:
    configure_logs(Settings(log_format="json"), out := io.StringIO())
    structlog.contextvars.bind_contextvars(session_id="s1")
    structlog.get_logger().info("one")
    logging.getLogger("library").warning("two")
    assert [line["session_id"] for line in lines(out)] == ["s1", "s1"]


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_traceback_is_kept_without_its_local_variables(log_format: str) -> None:
    configure_logs(Settings(log_format=log_format), out := io.StringIO())

    def fail(credential: str) -> None:
        raise ValueError(f"broken, {len(credential)} letters")

    try:
        fail("".join(["hid", "den"]))
    except ValueError:
        structlog.get_logger().exception("failed")
    assert "ValueError" in out.getvalue()
    assert "broken, 6 letters" in out.getvalue()
    assert "hidden" not in out.getvalue()


def test_level_holds_for_all() -> None:
    configure_logs(Settings(log_format="json", log_level="warning"), out := io.StringIO())
    structlog.get_logger().info("quiet")
    logging.getLogger("library").info("quiet")
    assert lines(out) == []


def test_debug_opens_the_archive_only() -> None:
    configure_logs(Settings(log_format="json", debug=True), out := io.StringIO())
    structlog.get_logger("interview_edge.archive.putter").debug("put")
    structlog.get_logger("interview_edge.web").debug("quiet")
    assert [line["event"] for line in lines(out)] == ["put"]


@pytest.mark.parametrize(("stream", "is_json"), [(Terminal(), False), (io.StringIO(), True)])
def test_auto_is_console_on_a_terminal(stream: io.StringIO, is_json: bool) -> None:
    configure_logs(Settings(), stream)
    structlog.get_logger().info("hello there")
    assert "hello there" in stream.getvalue()
    assert stream.getvalue().startswith("{") is is_json


def test_httpx_does_not_log_urls() -> None:
    configure_logs(Settings(log_format="json"), out := io.StringIO())
    logging.getLogger("httpx").info("HTTP Request: PUT https://bucket/key?X-Amz-Signature=abc")
    assert lines(out) == []


def test_a_second_call_replaces_the_first() -> None:
    configure_logs(Settings(log_format="json"), first := io.StringIO())
    configure_logs(Settings(log_format="json"), second := io.StringIO())
    structlog.get_logger().info("once")
    assert first.getvalue() == ""
    assert len(lines(second)) == 1


@pytest.mark.parametrize(
    "key",
    [
        "api_key",
        "x-api-key",
        "inference_api_key",
        "Authorization",
        "secret_access_key",
        "password",
        "ticket",
        "token",
    ],
)
def test_secret_keys_are_redacted_at_any_depth(key: str) -> None:
    event = redact(
        None, "info", {"event": "e", key: "s3cret", "headers": {key: "s3cret"}, "list": [{key: "s3cret"}]}
    )
    assert "s3cret" not in str(event)
    assert event[key] == REDACTED


@pytest.mark.parametrize("key", ["key", "result_key", "keyboard", "tokens_used", "session_id"])
def test_other_keys_stay(key: str) -> None:
    assert redact(None, "info", {key: "shown"}) == {key: "shown"}


KEY = "ie_0123456789abcdef_" + "s3cr3t-" * 6 + "x"
CREDENTIALS = [
    KEY,
    "ek_68af296e8e408191",
    "sk-proj-0123456789",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl",
    "ie.ticket.0123456789abcdef",
    "ie_login=0123456789abcdef",
    "Bearer 0123456789abcdef",
]


@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.parametrize("credential", CREDENTIALS)
def test_a_credential_is_taken_out_wherever_it_stands(log_format: str, credential: str) -> None:
    configure_logs(Settings(log_format=log_format), out := io.StringIO())
    logging.getLogger("library").warning("GET /x with %s failed", credential)
    structlog.get_logger().info(f"said {credential}", nested={"deep": [f"({credential})"]})
    try:
        raise ValueError(f"not {credential}")
    except ValueError:
        structlog.get_logger().exception("failed")
    secret = credential.split("_")[-1].split(" ")[-1].split(".")[-1].split("=")[-1]
    assert secret not in out.getvalue()
    assert out.getvalue().count(REDACTED) >= 4
    assert len(out.getvalue().splitlines()) >= 3


def test_of_an_api_key_its_id_stays() -> None:
    configure_logs(Settings(log_format="json"), out := io.StringIO())
    structlog.get_logger().info(f"the key {KEY}, and session_id=task_list bearer of news sk-1")
    (line,) = lines(out)
    assert (
        line["event"]
        == f"the key ie_0123456789abcdef_{REDACTED}, and session_id=task_list bearer of news sk-1"
    )


@pytest.mark.parametrize(("log_level", "shown"), [("info", False), ("debug", True)])
def test_faster_whisper_tells_of_every_call_only_at_debug(log_level: str, shown: bool) -> None:
    configure_logs(Settings(log_format="json", log_level=log_level), out := io.StringIO())
    logging.getLogger("faster_whisper").info("Processing audio with duration 00:03.000")
    assert ("Processing audio" in out.getvalue()) is shown
