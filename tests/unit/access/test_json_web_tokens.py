"""JWTs: what is taken, what isn't, and keys that an identity provider rotates."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import h11
import httpx
import jwt
import pytest
import trio
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from interview_edge.access.json_web_tokens import LEEWAY, SharedSecret, TokenVerifier
from interview_edge.access.jwks import KeySet
from interview_edge.access.principal import Scope, Via
from interview_edge.errors import EdgeError

SECRET = "s" * 32
RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    made = {"sub": "alice", "aud": "edge", "iss": "https://id", "exp": now + 60, "scope": "ingest other"}
    return {name: value for name, value in (made | changes).items() if value is not None}


def verifier(keys: Any) -> TokenVerifier:
    return TokenVerifier(keys, audience="edge", issuer="https://id")


async def test_a_token_names_its_user_and_scopes() -> None:
    wanted = claims()
    found = await verifier(SharedSecret(SECRET)).verify(jwt.encode(wanted, SECRET))
    assert (found.user, found.scopes, found.via, found.key_id) == ("alice", {Scope.INGEST}, Via.JWT, None)
    assert found.expires_at == (wanted["exp"] + LEEWAY) * 1000


async def test_scopes_may_come_as_a_list() -> None:
    token = jwt.encode(claims(scope=["admin", 3, "x"]), SECRET)
    assert (await verifier(SharedSecret(SECRET)).verify(token)).scopes == {Scope.ADMIN}


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": int(time.time()) - LEEWAY - 1},
        {"exp": None},
        {"aud": "another"},
        {"aud": None},
        {"iss": "https://evil"},
        {"iss": None},
        {"sub": None},
        {"sub": ""},
        {"sub": "x" * 257},
        {"nbf": int(time.time()) + 3600},
    ],
)
async def test_a_token_that_is_not_for_us_now_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(EdgeError) as refused:
        await verifier(SharedSecret(SECRET)).verify(jwt.encode(claims(**changes), SECRET))
    assert refused.value.kind.code == "invalid_key"


@pytest.mark.parametrize(
    "token",
    [
        "",
        "a.b.c",
        "é",
        "x" * 10_000,
        jwt.encode(claims(), "t" * 32),
        jwt.encode(claims(), None, algorithm="none"),
        jwt.encode(claims(), SECRET * 2, algorithm="HS512"),
        jwt.encode(claims(), SECRET)[:-2],
    ],
)
async def test_a_token_with_a_wrong_signature_is_refused(token: str) -> None:
    with pytest.raises(EdgeError) as refused:
        await verifier(SharedSecret(SECRET)).verify(token)
    assert refused.value.kind.code == "invalid_key"


# -- keys by URL


class Provider:
    """A small real HTTP server that publishes keys."""

    def __init__(self) -> None:
        self.body = b""
        self.status = 200
        self.asked = 0

    def publish(self, **keys: Any) -> None:
        shown = []
        for kid, key in keys.items():
            algorithm = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
            shown.append(json.loads(algorithm.to_jwk(key.public_key())) | {"kid": kid, "use": "sig"})
        self.body = json.dumps({"keys": shown}).encode()

    async def serve(self, stream: trio.SocketStream) -> None:
        connection = h11.Connection(h11.SERVER)
        async with stream:
            while (event := connection.next_event()) is not h11.PAUSED:
                if event is h11.NEED_DATA:
                    connection.receive_data(await stream.receive_some(65536))
                elif type(event) is h11.EndOfMessage:
                    break
            self.asked += 1
            headers = [("content-length", str(len(self.body))), ("connection", "close")]
            head = connection.send(h11.Response(status_code=self.status, headers=headers)) or b""
            await stream.send_all(head + (connection.send(h11.Data(data=self.body)) or b""))


@asynccontextmanager
async def published(refetch_after: float = 0.0, **keys: Any) -> AsyncIterator[tuple[Provider, KeySet]]:
    provider = Provider()
    provider.publish(**keys)
    async with trio.open_nursery() as nursery, httpx.AsyncClient(trust_env=False) as client:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, provider.serve, [listener])
        url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}/keys"
        yield provider, KeySet(client, url, refetch_after=refetch_after)
        nursery.cancel_scope.cancel()


def signed(key: Any, kid: str | None, algorithm: str) -> str:
    return jwt.encode(claims(), key, algorithm=algorithm, headers={"kid": kid} if kid else {})


@pytest.mark.parametrize(("key", "algorithm"), [(RSA_KEY, "RS256"), (RSA_KEY, "PS384"), (EC_KEY, "ES256")])
async def test_a_published_key_verifies_its_tokens_and_is_fetched_once(key: Any, algorithm: str) -> None:
    async with published(a=key) as (provider, keys):
        for _ in range(3):
            assert (await verifier(keys).verify(signed(key, "a", algorithm))).user == "alice"
        assert (await verifier(keys).verify(signed(key, None, algorithm))).user == "alice"
        assert provider.asked == 1


async def test_a_rotated_key_is_fetched_by_its_id() -> None:
    new = rsa.generate_private_key(65537, 2048)
    async with published(a=RSA_KEY) as (provider, keys):
        await verifier(keys).verify(signed(RSA_KEY, "a", "RS256"))
        provider.publish(b=new)
        assert (await verifier(keys).verify(signed(new, "b", "RS256"))).user == "alice"
        with pytest.raises(EdgeError):
            await verifier(keys).verify(signed(RSA_KEY, "a", "RS256"))


async def test_unknown_ids_do_not_make_us_fetch_without_end() -> None:
    async with published(refetch_after=3600.0, a=RSA_KEY) as (provider, keys):
        await verifier(keys).verify(signed(RSA_KEY, "a", "RS256"))
        for number in range(20):
            with pytest.raises(EdgeError) as refused:
                await verifier(keys).verify(signed(RSA_KEY, f"made-up-{number}", "RS256"))
            assert refused.value.kind.code == "invalid_key"
        assert provider.asked == 1


async def test_many_at_once_wait_for_one_fetch() -> None:
    async with published(refetch_after=3600.0, a=RSA_KEY) as (provider, keys):
        token = signed(RSA_KEY, "a", "RS256")
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(verifier(keys).verify, token)
        assert provider.asked == 1


@pytest.mark.parametrize(
    ("status", "body"), [(500, b"{}"), (200, b"no json"), (200, b'{"keys":[]}'), (200, b" " * 300_000)]
)
async def test_a_provider_in_trouble_costs_no_key_that_is_known(status: int, body: bytes) -> None:
    async with published(a=RSA_KEY) as (provider, keys):
        token = signed(RSA_KEY, "a", "RS256")
        await verifier(keys).verify(token)
        provider.status, provider.body = status, body
        with pytest.raises(EdgeError):
            await verifier(keys).verify(signed(RSA_KEY, "b", "RS256"))
        assert (await verifier(keys).verify(token)).user == "alice"


async def test_without_any_key_the_answer_is_not_that_the_token_is_wrong() -> None:
    async with published(a=RSA_KEY) as (provider, keys):
        provider.status = 500
        with pytest.raises(EdgeError) as refused:
            await verifier(keys).verify(signed(RSA_KEY, "a", "RS256"))
    assert refused.value.kind.code == "jwks_unavailable"


async def test_a_public_key_is_no_shared_secret() -> None:
    """The classic: sign with HMAC and the public key's own text."""
    async with published(a=RSA_KEY) as (_, keys):
        token = jwt.encode(claims(), "x" * 64, algorithm="HS256", headers={"kid": "a"})
        with pytest.raises(EdgeError) as refused:
            await verifier(keys).verify(token)
    assert refused.value.kind.code == "invalid_key"
