"""`interview-edge doctor`: what would go wrong at the start or later, and how to mend it.

Every check looks at the real thing (a file is written and synced, an object put, read and deleted, the port
bound) and cleans up after itself. None of them changes what is stored, so it may run beside a live server.
"""

from __future__ import annotations

import datetime
import errno
import os
import platform
import resource
import secrets
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import apsw
import trio
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from interview_edge.access.exposure import refuse_exposure
from interview_edge.backends import BackendError, BackendRefused, StorageBackend, open_backend
from interview_edge.catalog import CatalogUnavailable, holds_keys, open_catalog
from interview_edge.cli.doctor_findings import DEADLINE, Finding, Verdict
from interview_edge.cli.doctor_speech import examine_speech
from interview_edge.journal import JournalDamaged
from interview_edge.journal.damage import find_damage
from interview_edge.settings import Settings, SettingsError

_SLOW_SYNC = 0.05  # seconds: an fsync beyond this shows in every ack
_CLOCK_SKEW = datetime.timedelta(minutes=5)  # beyond it S3 and R2 refuse signatures
_FIXED_SQLITE = (3, 51, 3)  # before it: the WAL-reset race
_EARLIEST = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)  # this program is younger


_REACH = "check storage (EDGE_STORAGE) and whether this machine reaches it"


async def examine(settings: Settings) -> list[Finding]:
    """Run every check, each within a deadline; a check that breaks is a finding of its own."""
    findings = []
    for name, check in _CHECKS:
        try:
            with trio.fail_after(DEADLINE):
                # An abandoned thread ends with the process: nothing waits for it.
                findings.append(await trio.to_thread.run_sync(check, settings, abandon_on_cancel=True))
        except trio.TooSlowError:
            findings.append(Finding(name, Verdict.FAILED, f"no answer within {DEADLINE:g} s"))
        except OSError as error:
            findings.append(Finding(name, Verdict.FAILED, str(error)))
    findings.append(await _storage(settings))
    return findings + await examine_speech(settings)


def render(findings: list[Finding], console: Console) -> None:
    """The report as a table."""
    colours = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.FAILED: "bold red"}
    table = Table(title="interview-edge doctor")
    for column in ("check", "verdict", "found", "how to mend it"):
        table.add_column(column, overflow="fold")
    for item in findings:
        colour = colours[item.verdict]
        verdict = f"[{colour}]{item.verdict.value}[/]"
        table.add_row(item.check, verdict, escape(item.found), escape(item.mend))
    console.print(table)


def _versions(_: Settings) -> Finding:
    sqlite = apsw.sqlite_lib_version()
    found = f"Python {platform.python_version()}, SQLite {sqlite}, trio {trio.__version__}"
    if tuple(int(part) for part in sqlite.split(".")) < _FIXED_SQLITE:
        return Finding(
            "versions", Verdict.FAILED, found, "SQLite before 3.51.3 can corrupt its WAL: pip install -U apsw"
        )
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        return Finding("versions", Verdict.WARNING, found, "tested with Python 3.11 to 3.13")
    return Finding("versions", Verdict.OK, found)


def _host(settings: Settings) -> Finding:
    try:
        guarded = settings.takes_jwt or holds_keys(settings.catalog_url)
        refuse_exposure(settings, guarded=guarded)
    except CatalogUnavailable as error:
        return Finding("host", Verdict.FAILED, f"whether there are keys can't be read: {error}")
    except SettingsError as error:
        return Finding("host", Verdict.FAILED, settings.host, str(error))
    if settings.insecure:
        mend = "make a key (interview-edge keys create) and unset insecure (EDGE_INSECURE)"
        return Finding("host", Verdict.WARNING, f"{settings.host}, and nobody is asked for a key", mend)
    asked = "callers are asked for a key" if guarded else "without a key: only this machine is served"
    return Finding("host", Verdict.OK, f"{settings.host}, {asked}")


def _port(settings: Settings) -> Finding:
    family, kind, _, _, address = (socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM))[
        0
    ]
    with socket.socket(family, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            mend = {
                errno.EADDRINUSE: "something listens there, maybe this server: stop it or choose --port",
                errno.EACCES: "ports below 1024 need rights: choose --port 8080",
                errno.EADDRNOTAVAIL: "this machine has no such address: choose --host 127.0.0.1",
            }.get(error.errno or 0, "choose another --port")
            return Finding("port", Verdict.FAILED, f"{settings.port}: {error.strerror}", mend)
    return Finding("port", Verdict.OK, f"{settings.port} is free" if settings.port else "any free port")


def _clock(_: Settings) -> Finding:
    now = datetime.datetime.now(datetime.UTC)
    found = now.isoformat(timespec="seconds")
    if now < _EARLIEST:
        return Finding("clock", Verdict.FAILED, found, "the clock is wrong: set it, and run an NTP client")
    return Finding("clock", Verdict.OK, found)


def _open_files(settings: Settings) -> Finding:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = settings.max_connections + 256  # databases, objects under way, the rest of the process
    if limit < wanted:
        return Finding(
            "open files",
            Verdict.WARNING,
            f"at most {limit}",
            f"EDGE_MAX_CONNECTIONS {settings.max_connections} wants {wanted}: ulimit -n {wanted}",
        )
    return Finding("open files", Verdict.OK, f"at most {limit}")


def _data_folder(settings: Settings) -> Finding:
    folder = settings.data_dir.absolute()
    try:
        took = _time_sync(folder)
    except OSError as error:
        mend = f"create {folder} and give this user the right to write there, or choose --data-dir"
        return Finding("data folder", Verdict.FAILED, f"{folder}: {error.strerror}", mend)
    found = f"{folder}, a synced write takes {took * 1000:.1f} ms"
    if took > _SLOW_SYNC:
        return Finding("data folder", Verdict.WARNING, found, "every ack waits for that: use a local SSD")
    return Finding("data folder", Verdict.OK, found)


def _time_sync(folder: Path) -> float:
    """Seconds that one chunk's synced write takes in `folder`, or where it will be made."""
    with tempfile.TemporaryFile(dir=_existing(folder)) as file:
        started = time.perf_counter()
        file.write(bytes(32_000))
        file.flush()
        os.fsync(file.fileno())
        return time.perf_counter() - started


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())


