"""What the local disk has beyond the contract: fsync and its order, crash leftovers, symlinks, odd trees."""

from __future__ import annotations

import errno
import gc
import os
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from interview_edge.backends import (
    BackendError,
    BackendRefused,
    BackendUnavailable,
    ObjectNotFound,
    open_backend,
)
from interview_edge.backends.attributes import Description, SetAttribute, set_attribute
from interview_edge.backends.files import FileStore
from interview_edge.backends.local import LocalBackend
from interview_edge.backends.writing import NewFile


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


def no_attributes(fd: int, name: str, value: bytes) -> None:
    raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))


@pytest.fixture(params=[set_attribute, no_attributes], ids=["attributes", "side-files"])
def setxattr(request: pytest.FixtureRequest) -> SetAttribute:
    """Where the file system keeps descriptions; tests that take this run on both."""
    setxattr: SetAttribute = request.param
    return setxattr


@pytest.fixture
def store(tmp_path: Path, sync: WatchedSync) -> FileStore:
    store = FileStore(tmp_path, fsync=sync)
    sync.take()
    return store


def put(
    store: FileStore, key: str, data: bytes = b"data", *, if_absent: bool = False, **metadata: str
) -> bool:
    (outcome,) = store.put_all(
        [NewFile(key, data, Description("application/octet-stream", metadata), if_absent)]
    )
    if isinstance(outcome, BackendError):
        raise outcome
    return outcome


@pytest.mark.parametrize("if_absent", [False, True])
def test_put_syncs_new_folders_then_the_file_then_after_naming_it_its_folder(
    store: FileStore, sync: WatchedSync, if_absent: bool
) -> None:
    put(store, "s/i/a", if_absent=if_absent)
    assert sync.take() == ["folder .: ", "folder s: ", "file temporary: ", "folder s/i: a"]
    put(store, "s/i/b", if_absent=if_absent)
    assert sync.take() == ["file temporary: a", "folder s/i: a b"]


def test_metadata_costs_no_sync_where_the_file_system_keeps_attributes(
    store: FileStore, sync: WatchedSync
) -> None:
    put(store, "s/a", seq="1")
    sync.take()
    put(store, "s/b", seq="2")
    assert sync.take() == ["file temporary: a", "folder s: a b"]


def test_an_attribute_is_set_before_the_files_sync(tmp_path: Path) -> None:
    described = []

    def fsync(fd: int) -> None:
        if stat.S_ISREG(os.fstat(fd).st_mode):
            described.append(b"seq" in os.getxattr(fd, "user.interview-edge"))

    put(FileStore(tmp_path, fsync=fsync), "s/a", seq="1")
    assert described == [True]


def test_a_side_file_is_synced_and_named_before_the_object_is_named(
    tmp_path: Path, sync: WatchedSync
) -> None:
    store = FileStore(tmp_path, fsync=sync, setxattr=no_attributes)
    put(store, "s/first")
    sync.take()
    put(store, "s/a", seq="1")
    steps = sync.take()
    assert steps[-2:] == ["file temporary: first", "folder s: a first"]
    side = steps.index("file temporary: first")
    assert side < len(steps) - 3  # its folders are made, its own folder synced, between
    assert steps[-3].startswith("folder .interview-edge/meta/")
    assert steps[-3].endswith(": first")


def test_no_two_attributes_are_equal_and_one_without_a_salt_is_read_too(tmp_path: Path) -> None:
    """ext4 compares a new value with all of its hash: it must not hash like the values of other objects."""
    store = FileStore(tmp_path)
    kept = []
    for key in ("s/a", "s/b"):
        put(store, key, v="1")
        kept.append(os.getxattr(tmp_path / key, "user.interview-edge"))
        assert store.head(key).metadata == {"v": "1"}
    assert kept[0] != kept[1]
    before = b'{"content_type":"audio/wav","metadata":{"v":"2"}}'
    os.setxattr(tmp_path / "s/a", "user.interview-edge", before)
    assert store.head("s/a").content_type == "audio/wav"
    assert store.head("s/a").metadata == {"v": "2"}


