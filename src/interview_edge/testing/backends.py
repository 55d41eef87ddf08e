"""`check_backend`: the contract of `StorageBackend`, sentence by sentence, for whoever implements it."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from functools import partial

import trio
import trio.testing

from interview_edge.backends.protocol import (
    BackendRefused,
    GroupPutter,
    ObjectInfo,
    ObjectNotFound,
    ObjectPut,
    StorageBackend,
)

OpenBackend = Callable[[], AbstractAsyncContextManager[StorageBackend]]
Check = Callable[[StorageBackend, str], Awaitable[None]]

CHUNK = bytes(range(256)) * 125  # one second of audio is as long
LARGE = bytes(range(251)) * 20_000  # 5 MB, and no power of two repeats in it

INVALID_KEYS = {
    "empty": "",
    "absolute": "/a",
    "with a '/' at its end": "a/",
    "with an empty segment": "a//b",
    "with a '.' segment": "a/./b",
    "with a '..' segment": "a/../../b",
    "that is '..'": "..",
    "with a NUL": "a\0b",
    "with a line break": "a\nb",
    "with a backslash": "a\\b",
    "of over 1024 bytes": "/".join(["é" * 100] * 6),
    "that isn't UTF-8": "a\udc80",
}


async def check_backend(open_backend: OpenBackend, *, persistent: bool = True, timeout: float = 60.0) -> None:
    """Hold a backend to the text of `StorageBackend`.

    `open_backend()` opens the same store each time, as an async context manager. It may hold other objects:
    the checks put theirs under a folder of a random name, and delete them in the end. `persistent=False` is
    for stores that forget when closed. Each check may take `timeout` seconds.

    Raises AssertionError, which says the sentence that doesn't hold, or the error that the backend raised
    instead, with a note that names the check.
    """
    root = f"check-{secrets.token_hex(6)}/"
    async with open_backend() as backend:
        try:
            for check in CHECKS:
                await _run(check, backend, f"{root}{check.__name__}/", timeout)
        finally:
            with trio.move_on_after(timeout, shield=True):
                await _delete_all(backend, root)
    if persistent:
        with trio.fail_after(timeout):
            await _keeps_objects_when_closed(open_backend, root)
    with trio.fail_after(timeout):
        await _closes_twice(open_backend)


async def _run(check: Check, backend: StorageBackend, folder: str, timeout: float) -> None:
    try:
        with trio.fail_after(timeout):
            await check(backend, folder)
    except Exception as error:  # any: the note is added and it goes on
        error.add_note(f"while checking: {(check.__doc__ or check.__name__).strip()}")
        raise


def _hold(condition: bool, sentence: str) -> None:
    if not condition:
        raise AssertionError(sentence)


async def _raises(expected: type[Exception], call: Awaitable[object], sentence: str) -> None:
    try:
        await call
    except expected:
        return
    except Exception as error:  # whichever it is, it is the wrong one
        raise AssertionError(f"{sentence} (it raised {error!r})") from error
    raise AssertionError(f"{sentence} (it raised nothing)")


async def _exists(backend: StorageBackend, key: str) -> bool:
    try:
        await backend.head(key)
    except ObjectNotFound:
        return False
    return True


async def _keys(
    backend: StorageBackend, prefix: str, *, after: str | None = None, limit: int | None = None
) -> list[str]:
    return [info.key async for info in backend.list(prefix, after=after, limit=limit)]


async def _delete_all(backend: StorageBackend, prefix: str) -> None:
    for key in await _keys(backend, prefix):
        await backend.delete(key)


# -- the checks: each gets a folder of its own


async def _keeps_bytes(backend: StorageBackend, folder: str) -> None:
    """What was put is what get gives: empty, one chunk, 5 MB."""
    for name, data in {"empty": b"", "chunk": CHUNK, "large": LARGE}.items():
        _hold(await backend.put(folder + name, data) is True, "put answers True when it wrote")
        got = await backend.get(folder + name)
        _hold(isinstance(got, bytes), "get answers bytes")
        _hold(got == data, f"get answers the bytes that were put ({name}, {len(data)} bytes)")


async def _replaces_whole(backend: StorageBackend, folder: str) -> None:
    """A put replaces bytes, content type and metadata; repeating it is harmless."""
    key = folder + "object"
    await backend.put(key, CHUNK, content_type="audio/wav", metadata={"old": "1"})
    for _ in range(2):
        _hold(await backend.put(key, b"short", metadata={"new": "2"}), "a put over an object answers True")
        _hold(await backend.get(key) == b"short", "a put replaces the whole object")
        info = await backend.head(key)
        _hold(dict(info.metadata) == {"new": "2"}, "a put replaces the metadata")
        _hold(info.content_type != "audio/wav", "a put replaces the content type")


async def _shows_no_part(backend: StorageBackend, folder: str) -> None:
    """Readers see the old object or the whole new one, never a part."""
    key = folder + "object"
    versions = [bytes([n]) * (200_000 + 50_000 * n) for n in range(4)]
    await backend.put(key, versions[0])
    done = trio.Event()

    async def read() -> None:
        while not done.is_set():
            _hold(await backend.get(key) in versions, "readers see the old object or the whole new one")
            await trio.lowlevel.checkpoint()  # a get that is none must not spin here for ever

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        nursery.start_soon(read)
        for version in versions * 2:
            await backend.put(key, version)
        done.set()


async def _if_absent_keeps(backend: StorageBackend, folder: str) -> None:
    """With if_absent, an object already there stays as it is, and put answers False."""
    key = folder + "object"
    wrote = await backend.put(key, b"first", metadata={"by": "first"}, if_absent=True)
    _hold(wrote is True, "put with if_absent answers True where nothing was")
    wrote = await backend.put(key, b"second, longer", metadata={"by": "second"}, if_absent=True)
    _hold(wrote is False, "put with if_absent answers False where an object was")
    _hold(await backend.get(key) == b"first", "put with if_absent leaves the bytes that were there")
    by = (await backend.head(key)).metadata.get("by")
    _hold(by == "first", "put with if_absent leaves the metadata that was there")
    await backend.delete(key)
    _hold(await backend.put(key, b"third", if_absent=True), "after a delete, put with if_absent writes")


async def _if_absent_has_one_winner(backend: StorageBackend, folder: str) -> None:
    """Of many puts with if_absent at once, exactly one writes."""
    for round_ in range(3):
        key = f"{folder}{round_}"
        winners: list[int] = []

        async def put(n: int, key: str = key, winners: list[int] = winners) -> None:
            if await backend.put(key, bytes([n]) * 10_000, metadata={"n": str(n)}, if_absent=True):
                winners.append(n)

        async with trio.open_nursery() as nursery:
            for n in range(8):
                nursery.start_soon(put, n)
        _hold(len(winners) == 1, f"exactly one of 8 puts with if_absent answers True ({len(winners)} did)")
        got = await backend.get(key)
        _hold(
            got == bytes(winners) * 10_000, "the put with if_absent that answers True is the one that wrote"
        )
        by = (await backend.head(key)).metadata.get("n")
        _hold(by == str(winners[0]), "the metadata is that of the put with if_absent that wrote")


async def _puts_groups(backend: StorageBackend, folder: str) -> None:
    """A group of puts, where the backend has that capability, is each of them."""
    if not isinstance(backend, GroupPutter):
        return
    await backend.put(folder + "there", b"first")
    keys = [f"{folder}{n % 3}/{n}" for n in range(40)]
    puts = [ObjectPut(key=key, data=key.encode(), metadata={"Key": key}, if_absent=True) for key in keys]
    taken = ObjectPut(key=folder + "there", data=b"second", if_absent=True)
    outcomes = await backend.put_group([taken, *puts])
    _hold(list(outcomes) == [False] + [True] * len(puts), "each put of a group has its own outcome")
    _hold(await backend.get(folder + "there") == b"first", "if_absent holds in a group")
    for key in keys:
        _hold(await backend.get(key) == key.encode(), "a group puts each object's bytes")
        _hold((await backend.head(key)).metadata == {"key": key}, "a group keeps each object's metadata")
    _hold(list(await backend.put_group([])) == [], "an empty group has no outcomes")
    for invalid in (
        ObjectPut(key="a//b", data=b""),
        ObjectPut(key=folder + "m", data=b"", metadata={"": ""}),
    ):
        new = ObjectPut(key=folder + "new", data=b"")
        await _raises(BackendRefused, backend.put_group([new, invalid]), "an invalid put refuses its group")
        _hold(not await _exists(backend, new.key), "of a group that is refused nothing is put")


async def _gives_ranges(backend: StorageBackend, folder: str) -> None:
    """get_range gives `length` bytes from `start`, fewer where the object ends."""
    key, empty = folder + "object", folder + "empty"
    await backend.put(key, CHUNK)
    await backend.put(empty, b"")
    size = len(CHUNK)
    for start, length in [
        (0, 1),
        (0, size),
        (7, 100),
        (size - 1, 1),
        (size - 5, 100),
        (size, 1),
        (size + 9, 9),
        (5, 0),
        (0, 10 * size),
        (2**40, 1),
    ]:
        got = await backend.get_range(key, start, length)
        _hold(
            got == CHUNK[start : start + length],
            f"get_range(start={start}, length={length}) of {size} bytes gives the bytes of that range",
        )
    _hold(await backend.get_range(empty, 0, 10) == b"", "get_range of an empty object gives no bytes")
    for length in (0, 10):
        await _raises(
            ObjectNotFound,
            backend.get_range(folder + "missing", 0, length),
            f"get_range(length={length}) raises ObjectNotFound for a key that isn't there",
        )


async def _describes(backend: StorageBackend, folder: str) -> None:
    """head gives size, time, content type and metadata, its keys in lower case."""
    key = folder + "object.wav"
    metadata = {"Session_ID": "a b", "seq": "17", "sample-rate": "16000", "name": "会议 ü %41 100%\n~"}
    await backend.put(key, CHUNK, content_type="audio/wav", metadata=metadata)
    info = await backend.head(key)
    _hold(isinstance(info, ObjectInfo), "head answers an ObjectInfo")
    _hold(info.key == key, "head names the key that was asked for")
    _hold(info.size == len(CHUNK), "head gives the size in bytes")
    _hold(info.content_type == "audio/wav", "head gives the content type that was put")
    expected = {name.lower(): value for name, value in metadata.items()}
    _hold(dict(info.metadata) == expected, f"head gives metadata, keys in lower case: {info.metadata}")
    _hold(info.modified.utcoffset() == timedelta(0), "head's time is timezone-aware UTC")
    listed = [info async for info in backend.list(key)]
    _hold(
        [(one.key, one.size) for one in listed] == [(key, len(CHUNK))], "list gives key and size as head does"
    )
    _hold(listed[0].modified.utcoffset() == timedelta(0), "list's times are timezone-aware UTC")


async def _misses(backend: StorageBackend, folder: str) -> None:
    """get and head raise ObjectNotFound for a key that isn't there."""
    await backend.put(folder + "a/b", b"")
    for name in ("missing", "a", "a/b/c", "a/bb", "no/such/folder"):
        for method in (backend.get, backend.head):
            await _raises(
                ObjectNotFound,
                method(folder + name),
                f"{method.__name__} raises ObjectNotFound for {name!r} beside the object 'a/b'",
            )