def _disk_space(settings: Settings) -> Finding:
    free = shutil.disk_usage(_existing(settings.data_dir.absolute())).free
    spare = free - settings.journal_min_free_bytes
    found = f"{free / 1e9:.1f} GB free"
    if spare <= 0:
        return Finding(
            "disk space",
            Verdict.FAILED,
            found,
            f"acks stop below {settings.journal_min_free_bytes / 1e9:.1f} GB (EDGE_JOURNAL_MIN_FREE_BYTES)",
        )
    if spare < settings.journal_max_bytes:
        return Finding(
            "disk space",
            Verdict.WARNING,
            found,
            f"less than the journal may take in an outage of the store, "
            f"{settings.journal_max_bytes / 1e9:.1f} GB (EDGE_JOURNAL_MAX_BYTES)",
        )
    return Finding("disk space", Verdict.OK, found)


def _journal(settings: Settings) -> Finding:
    path = settings.journal_path
    if not path.exists():
        return Finding("journal", Verdict.OK, "none yet; the first start makes it")
    try:
        damage = find_damage(path)
    except (JournalDamaged, apsw.Error) as error:
        damage = str(error)
    if damage is not None:
        mend = "copy it away, then start once with EDGE_ACCEPT_DAMAGED_JOURNAL=1: what can be saved is kept"
        return Finding("journal", Verdict.FAILED, f"{path} is damaged: {damage}", mend)
    return Finding("journal", Verdict.OK, f"{path}, {path.stat().st_size / 1e6:.1f} MB")


def _catalog(settings: Settings) -> Finding:
    try:
        open_catalog(settings.catalog_url)  # not entered: the URL is read, the file isn't touched
    except SettingsError as error:
        return Finding("catalog", Verdict.FAILED, settings.catalog_url.partition(":")[0], str(error))
    return Finding("catalog", Verdict.OK, settings.catalog_url)


_CHECKS: tuple[tuple[str, Callable[[Settings], Finding]], ...] = (
    ("versions", _versions),
    ("host", _host),
    ("port", _port),
    ("clock", _clock),
    ("open files", _open_files),
    ("data folder", _data_folder),
    ("disk space", _disk_space),
    ("journal", _journal),
    ("catalog", _catalog),
)


async def _storage(settings: Settings) -> Finding:
    scheme = settings.storage_url.partition("://")[0]  # the rest may hold what nobody should read
    try:
        with trio.fail_after(DEADLINE):
            async with open_backend(settings.storage_url) as backend:
                skew = await _probe(backend)
    except trio.TooSlowError:
        return Finding("storage", Verdict.FAILED, f"{scheme}: no answer within {DEADLINE:g} s", _REACH)
    except BackendRefused as error:
        mend = "the store answers but refuses: check credentials, bucket and rights (put, get, delete)"
        return Finding("storage", Verdict.FAILED, f"{scheme}: {error}", mend)
    except BackendError as error:
        return Finding("storage", Verdict.FAILED, f"{scheme}: {error}", _REACH)
    if skew > _CLOCK_SKEW:
        mend = "set this machine's clock, and run an NTP client: signatures fail otherwise"
        return Finding("storage", Verdict.FAILED, f"{scheme}: its clock is {skew} away from ours", mend)
    return Finding("storage", Verdict.OK, f"{scheme}: put, read back and deleted a probe object")


async def _probe(backend: StorageBackend) -> datetime.timedelta:
    """Put, read and delete one object; answers how far the store's clock is from ours."""
    key = f"doctor/{secrets.token_hex(8)}"
    data = secrets.token_bytes(64)
    try:
        await backend.put(key, data, if_absent=True)
        if await backend.get(key) != data:
            raise BackendRefused("the probe object came back with other bytes")
        info = await backend.head(key)
    finally:
        # Also after a cancel: a second for not leaving the probe behind.
        with trio.move_on_after(1, shield=True):
            await backend.delete(key)
    return abs(datetime.datetime.now(datetime.UTC) - info.modified)
