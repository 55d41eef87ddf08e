"""`interview-edge fsck` on a node's own files: its words, its JSON, its exit statuses."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from interview_edge.archive.fsck import Kind
from interview_edge.archive.fsck.findings import FindingTray
from interview_edge.cli import fsck as fsck_module
from interview_edge.cli import run
from interview_edge.cli.seqs import seqs_in_words
from nodes import nodes_in, second

Fsck = Callable[..., tuple[int, str, str]]


@pytest.fixture
def fsck(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Fsck:
    """Run it on the test's folder: its status, output and errors."""
    monkeypatch.setenv("EDGE_JOURNAL_MIN_FREE_BYTES", "0")

    def command(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = run(["fsck", "--data-dir", str(tmp_path / "data"), *arguments])
        shown = capsys.readouterr()
        return status, shown.out, shown.err

    return command


@pytest.fixture
def objects(tmp_path: Path) -> Path:
    """Where a node that ran has put three seconds of session `one two`."""

    async def record() -> None:
        async with nodes_in(tmp_path)() as edge, edge.session("one two") as session:
            for seq in (1, 2, 3):
                await session.feed(second(seq), seq=seq)
            await session.finalize()

    trio.run(record)
    return tmp_path / "data/objects/sessions/one%20two/chunks"


def test_a_sound_store(fsck: Fsck, objects: Path) -> None:
    status, out, err = fsck("--deep")
    assert (status, err) == (0, "")
    size = 3 * 32_000 + (objects.parent / "result.json").stat().st_size
    assert out == f"4 objects ({size:,} bytes), 1 sessions checked\nnothing is wrong\n"


def test_what_is_lost_and_what_can_be_adopted(fsck: Fsck, objects: Path) -> None:
    (objects / "00000002.pcm").unlink()
    (objects / "00000007.pcm").write_bytes(second(7))
    status, out, _ = fsck("--json")
    assert status == 1
    *findings, last = [json.loads(line) for line in out.splitlines()]
    common = {"session_id": "one two", "stream": "mixed", "objects": 1, "size": 32_000}
    folder = "sessions/one%20two/chunks"
    missing = common | {
        "kind": "missing",
        "state": "lost",
        "seqs": [[2, 2]],
        "keys": [f"{folder}/00000002.pcm"],
    }
    adoptable = common | {
        "kind": "adoptable",
        "state": "repairable",
        "seqs": [[7, 7]],
        "keys": [f"{folder}/00000007.pcm"],
    }
    assert sorted(findings, key=lambda f: f["kind"]) == [adoptable, missing]
    assert last["summary"]["problems"] == 2
    assert last["summary"]["findings"] == [
        {"kind": "adoptable", "state": "repairable", "count": 1},
        {"kind": "missing", "state": "lost", "count": 1},
    ]
    status, out, _ = fsck("--repair")
    assert status == 1
    assert "REPAIRED: audio in the store that nothing names, of seconds that aren't held" in out
    assert f'1 objects, 32,000 bytes: "{folder}/00000007.pcm"' in out
    assert "LOST: held audio whose object isn't in the store\n" in out
    assert '  session "one two", stream mixed, seqs 2\n' in out
    assert out.endswith("1 problems are left\n")
    (objects / "00000002.pcm").write_bytes(second(2))
    assert fsck("--repair", "--deep")[0] == 0


def test_a_stray_file_is_of_no_session(fsck: Fsck, objects: Path) -> None:
    for name in ("foo.txt", "bar.txt"):
        (objects.parent.parent / name).write_text("hello")
    _, out, _ = fsck()
    assert 'session "foo.txt"' not in out
    assert "  of no session\n" in out


def test_the_objects_of_a_finding_are_in_order() -> None:
    found: list[Any] = []
    tray = FindingTray(found.append)
    for key in ("sessions/s/b", "sessions/s/a"):
        tray.add(Kind.UNKNOWN, fsck_module.State.KEPT, session_id="s", key=key)
    tray.flush()
    assert found[0].keys == ("sessions/s/a", "sessions/s/b")


def test_a_folder_in_use_is_no_verdict(fsck: Fsck, objects: Path, tmp_path: Path) -> None:
    async def beside() -> tuple[int, str, str]:
        async with nodes_in(tmp_path)():
            return await trio.to_thread.run_sync(fsck)

    status, _, err = trio.run(beside)  # the node's log lines may lie in between
    assert status == 2
    assert "is in use by another interview-edge process" in err


def test_nothing_to_check_is_no_verdict(fsck: Fsck, objects: Path, tmp_path: Path) -> None:
    assert fsck("--storage", "memory://")[0] == 2
    (tmp_path / "data").rename(tmp_path / "moved")
    status, _, err = fsck()
    assert status == 2
    assert "there is no data folder" in err
    assert not (tmp_path / "data").exists()


def test_a_folder_without_a_catalog_is_no_verdict_and_stays_as_it_is(fsck: Fsck, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    status, out, err = fsck()
    assert (status, out) == (2, "")
    assert f"there is no catalog {tmp_path}/data/catalog.db" in err
    assert list((tmp_path / "data").iterdir()) == []


def test_a_store_folder_that_is_not_there_is_said_and_not_made(
    fsck: Fsck, objects: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    status, out, err = fsck("--storage", elsewhere.as_uri())
    assert status == 1
    assert f"there is no store folder {elsewhere}" in err
    assert "LOST: held audio whose object isn't in the store" in out
    status, out, err = fsck("--repair", "--storage", elsewhere.as_uri())
    assert (status, out) == (2, "")
    assert "nothing is mended" in err
    assert not elsewhere.exists()


@pytest.mark.parametrize("file", ["catalog.db", "journal.db"])
def test_a_damaged_file_is_no_verdict(fsck: Fsck, objects: Path, tmp_path: Path, file: str) -> None:
    (tmp_path / "data" / file).write_bytes(b"not a database" * 1000)
    status, out, err = fsck("--repair")
    assert (status, out) == (2, "")
    assert "can't go on" in err


def test_a_store_that_is_not_there_is_no_verdict(
    fsck: Fsck, objects: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_UPLOAD_TIMEOUT", "0.2")
    status, out, err = fsck("--storage", "s3://bucket?endpoint=http://127.0.0.1:9")
    assert (status, out) == (2, "")
    assert "can't go on: Backend" in err


def test_progress_is_one_line_for_who_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    times = iter([1.0, 1.0, 1.1, 2.0, 2.0])
    monkeypatch.setattr(fsck_module.time, "monotonic", lambda: next(times))
    for out, shown in (
        (Terminal(), ["1,000 objects, 0 sessions", "3,000 objects, 7 sessions", ""]),
        (io.StringIO(), []),
    ):
        with fsck_module._progress_line(out) as (show, _):
            for progress in ((1000, 0), (2000, 0), (3000, 7)):
                show(fsck_module.Progress(*progress))
        assert out.getvalue().split("\r\x1b[K")[1:] == shown


def test_an_id_can_not_write_to_the_terminal() -> None:
    finding: Any = fsck_module.Finding(
        Kind.MISSING, fsck_module.State.LOST, "\x1b[2Jx", "mixed", ((1, 40),), 5, 9, ("a", "b", "c")
    )
    words = fsck_module._finding_in_words(finding)
    assert "\x1b" not in words
    assert '"a", "b", "c", ...' in words
    many = tuple((seq, seq) for seq in range(1, 60, 2))
    assert seqs_in_words(many).endswith("37, 39 and 10 ranges more")