@pytest.mark.parametrize("code", [errno.E2BIG, errno.ENOSPC])
def test_metadata_too_long_for_an_attribute_goes_beside_the_file(tmp_path: Path, code: int) -> None:
    def takes_100_bytes(fd: int, name: str, value: bytes) -> None:
        if len(value) > 100:
            raise OSError(code, os.strerror(code))
        set_attribute(fd, name, value)

    store = FileStore(tmp_path, setxattr=takes_100_bytes)
    put(store, "s/short", v="short")
    put(store, "s/long", v="long" * 100)
    assert store.head("s/short").metadata == {"v": "short"}
    assert store.head("s/long").metadata == {"v": "long" * 100}
    assert len(side_files(tmp_path)) == 1
    put(store, "s/long", v="short again")
    assert store.head("s/long").metadata == {"v": "short again"}
    assert side_files(tmp_path) == []


def test_any_other_failure_to_describe_fails_the_put(tmp_path: Path) -> None:
    def broken(fd: int, name: str, value: bytes) -> None:
        if value != b"{}":  # the look at what the file system can
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with pytest.raises(BackendUnavailable, match=os.strerror(errno.EIO)):
        put(FileStore(tmp_path, setxattr=broken), "s/a", v="1")


def test_what_was_put_without_attributes_is_read_replaced_and_deleted_with_them(tmp_path: Path) -> None:
    old = FileStore(tmp_path, setxattr=no_attributes)
    for key in ("s/a", "s/b"):
        put(old, key, v="old")
    old.close()
    store = FileStore(tmp_path)
    assert store.head("s/a").metadata == {"v": "old"}
    put(store, "s/a", v="new")
    assert store.head("s/a").metadata == {"v": "new"}
    store.delete("s/b")
    assert side_files(tmp_path) == []