async def _deletes(backend: StorageBackend, folder: str) -> None:
    """delete removes the object; a key that isn't there is fine."""
    await backend.put(folder + "a/b", b"1")
    await backend.put(folder + "a/bb", b"2")
    for _ in range(2):
        await backend.delete(folder + "a/b")
        _hold(not await _exists(backend, folder + "a/b"), "delete removes the object")
    _hold(await _exists(backend, folder + "a/bb"), "delete leaves other objects alone")
    await backend.delete(folder + "a")
    _hold(await _exists(backend, folder + "a/bb"), "delete of 'a' leaves 'a/bb' alone")
    await backend.delete(folder + "never/was")
    await backend.delete(folder + "a/bb")
    _hold(await _keys(backend, folder) == [], "a deleted object isn't listed")


async def _tells_keys_apart(backend: StorageBackend, folder: str) -> None:
    """Any valid key works, and two keys never mean one object."""
    names = [
        "a/b",
        "a%2Fb",
        "a%252Fb",
        "space d",
        "space+d",
        "space%20d",
        "~tilde~",
        "Case",
        "case",
        "q?x=1&y#z",
        "'\"*:;,=@!$()[]{}|^`<>",
        "中文/名字.pcm",
        "emoji 🎙",
        "..dots..",
        ".hidden",
        "-dash",
        "d" * 200 + "/" + "e" * 200,
    ]
    names.append("/".join(["f" * 100] * 10)[: 1000 - len(folder)].rstrip("/"))
    for name in names:
        await backend.put(folder + name, name.encode())
    for name in names:
        _hold(await backend.get(folder + name) == name.encode(), f"the key {name!r} names its own object")
    listed = await _keys(backend, folder)
    _hold(sorted(listed) == sorted(folder + name for name in names), "list gives keys as they were put")


