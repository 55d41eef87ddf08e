"""Ten thousand wrong keys, at a node that listens, while right ones are used."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import trio

from api_keys import give_key
from interview_edge import Settings
from interview_edge.access import keyring
from interview_edge.access.api_keys import make_key
from interview_edge.serving import Server, open_server

WRONG = 10_000
CONNECTIONS = 4
REQUESTS = 500  # a connection; the server ends one after 1000
RIGHT = 100
TRIES = 30  # a minute
HERE, ELSEWHERE = "127.0.0.1", "127.0.0.2"


class Requests:
    """One kept connection from one address."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._read = b""

    async def status(self, key: str) -> int:
        await self._stream.send_all(
            b"GET /v1/sessions/interview/state HTTP/1.1\r\nhost: test\r\nx-api-key: %s\r\n\r\n" % key.encode()
        )
        while b"\r\n\r\n" not in self._read:
            await self._more()
        head, _, self._read = self._read.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split()[0])
        while len(self._read) < length:
            await self._more()
        self._read = self._read[length:]
        return int(head.split()[1])

    async def _more(self) -> None:
        data = await self._stream.receive_some()
        assert data, "the server hung up"
        self._read += data


async def ask(server: Server, address: str, keys: list[str], statuses: Counter[int]) -> None:
    """One request a key, one after the other."""
    host, _, port = server.url.removeprefix("http://").rpartition(":")
    for batch in range(0, len(keys), REQUESTS):
        async with await trio.open_tcp_stream(host, int(port), local_address=address) as stream:
            requests = Requests(stream)
            for key in keys[batch : batch + REQUESTS]:
                statuses[await requests.status(key)] += 1


async def test_wrong_keys_cost_no_hashing_and_lock_nobody_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: Counter[str] = Counter()
    digest = keyring.digest

    def count(secret: str) -> bytes:
        hashed[secret] += 1
        return digest(secret)

    monkeypatch.setattr(keyring, "digest", count)
    settings = Settings(
        port=0, data_dir=tmp_path, max_failed_auth=TRIES, ip_rate=0, key_rate=0, log_level="error"
    )
    async with open_server(settings) as server:
        attacked, neighbour = [await give_key(server.edge, "ingest") for _ in range(2)]
        made_up = [make_key()[0] for _ in range(WRONG // 2)]
        wrong_secrets = [attacked[:20] + text[20:] for text in made_up]
        wrong = [key for pair in zip(made_up, wrong_secrets, strict=True) for key in pair]
        refused: Counter[int] = Counter()
        served: Counter[int] = Counter()
        began = trio.current_time()
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                for part in range(CONNECTIONS):
                    nursery.start_soon(ask, server, HERE, wrong[part::CONNECTIONS], refused)
                nursery.start_soon(ask, server, HERE, [neighbour] * RIGHT, served)
                nursery.start_soon(ask, server, ELSEWHERE, [attacked] * RIGHT, served)
        took = trio.current_time() - began
        remembered = server.edge.access.limits.size
    assert served == {200: 2 * RIGHT}
    assert refused.keys() == {401, 429}
    assert refused.total() == WRONG
    # For each of the two targets what it may be tried at once, and what has come back meanwhile.
    assert refused[401] <= 2 * (TRIES + TRIES / 60 * took + 1)
    assert hashed.total() == refused[401] + 2 * RIGHT
    assert remembered <= 2
