from __future__ import annotations

import io
import os
import socket
from pathlib import Path

import pytest
from rich.console import Console

from interview_edge.cli import run
from interview_edge.cli.doctor import examine, render
from interview_edge.cli.doctor_findings import Finding, Verdict
from interview_edge.settings import Settings


def by_check(findings: list[Finding]) -> dict[str, Finding]:
    return {item.check: item for item in findings}


async def test_a_healthy_node_has_no_failure(tmp_path: Path) -> None:
    findings = await examine(Settings(port=0, data_dir=tmp_path, journal_min_free_bytes=0))
    assert [item for item in findings if item.verdict is Verdict.FAILED] == []
    assert {"journal", "storage", "disk space", "port", "data folder"} <= by_check(findings).keys()


async def test_the_probe_object_is_gone_afterwards(tmp_path: Path) -> None:
    findings = await examine(
        Settings(port=0, data_dir=tmp_path / "data", storage=f"file://{tmp_path}/objects")
    )
    assert by_check(findings)["storage"].verdict is Verdict.OK
    assert [path for path in (tmp_path / "objects").rglob("*") if path.is_file()] == []


async def test_a_taken_port_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        finding = by_check(await examine(Settings(port=port, data_dir=tmp_path)))["port"]
    assert finding.verdict is Verdict.FAILED
    assert "--port" in finding.mend


async def test_an_open_host_is_told(tmp_path: Path) -> None:
    open_host = Settings(host="0.0.0.0", port=0, data_dir=tmp_path)  # noqa: S104  # refused, which is the point
    finding = by_check(await examine(open_host))["host"]
    assert finding.verdict is Verdict.FAILED


async def test_a_damaged_journal_is_told_and_left_alone(tmp_path: Path) -> None:
    journal = tmp_path / "journal.db"
    journal.write_bytes(b"not a database, and long enough to be sure of it" * 20)
    before = journal.read_bytes()
    finding = by_check(await examine(Settings(port=0, data_dir=tmp_path)))["journal"]
    assert finding.verdict is Verdict.FAILED
    assert "EDGE_ACCEPT_DAMAGED_JOURNAL" in finding.mend
    assert journal.read_bytes() == before


async def test_a_catalog_of_another_kind_is_told(tmp_path: Path) -> None:
    other = Settings(port=0, data_dir=tmp_path, catalog="postgresql://user:hunter2@host/db")
    finding = by_check(await examine(other))["catalog"]
    assert finding.verdict is Verdict.FAILED
    assert "EDGE_CATALOG" in finding.mend
    assert "hunter2" not in finding.found + finding.mend


async def test_too_little_disk_is_told(tmp_path: Path) -> None:
    greedy = Settings(port=0, data_dir=tmp_path, journal_min_free_bytes=10**15)
    assert by_check(await examine(greedy))["disk space"].verdict is Verdict.FAILED
    large = Settings(port=0, data_dir=tmp_path, journal_min_free_bytes=0, journal_max_bytes=10**15)
    assert by_check(await examine(large))["disk space"].verdict is Verdict.WARNING


async def test_an_unwritable_data_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    finding = by_check(await examine(Settings(port=0, data_dir=tmp_path / "file")))["data folder"]
    assert finding.verdict is Verdict.FAILED


@pytest.mark.parametrize("storage", ["nosuch://x", "no url at all"])
async def test_a_store_that_cannot_be_opened_is_told(tmp_path: Path, storage: str) -> None:
    finding = by_check(await examine(Settings(port=0, data_dir=tmp_path, storage=storage)))["storage"]
    assert finding.verdict is Verdict.FAILED
    assert "EDGE_STORAGE" in finding.mend


async def test_few_open_files_are_a_warning(tmp_path: Path) -> None:
    many = Settings(port=0, data_dir=tmp_path, max_connections=1_000_000)
    assert by_check(await examine(many))["open files"].verdict is Verdict.WARNING


def test_the_report_shows_everything() -> None:
    console = Console(file=io.StringIO(), width=120)
    render([Finding("port", Verdict.FAILED, "8080: in use", "choose --port")], console)
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert all(text in shown for text in ("port", "failed", "8080: in use", "choose --port"))


def test_the_report_shows_brackets_as_they_are() -> None:
    console = Console(file=io.StringIO(), width=200)
    render([Finding("host", Verdict.OK, "[::1] [red]", "pip install 'interview-edge[local]'")], console)
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "[::1] [red]" in shown
    assert "pip install 'interview-edge[local]'" in shown


def test_the_exit_status_tells_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in os.environ if name.startswith("EDGE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("EDGE_JOURNAL_MIN_FREE_BYTES", "0")
    assert run(["doctor", "--port", "0", "--data-dir", str(tmp_path)]) == 0
    monkeypatch.setenv("EDGE_JOURNAL_MIN_FREE_BYTES", str(10**15))
    assert run(["doctor", "--port", "0", "--data-dir", str(tmp_path)]) == 1
    assert "acks stop" in capsys.readouterr().out