async def _refuses_invalid_keys(backend: StorageBackend, folder: str) -> None:
    """An invalid key is BackendRefused, by every method."""
    for what, key in INVALID_KEYS.items():
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "put": partial(backend.put, key, b""),
            "get": partial(backend.get, key),
            "get_range": partial(backend.get_range, key, 0, 1),
            "head": partial(backend.head, key),
            "delete": partial(backend.delete, key),
        }
        for method, call in calls.items():
            await _raises(BackendRefused, call(), f"{method} raises BackendRefused for a key {what}")
    for name in ("", "a b", "ü", "a\nb", "Content-Type"):
        await _raises(
            BackendRefused,
            backend.put(folder + "object", b"", metadata={name: "x"}),
            f"put raises BackendRefused for the metadata name {name!r}",
        )


async def _lists(backend: StorageBackend, folder: str) -> None:
    """list gives keys with the prefix, in the order of their UTF-8 bytes, after `after`, at most `limit`."""
    names = ["a", "b-", "b-/x", "b.x", "b/c", "b/c-d", "b/d/e", "b/d/f", "b0", "bb/c", "é", "中", "🎙"]
    names.remove("b-")  # beside 'b-/x', where a store may refuse it
    keys = [folder + name for name in sorted(names, key=str.encode)]
    for key in reversed(keys):
        await backend.put(key, b"x")
    _hold(await _keys(backend, folder) == keys, "list gives keys in the order of their UTF-8 bytes")
    for prefix in ("b", "b/", "b/c", "b/d", "b/d/e", "b/d/e/", "b/x", "B", "b-", "中", "x/y/z"):
        expected = [key for key in keys if key.startswith(folder + prefix)]
        got = await _keys(backend, folder + prefix)
        _hold(got == expected, f"list gives the keys that start with the prefix {prefix!r}, wherever it ends")
        for after in ("a", "b-/x", "b/c", "b/c.", "b/d", "b/d/e", "b/d/zz", "b/", "zz", "中", "🎙"):
            expected_after = [key for key in expected if key.encode() > (folder + after).encode()]
            got = await _keys(backend, folder + prefix, after=folder + after)
            _hold(got == expected_after, f"list({prefix!r}, after={after!r}) gives the keys after it")
    for limit in (0, 1, 5, len(keys), 100):
        got = await _keys(backend, folder, limit=limit)
        _hold(got == keys[:limit], f"list(limit={limit}) gives the first {limit} keys")
    paged: list[str] = []
    while page := await _keys(backend, folder, after=paged[-1] if paged else None, limit=3):
        paged += page
    _hold(paged == keys, "going on after the last key of a page gives every key once")
    for prefix in ("../", "/", "a//", "\0"):
        _hold(await _keys(backend, prefix) == [], f"list gives nothing for {prefix!r}, as no key starts so")


