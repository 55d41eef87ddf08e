"""For tests: a reverse proxy as its how-to configures it, with TLS, in front of nodes of this process."""

from __future__ import annotations

import datetime
import ipaddress
import os
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import attrs
import httpx
import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from trio_websocket import WebSocketConnection, wrap_client_stream

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"
PATIENCE = 20.0  # seconds: a test that would wait longer fails
HOST = "localhost"
CLIENT = "127.0.0.2"  # not the proxy's own address, which the nodes trust
NODES = ("127.0.0.1:8081", "127.0.0.1:8082")  # in the how-tos
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@attrs.frozen
class Program:
    """A reverse proxy. `address` is how its how-to says where it listens; `command` runs a file with it."""

    name: str
    language: str
    address: tuple[str, str]
    command: Sequence[str]

    @property
    def configuration(self) -> str:
        """The one configuration in its how-to."""
        text = (HOW_TO / f"{self.name}.md").read_text()
        (found,) = (body for language, body in _BLOCK.findall(text) if language == self.language)
        return str(found)

    @property
    def path(self) -> str:
        """Where it is installed; skips the test where it isn't."""
        found = shutil.which(self.name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
        if found is None:
            pytest.skip(f"{self.name} is not installed")
        return found


NGINX = Program(
    "nginx",
    "nginx",
    ("listen 443 ssl", "listen 127.0.0.1:{port} ssl"),
    ("-e", "stderr", "-c", "{file}", "-g", "daemon off; pid {folder}/pid; error_log stderr;"),
)
CADDY = Program(
    "caddy",
    "caddyfile",
    ("\ninterviews.example.com {", "\nhttps://localhost:{port} {{\n\tbind 127.0.0.1"),
    ("run", "--adapter", "caddyfile", "--config", "{file}"),
)
HAPROXY = Program("haproxy", "haproxy", ("bind :443 ", "bind 127.0.0.1:{port} "), ("-db", "-f", "{file}"))
PROGRAMS = (NGINX, CADDY, HAPROXY)


@attrs.frozen
class Entrance:
    """A proxy that listens, as its clients see it."""

    port: int
    trust: ssl.SSLContext
    process: trio.Process

    @asynccontextmanager
    async def http(self, key: str, client: str = CLIENT) -> AsyncIterator[httpx.AsyncClient]:
        """Requests with the key, from an address of this machine."""
        transport = httpx.AsyncHTTPTransport(verify=self.trust, local_address=client)
        base = f"https://{HOST}:{self.port}"
        headers = {"authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(
            transport=transport, base_url=base, headers=headers, timeout=PATIENCE
        ) as http:
            yield http

    @asynccontextmanager
    async def audio(
        self, path: str, key: str, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[WebSocketConnection]:
        """A WebSocket. Raises ConnectionRejected in groups, as trio-websocket does."""
        shown = {"authorization": f"Bearer {key}"} | dict(headers or {})
        tcp = await trio.open_tcp_stream("127.0.0.1", self.port, local_address=CLIENT)
        async with tcp, trio.open_nursery() as nursery:
            stream = trio.SSLStream(tcp, self.trust, server_hostname=HOST, https_compatible=True)
            pairs = [(name, value) for name, value in shown.items()]
            with trio.fail_after(PATIENCE):
                ws = await wrap_client_stream(
                    nursery, stream, HOST, path, extra_headers=pairs, max_message_size=1_000_000
                )
            yield ws
            with trio.move_on_after(1):
                await ws.aclose()


@asynccontextmanager
async def entrance(program: Program, nodes: Sequence[str], folder: Path) -> AsyncIterator[Entrance]:
    """The proxy in front of these `host:port`, until the end of the block."""
    executable = program.path
    port, file = _free_port(), folder / f"{program.name}.conf"
    file.write_text(_filled_in(program, port, nodes, folder))
    values = {"file": file, "folder": folder}
    command = [executable, *(part.format(**values) for part in program.command)]
    trust = ssl.create_default_context(cafile=make_certificate(folder))
    # Caddy's own files and its admin socket; the others don't look.
    home = str(folder)
    own = {"XDG_DATA_HOME": home, "XDG_CONFIG_HOME": home, "CADDY_ADMIN": f"unix/{home}/admin"}
    with (folder / "proxy.log").open("wb") as log:
        run = partial(trio.run_process, command, stdout=log, stderr=subprocess.STDOUT, env=os.environ | own)
        async with trio.open_nursery() as nursery:
            process = await nursery.start(partial(run, check=False))
            if not await _listens(process, port):
                pytest.fail(f"{program.name} ended: {_text(folder / 'proxy.log')}")
            yield Entrance(port, trust, process)
            nursery.cancel_scope.cancel()  # terminates it, and waits


def _filled_in(program: Program, port: int, nodes: Sequence[str], folder: Path) -> str:
    """The how-to's configuration, with the test's addresses and files instead of its own."""
    listens, here = program.address
    replaced = [
        (listens, here.format(port=port)),
        *zip(NODES, nodes, strict=True),
        ("/etc/ssl/", f"{folder}/"),
    ]
    text = program.configuration
    for old, new in replaced:
        assert text.count(old) >= 1, f"the how-to of {program.name} doesn't say {old!r}"
        text = text.replace(old, new)
    return text.replace("/var/log/nginx/", f"{folder}/")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


async def _listens(process: trio.Process, port: int) -> bool:
    """Wait until it does; False where it ended instead."""
    with trio.fail_after(PATIENCE):
        while process.poll() is None:
            try:
                stream = await trio.open_tcp_stream("127.0.0.1", port)
            except OSError:
                await trio.sleep(0.02)
            else:
                await stream.aclose()
                return True
    return False


def _text(log: Path) -> str:
    return log.read_text()


def make_certificate(folder: Path) -> Path:
    """A self-signed certificate for localhost: `interviews.pem`, its key, and both in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    today = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName(HOST), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (folder / "interviews.key").write_bytes(secret)
    (folder / "interviews-both.pem").write_bytes(certificate + secret)
    (folder / "interviews.pem").write_bytes(certificate)
    return folder / "interviews.pem"
