"""Keys in order from a store that only lists folder by folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

# A folder's children, each as its key: objects as they are ('a/b'), folders with a '/' at the end ('a/c/').
ScanFolder = Callable[[str], Iterable[str]]


def walk(scan: ScanFolder, folder: str, prefix: str, after: str | None) -> Iterator[list[str]]:
    """The keys under `folder` ('' or 'a/') that start with `prefix` and come after `after`, by UTF-8 bytes.

    Yields runs of keys of one folder, in order; memory is the names of one folder a level. Sorting children
    with the folders' trailing '/' is what makes the whole come out in key order: 'a-b' < 'a/b' although 'a'
    < 'a-b'.
    """
    # Code points sort as their UTF-8 bytes do, so `str` comparison is enough.
    run: list[str] = []
    for child in sorted(scan(folder)):
        if child.endswith("/"):
            below = child.startswith(prefix) or prefix.startswith(child)
            passed = after is not None and after > child and not after.startswith(child)
            if below and not passed:
                if run:
                    yield run
                    run = []
                yield from walk(scan, child, prefix, after)
        elif child.startswith(prefix) and (after is None or child > after):
            run.append(child)
    if run:
        yield run