async def _serves_many(backend: StorageBackend, folder: str) -> None:
    """All methods may be called concurrently."""

    async def use(n: int) -> None:
        key = f"{folder}{n % 4}/{n}"
        await backend.put(key, bytes([n]) * n, metadata={"n": str(n)})
        _hold(await backend.get(key) == bytes([n]) * n, "concurrent calls don't mix up objects")
        _hold((await backend.head(key)).metadata["n"] == str(n), "concurrent calls don't mix up metadata")
        _hold(key in await _keys(backend, key), "an object is listed once its put returned")
        await backend.delete(key)

    async with trio.open_nursery() as nursery:
        for n in range(32):
            nursery.start_soon(use, n)
    _hold(await _keys(backend, folder) == [], "concurrent deletes leave nothing")


async def _is_a_checkpoint(backend: StorageBackend, folder: str) -> None:
    """Every method is a checkpoint, and a call in a cancelled scope is cancelled."""
    key = folder + "object"

    async def list_all() -> None:
        await _keys(backend, folder)

    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "put": lambda: backend.put(key, b"x"),
        "get": lambda: backend.get(key),
        "get_range": lambda: backend.get_range(key, 0, 1),
        "head": lambda: backend.head(key),
        "list": list_all,
        "delete": lambda: backend.delete(key),
    }
    for method, call in calls.items():
        try:
            with trio.testing.assert_checkpoints():
                await call()
        except AssertionError as error:
            raise AssertionError(f"{method} is a checkpoint") from error
        with trio.CancelScope() as scope:
            scope.cancel()
            await call()
        _hold(scope.cancelled_caught, f"{method} in a cancelled scope is cancelled")


