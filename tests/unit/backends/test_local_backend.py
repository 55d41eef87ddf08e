"""What the local disk has beyond the contract: fsync and its order, crash leftovers, symlinks, odd trees."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from interview_edge.backends import BackendRefused, BackendUnavailable, ObjectNotFound, open_backend
from interview_edge.backends.files import FileStore
from interview_edge.backends.local import LocalBackend


class WatchedSync:
    """os.fsync that remembers, as paths, what was synced and what the object's folder held then."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.synced: list[str] = []
        self.fail_with: int | None = None

    def __call__(self, fd: int) -> None:
        if self.fail_with is not None:
            raise OSError(self.fail_with, os.strerror(self.fail_with))
        path = Path(os.readlink(f"/proc/self/fd/{fd}"))
        kind = "folder" if stat.S_ISDIR(os.fstat(fd).st_mode) else "file"
        name = path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)
        there = sorted(p.name for p in (self.root / "s").rglob("*") if p.is_file())
        self.synced.append(f"{kind} {name if kind == 'folder' else 'temporary'}: {' '.join(there)}")
        os.fsync(fd)

    def take(self) -> list[str]:
        taken, self.synced = self.synced, []
        return taken


@pytest.fixture
def sync(tmp_path: Path) -> WatchedSync:
    return WatchedSync(tmp_path)


@pytest.fixture
def store(tmp_path: Path, sync: WatchedSync) -> FileStore:
    store = FileStore(tmp_path, fsync=sync)
    sync.take()
    return store


def put(
    store: FileStore, key: str, data: bytes = b"data", *, if_absent: bool = False, **metadata: str
) -> bool:
    return store.put(key, data, "application/octet-stream", metadata, if_absent=if_absent)


@pytest.mark.parametrize("if_absent", [False, True])
def test_put_syncs_new_folders_then_the_file_then_after_naming_it_its_folder(
    store: FileStore, sync: WatchedSync, if_absent: bool
) -> None:
    put(store, "s/i/a", if_absent=if_absent)
    assert sync.take() == ["folder .: ", "folder s: ", "file temporary: ", "folder s/i: a"]
    put(store, "s/i/b", if_absent=if_absent)
    assert sync.take() == ["file temporary: a", "folder s/i: a b"]


def test_put_syncs_metadata_before_the_object_is_named(store: FileStore, sync: WatchedSync) -> None:
    put(store, "s/a", seq="1")
    steps = sync.take()
    assert steps[-1] == "folder s: a"
    named = [step for step in steps if step.startswith("folder .interview-edge/meta/")]
    assert named
    assert all(step.endswith(": ") for step in steps[:-1])


def test_delete_syncs_the_folder_after_removing(store: FileStore, sync: WatchedSync) -> None:
    put(store, "s/a")
    put(store, "s/b")
    sync.take()
    store.delete("s/a")
    assert sync.take() == ["folder s: b"]


def test_what_is_reported_as_there_or_gone_is_synced_though_another_did_it(
    tmp_path: Path, store: FileStore, sync: WatchedSync
) -> None:
    # As a process leaves it that was killed between naming the object and the fsync of its folder.
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "a").write_bytes(b"theirs")
    assert not put(store, "s/a", if_absent=True)
    assert "folder s: a" in sync.take()
    (tmp_path / "s" / "a").unlink()
    store.delete("s/a")
    assert sync.take() == ["folder s: "]


def test_the_root_and_its_parents_are_made_durably(tmp_path: Path, sync: WatchedSync) -> None:
    FileStore(tmp_path / "x" / "y", fsync=sync).close()
    folders = [step.removeprefix("folder ").partition(":")[0] for step in sync.take()]
    assert folders[:2] == [".", "x"]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (errno.ENOSPC, BackendRefused),
        (errno.EDQUOT, BackendRefused),
        (errno.EROFS, BackendRefused),
        (errno.EIO, BackendUnavailable),
    ],
)
def test_a_failed_sync_fails_the_put_and_leaves_no_object_and_no_temporary_file(
    tmp_path: Path, store: FileStore, sync: WatchedSync, code: int, expected: type[Exception]
) -> None:
    put(store, "s/before")
    sync.fail_with = code
    with pytest.raises(expected, match=os.strerror(code)):
        put(store, "s/a")
    with pytest.raises(ObjectNotFound):
        store.get("s/a")
    assert [name for name in os.listdir(tmp_path / ".interview-edge/tmp") if not name.endswith(".lock")] == []


