"""What a file can't say of itself (content type, metadata), as an extended attribute of it.

It belongs to the file's inode: it is synced with the file, and renamed, linked, replaced and deleted with it.
Copies keep it where they are told to: `cp -a`, `rsync -aX`, `tar --xattrs`.
"""

from __future__ import annotations

import errno
import os
import secrets
import sys
from collections.abc import Callable, Mapping

import attrs
import msgspec

NAME = "user.interview-edge"
SetAttribute = Callable[[int, str, bytes], None]

# Where the suffix says the type, nothing is kept of it.
TYPES = {".json": "application/json", ".wav": "audio/wav", ".flac": "audio/flac"}
# The file system keeps none, or none so long (ext4 takes some 4 kB, the kernel 64). A full disk says ENOSPC,
# too: the file that is then written beside it meets the same.
_NO_ROOM = frozenset({errno.ENOTSUP, errno.EOPNOTSUPP, errno.E2BIG, errno.ENOSPC, errno.ERANGE})
_NONE_THERE = frozenset({errno.ENODATA, errno.ENOTSUP, errno.EOPNOTSUPP})


@attrs.frozen
class Description:
    """A content type and metadata, kept as JSON; other names in there mean nothing."""

    content_type: str
    metadata: Mapping[str, str]


@attrs.frozen
class _Salted(Description):
    """A description as it is kept: unlike every other.

    ext4 looks for an equal value among all that have the same hash, one by one, and its hash is little more
    than an XOR of the words. Chunks of the same seq and time into their sessions met there, however their
    sessions were named: 9 µs at the first object, 340 at the 18,000th.
    """

    salt: str = attrs.field(factory=lambda: secrets.token_hex(8))


def plain_description(key: str) -> Description:
    """What an object is that nothing was said of."""
    return Description(TYPES.get(os.path.splitext(key)[1], "application/octet-stream"), {})


def set_attribute(fd: int, name: str, value: bytes) -> None:
    """`os.setxattr`, which Python has on Linux only. Raises OSError."""
    if sys.platform != "linux":
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))
    os.setxattr(fd, name, value)


def takes_attributes(fd: int, setxattr: SetAttribute) -> bool:
    """Whether the file system of `fd`, a file of ours, keeps attributes. Leaves one there."""
    try:
        setxattr(fd, NAME, b"{}")
    except OSError:
        return False  # for whatever reason: descriptions go beside the files, and reads look for both
    return True


def describe(fd: int, description: Description, setxattr: SetAttribute) -> bool:
    """Describe the file; False where the file system has no room for that. Raises OSError."""
    try:
        setxattr(fd, NAME, msgspec.json.encode(_Salted(description.content_type, description.metadata)))
    except OSError as error:
        if error.errno in _NO_ROOM:
            return False
        raise
    return True


def read_description(fd: int) -> Description | None:
    """The file's description; None where it has none. Raises OSError, `msgspec.DecodeError` (damaged)."""
    if sys.platform != "linux":
        return None
    try:
        value = os.getxattr(fd, NAME)
    except OSError as error:
        if error.errno in _NONE_THERE:
            return None
        raise
    return msgspec.json.decode(value, type=Description)