def test_a_description_that_cannot_be_read_is_refused_and_the_object_still_read(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    put(store, "s/a", v="1")
    os.setxattr(tmp_path / "s" / "a", "user.interview-edge", b"{")
    with pytest.raises(BackendRefused, match="damaged"):
        store.head("s/a")
    assert store.get("s/a") == b"data"


def side_files(root: Path) -> list[Path]:
    return [path for path in (root / ".interview-edge" / "meta").rglob("*") if path.is_file()]


def new_file(key: str, *, if_absent: bool = True) -> NewFile:
    return NewFile(key, b"data", Description("application/octet-stream", {"v": "1"}), if_absent)


def test_a_group_syncs_each_file_then_names_them_then_syncs_each_folder_once(
    store: FileStore, sync: WatchedSync
) -> None:
    put(store, "s/i/0")
    put(store, "s/j/0")
    sync.take()
    keys = ["s/i/1", "s/j/1", "s/i/2"]
    assert store.put_all([new_file(key) for key in keys]) == [True, True, True]
    assert sync.take() == [
        "file temporary: 0 0",
        "file temporary: 0 0",
        "file temporary: 0 0",
        "folder s/i: 0 0 1 2",
        "folder s/j: 0 0 1 1 2",
    ]


def test_in_a_group_each_put_fails_for_itself(tmp_path: Path, store: FileStore) -> None:
    put(store, "s/there")
    put(store, "s/object")
    outcomes = store.put_all(
        [
            new_file("s/there"),
            new_file("s/object/below"),
            new_file("s/new"),
            new_file("s/new"),
            new_file("s", if_absent=False),
        ]
    )
    assert outcomes[0] is False
    assert isinstance(outcomes[1], BackendRefused)
    assert outcomes[2:4] == [True, False]
    assert isinstance(outcomes[4], BackendRefused)
    assert [info.key for info in store.walk("", None)] == ["s/new", "s/object", "s/there"]


def test_a_folders_failed_sync_fails_its_puts_and_no_other_folders(
    tmp_path: Path, store: FileStore, sync: WatchedSync
) -> None:
    put(store, "s/i/0")
    put(store, "s/j/0")
    store.close()

    def fsync(fd: int) -> None:
        path = os.readlink(f"/proc/self/fd/{fd}")
        if path.endswith("s/i") and (tmp_path / "s/i/1").exists():
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        os.fsync(fd)

    first, second, other = FileStore(tmp_path, fsync=fsync).put_all(
        [new_file("s/i/1"), new_file("s/i/2"), new_file("s/j/1")]
    )
    assert isinstance(first, BackendUnavailable)
    assert isinstance(second, BackendUnavailable)
    assert other is True


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
    with store._writing._temporaries.written(b"under way") as temporary:
        FileStore(tmp_path).close()
        left = sorted(os.listdir(tmp))
        assert left == sorted([temporary.name, temporary.name.partition(".")[0] + ".lock"])
    store.close()
    assert os.listdir(tmp) == []


def test_closing_gives_every_descriptor_back(tmp_path: Path, setxattr: SetAttribute) -> None:
    def opened() -> set[str]:
        return {os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _is_open(fd)}

    store = FileStore(tmp_path, setxattr=setxattr)
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


def test_metadata_is_of_the_object_that_is_there_at_every_step_of_a_put(
    tmp_path: Path, setxattr: SetAttribute
) -> None:
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

    store = FileStore(tmp_path, setxattr=setxattr)
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
        dying = FileStore(tmp_path, fsync=kill_at(n), setxattr=setxattr)
        steps = 0
        try:
            put(dying, "s/a", b"new", v="new")
        except Killed:
            seen.append(describe())
        else:
            break
    assert len(seen) >= (2 if setxattr is set_attribute else 4)
    assert set(map(repr, seen)) <= {repr((b"old", {"v": "old"})), repr((b"new", {"v": "new"}))}
    assert describe() == (b"new", {"v": "new"})


def test_replacing_and_deleting_leave_no_metadata_behind(tmp_path: Path) -> None:
    store = FileStore(tmp_path, setxattr=no_attributes)
    for n in range(5):
        put(store, "s/a", v=str(n))
        put(store, "s/a", if_absent=True, v="loser")
    assert len(side_files(tmp_path)) == 1
    assert store.head("s/a").metadata == {"v": "4"}
    store.delete("s/a")
    assert side_files(tmp_path) == []


def test_a_type_that_the_suffix_says_needs_no_description(tmp_path: Path, setxattr: SetAttribute) -> None:
    store = FileStore(tmp_path, setxattr=setxattr)
    for key, content_type in {
        "a.json": "application/json",
        "a.wav": "audio/wav",
        "a.pcm": "application/octet-stream",
    }.items():
        assert store.put_all([NewFile(key, b"", Description(content_type, {}), if_absent=False)]) == [True]
        assert store.head(key).content_type == content_type
        assert os.listxattr(tmp_path / key) == []
    assert side_files(tmp_path) == []


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
    before = _descriptors_below(tmp_path)
    seen = []
    async for info in backend.list("s/0"):
        seen.append(info.key)
        assert _descriptors_below(tmp_path) == before
    assert seen == [f"s/{n:04d}" for n in range(600)]
    assert [info.key async for info in backend.list("s/", after="s/0299", limit=2)] == ["s/0300", "s/0301"]
    await backend.aclose()


def _descriptors_below(folder: Path) -> int:
    """Only the store's own: what earlier tests left to the garbage collector may close meanwhile."""
    links = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _is_open(fd)]
    return sum(Path(link).is_relative_to(folder) for link in links)


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


async def test_failed_puts_leave_no_data_to_the_garbage_collector(tmp_path: Path) -> None:
    def broken(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    store = FileStore(tmp_path)
    backend = LocalBackend(store)
    store._writing._fsync = broken

    async def put(n: int) -> None:
        with suppress(BackendUnavailable):
            await backend.put(f"{n}", data, metadata={"v": "1"})

    data = os.urandom(9)
    held = sys.getrefcount(data)
    gc.disable()
    try:
        async with trio.open_nursery() as nursery:
            for n in range(4):
                nursery.start_soon(put, n)
        for _ in range(2000):  # the thread lets go of its arguments a moment after it has answered
            if sys.getrefcount(data) == held:
                break
            await trio.sleep(0.005)
    finally:
        gc.enable()
    assert sys.getrefcount(data) == held
    await backend.aclose()
