"""How a server's answers become the contract's errors, by a server that answers what the test says."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from interview_edge.backends import BackendError, BackendRefused, BackendUnavailable, open_backend

SECRET = "HUSH-secret"


class Answers(BaseHTTPRequestHandler):
    status = 200
    code = ""

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        # A server that echoes what it shouldn't.
        said = f"<Error><Code>{self.code}</Code><Message>{SECRET} {self.headers}</Message></Error>".encode()
        self.send_response(self.status)
        self.send_header("content-length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    do_PUT = do_GET = do_POST = answer  # noqa: N815 (http.server's names)

    def log_message(self, *args: object) -> None:
        """Nothing: a test's output is pytest's."""


@pytest.fixture
def answers() -> Iterator[type[Answers]]:
    class OfThisTest(Answers):
        port: int

    with ThreadingHTTPServer(("127.0.0.1", 0), OfThisTest) as server:
        OfThisTest.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.005})
        thread.start()
        yield OfThisTest
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (500, "InternalError", BackendUnavailable),
        (503, "SlowDown", BackendUnavailable),
        (429, "TooManyRequests", BackendUnavailable),
        (408, "RequestTimeout", BackendUnavailable),
        # Not "it is there": the other put may yet fail.
        (409, "ConditionalRequestConflict", BackendUnavailable),
        (400, "EntityTooLarge", BackendRefused),
        (401, "Unauthorized", BackendRefused),
        (403, "AccessDenied", BackendRefused),
        (404, "NoSuchBucket", BackendRefused),
        (301, "PermanentRedirect", BackendRefused),
        (507, "InsufficientStorage", BackendRefused),
    ],
)
async def test_an_error_answer_is_mapped_and_its_text_not_shown(
    answers: type[Answers], status: int, code: str, expected: type[BackendError]
) -> None:
    answers.status, answers.code = status, code
    url = f"s3://interviews?endpoint=http://127.0.0.1:{answers.port}"  # type: ignore[attr-defined]  # set by the fixture
    async with open_backend(url, {"access_key_id": "id", "secret_access_key": SECRET}) as backend:
        for call in (backend.put("k", b"x", if_absent=True), backend.get("k"), backend.get_range("k", 0, 1)):
            with pytest.raises(expected) as caught:
                await call
            assert type(caught.value) is expected
            assert caught.value.__context__ is None
            assert SECRET not in repr(caught.value)


async def test_412_says_that_the_object_is_there(answers: type[Answers]) -> None:
    answers.status, answers.code = 412, "PreconditionFailed"
    url = f"s3://interviews?endpoint=http://127.0.0.1:{answers.port}"  # type: ignore[attr-defined]  # set by the fixture
    async with open_backend(url, {"access_key_id": "id", "secret_access_key": SECRET}) as backend:
        assert await backend.put("k", b"x", if_absent=True) is False
