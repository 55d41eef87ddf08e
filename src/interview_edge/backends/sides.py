"""Descriptions of objects in files beside them, where the file system keeps no attributes.

A side file is named by the object's key and mtime and is there before the object: so the object's rename
switches both, and copies of the tree that keep times (cp -a, rsync -a) keep the metadata.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress

import attrs

from interview_edge.backends.attributes import Description
from interview_edge.backends.folders import Folders
from interview_edge.backends.keys import split

PRIVATE = ".interview-edge"
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@attrs.frozen
class _Side:
    """A side file. `key` is for people: the file's name holds only its hash."""

    key: str
    content_type: str
    metadata: Mapping[str, str]


def side_key(key: str, mtime_ns: int) -> str:
    """Where, below the root, the object of this key and mtime has its side file."""
    digest = hashlib.sha256(key.encode()).hexdigest()
    return f"{PRIVATE}/meta/{digest[:2]}/{digest[2:40]}-{mtime_ns}.json"


def encode_side(key: str, description: Description) -> bytes:
    """What a side file holds."""
    side = _Side(key, description.content_type, dict(description.metadata))
    return json.dumps(attrs.asdict(side)).encode()


def read_side(folders: Folders, side: str) -> Description | None:
    """The description in a side file; None where there is none. Raises OSError, ValueError (damaged)."""
    folder, name = split(side)
    try:
        with folders.opened(folder) as parent:
            fd = os.open(name, _READ, dir_fd=parent)
    except FileNotFoundError:
        return None
    with open(fd, "rb") as file:
        read = _Side(**json.load(file))
    return Description(read.content_type, read.metadata)


def remove_side(folders: Folders, side: str) -> None:
    """Remove a side file whose object is gone: nothing reads it again, so nothing waits for it."""
    folder, name = split(side)
    with suppress(OSError), folders.opened(folder) as parent:
        os.unlink(name, dir_fd=parent)