async def _cancels_whole(backend: StorageBackend, folder: str) -> None:
    """A cancelled put either happened whole or not at all, and may be repeated."""
    for n, delay in enumerate((0.0, 0.0005, 0.002, 0.01)):
        key = f"{folder}{n}"
        with trio.move_on_after(delay):
            await backend.put(key, LARGE)
        if await _exists(backend, key):
            _hold(await backend.get(key) == LARGE, "a cancelled put that happened, happened whole")
        await backend.put(key, CHUNK)
        _hold(await backend.get(key) == CHUNK, "a cancelled put doesn't come after a later one")
        await backend.delete(key)
        _hold(not await _exists(backend, key), "a cancelled put doesn't come after a later delete")


CHECKS: tuple[Check, ...] = (
    _is_a_checkpoint,
    _keeps_bytes,
    _replaces_whole,
    _shows_no_part,
    _if_absent_keeps,
    _if_absent_has_one_winner,
    _puts_groups,
    _gives_ranges,
    _describes,
    _misses,
    _deletes,
    _tells_keys_apart,
    _refuses_invalid_keys,
    _lists,
    _serves_many,
    _cancels_whole,
)


async def _keeps_objects_when_closed(open_backend: OpenBackend, folder: str) -> None:
    key = folder + "kept"
    async with open_backend() as backend:
        await backend.put(key, CHUNK, content_type="audio/wav", metadata={"n": "1"})
    async with open_backend() as backend:
        _hold(await backend.get(key) == CHUNK, "an object is there after its store was closed and opened")
        info = await backend.head(key)
        described = info.content_type, dict(info.metadata)
        _hold(
            described == ("audio/wav", {"n": "1"}), "metadata is there after its store was closed and opened"
        )
        await backend.delete(key)
    async with open_backend() as backend:
        _hold(not await _exists(backend, key), "a delete holds after its store was closed and opened")


async def _closes_twice(open_backend: OpenBackend) -> None:
    async with open_backend() as backend:
        for times in ("once", "twice"):
            try:
                await backend.aclose()
            except Exception as error:  # whichever it is, aclose must not raise
                raise AssertionError(f"aclose is idempotent (called {times} in its block)") from error