def test_opening_removes_what_crashed_writers_left_but_not_what_living_ones_have(
    tmp_path: Path, store: FileStore
) -> None:
    tmp = tmp_path / ".interview-edge" / "tmp"
    (tmp / "dead.lock").write_bytes(b"")
    (tmp / "dead.7").write_bytes(b"half")
    (tmp / "lockless.1").write_bytes(b"half")
    with store._temporaries.written(b"under way") as (name, _):
        FileStore(tmp_path).close()
        left = sorted(os.listdir(tmp))
        assert left == sorted([name, name.partition(".")[0] + ".lock"])
    store.close()
    assert os.listdir(tmp) == []


def test_closing_gives_every_descriptor_back(tmp_path: Path) -> None:
    def opened() -> set[str]:
        return {os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _is_open(fd)}

    store = FileStore(tmp_path)
    put(store, "s/a", seq="1")
    store.head("s/a")
    list(store.walk("", None))
    for call in (store.get, store.head):
        with pytest.raises(ObjectNotFound):
            call("s/a/b")
    store.delete("s/a")
    store.close()
    assert not [path for path in opened() if path.startswith(str(tmp_path))]


def _is_open(fd: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{fd}")


def test_symlinks_lead_nowhere(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    root = tmp_path / "root"
    root.mkdir()
    (root / "folder").symlink_to(outside)
    (root / "file").symlink_to(outside / "secret")
    store = FileStore(root)
    for key in ("folder/secret", "file"):
        for read in (store.get, store.head):
            with pytest.raises((ObjectNotFound, BackendRefused)):
                read(key)
        for if_absent in (False, True):
            with pytest.raises(BackendRefused):
                put(store, key, b"overwritten", if_absent=if_absent)
    store.delete("folder/secret")
    assert [info.key for info in store.walk("", None)] == []
    assert [info.key for info in store.walk("folder/", None)] == []
    assert (outside / "secret").read_bytes() == b"secret"


def test_a_root_that_is_a_symlink_is_the_operators_choice(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "root").symlink_to(tmp_path / "disk")
    put(FileStore(tmp_path / "root"), "s/a")
    assert (tmp_path / "disk" / "s" / "a").read_bytes() == b"data"


def test_what_is_not_an_object_is_not_read_or_listed(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    put(store, "s/a")
    os.mkfifo(tmp_path / "s" / "pipe")
    (tmp_path / os.fsdecode(b"s/not-utf8-\xff")).write_bytes(b"")
    with pytest.raises(ObjectNotFound):
        store.get("s/pipe")
    with pytest.raises(ObjectNotFound):
        store.get("s")
    assert [info.key for info in store.walk("", None)] == ["s/a"]
    assert [info.key for info in store.walk(".interview-edge/", None)] == []


def test_a_key_cannot_be_an_object_and_a_folder(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    put(store, "s/a")
    for key in ("s/a/b", "s"):
        with pytest.raises(BackendRefused):
            put(store, key)
    store.delete("s")
    assert store.get("s/a") == b"data"


async def test_keys_that_this_layout_cannot_name_are_refused(tmp_path: Path) -> None:
    async with open_backend(tmp_path.as_uri()) as backend:
        for key in (".interview-edge", ".interview-edge/tmp/x", "é" * 128, "a/" + "b" * 256):
            with pytest.raises(BackendRefused, match="invalid key"):
                await backend.put(key, b"")
        await backend.put("é" * 127, b"254 bytes")
        await backend.put("a/.interview-edge", b"only the first segment is reserved")


def test_metadata_is_of_the_object_that_is_there_at_every_step_of_a_put(tmp_path: Path) -> None:
    """A kill before the rename leaves the old object with its old metadata, after it the new with the new."""

    class Killed(BaseException):
        pass

    def describe() -> tuple[bytes, dict[str, str]]:
        # By another store: what the next process sees.
        fresh = FileStore(tmp_path)
        try:
            return fresh.get("s/a"), dict(fresh.head("s/a").metadata)
        finally:
            fresh.close()

    store = FileStore(tmp_path)
    put(store, "s/a", b"old", v="old")
    steps = 0

    def kill_at(n: int) -> Callable[[int], None]:
        def fsync(fd: int) -> None:
            nonlocal steps
            steps += 1
            if steps == n:
                raise Killed

        return fsync

    seen = []
    for n in range(1, 20):
        steps = -100  # opening syncs too
        dying = FileStore(tmp_path, fsync=kill_at(n))
        steps = 0
        try:
            put(dying, "s/a", b"new", v="new")
        except Killed:
            seen.append(describe())
        else:
            break
    assert len(seen) >= 4
    assert set(map(repr, seen)) <= {repr((b"old", {"v": "old"})), repr((b"new", {"v": "new"}))}
    assert describe() == (b"new", {"v": "new"})


def test_replacing_and_deleting_leave_no_metadata_behind(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    for n in range(5):
        put(store, "s/a", v=str(n))
        put(store, "s/a", if_absent=True, v="loser")
    meta = tmp_path / ".interview-edge" / "meta"
    assert len([path for path in meta.rglob("*") if path.is_file()]) == 1
    assert store.head("s/a").metadata == {"v": "4"}
    store.delete("s/a")
    assert [path for path in meta.rglob("*") if path.is_file()] == []


def test_a_type_that_the_suffix_says_needs_no_metadata_file(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    for key, content_type in {
        "a.json": "application/json",
        "a.wav": "audio/wav",
        "a.pcm": "application/octet-stream",
    }.items():
        store.put(key, b"", content_type, {}, if_absent=False)
        assert store.head(key).content_type == content_type
    assert not (tmp_path / ".interview-edge" / "meta").exists()


def test_emptied_folders_go_away_and_can_come_back(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    for _ in range(2):
        put(store, "s/i/chunks/1")
        put(store, "s/j")
        store.delete("s/i/chunks/1")
        assert not (tmp_path / "s" / "i").exists()
        assert (tmp_path / "s" / "j").exists()
        store.delete("s/j")
        assert not (tmp_path / "s").exists()


async def test_puts_and_deletes_that_make_and_remove_the_same_folder_all_succeed(tmp_path: Path) -> None:
    backend = LocalBackend(FileStore(tmp_path, fsync=lambda fd: None))

    async def put_and_delete(n: int) -> None:
        for round_ in range(20):
            await backend.put(f"s/i/{n}-{round_}", b"x", if_absent=bool(n % 2))
            await backend.delete(f"s/i/{n}-{round_}")

    async with trio.open_nursery() as nursery:
        for n in range(6):
            nursery.start_soon(put_and_delete, n)
    assert [info.key async for info in backend.list("")] == []
    await backend.aclose()


async def test_a_list_of_many_pages_holds_no_descriptor_between_objects(tmp_path: Path) -> None:
    backend = LocalBackend(FileStore(tmp_path, fsync=lambda fd: None))
    (tmp_path / "s").mkdir()
    for n in range(600):
        (tmp_path / "s" / f"{n:04d}").write_bytes(b"")
    before = len(os.listdir("/proc/self/fd"))
    seen = []
    async for info in backend.list("s/0"):
        seen.append(info.key)
        assert len(os.listdir("/proc/self/fd")) == before
    assert seen == [f"s/{n:04d}" for n in range(600)]
    assert [info.key async for info in backend.list("s/", after="s/0299", limit=2)] == ["s/0300", "s/0301"]
    await backend.aclose()


async def test_after_aclose_calls_are_unavailable(tmp_path: Path) -> None:
    async with open_backend(tmp_path.as_uri()) as backend:
        await backend.aclose()
        for call in (backend.put("a", b""), backend.get("a"), anext(aiter(backend.list("")))):
            with pytest.raises(BackendUnavailable, match="closed"):
                await call


async def test_aclose_in_a_cancelled_scope_closes(tmp_path: Path) -> None:
    backend = LocalBackend(FileStore(tmp_path))
    with trio.CancelScope() as scope:
        scope.cancel()
        await backend.aclose()
    assert [name for name in os.listdir(tmp_path / ".interview-edge/tmp") if name.endswith(".lock")] == []
