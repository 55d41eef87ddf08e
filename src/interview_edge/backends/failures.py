"""OSError as a backend's errors."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from interview_edge.backends.protocol import BackendRefused, BackendUnavailable, ObjectNotFound

# A retry by itself won't mend these: somebody has to act (free space, give rights, move a file).
_REFUSALS = frozenset(
    {
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EFBIG,
        errno.ENAMETOOLONG,
        errno.ELOOP,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.ENOTSUP,
        errno.EINVAL,
        errno.EXDEV,
    }
)


@contextmanager
def mapped(key: str | None = None) -> Iterator[None]:
    """OSError becomes the backend's errors. Nothing in it is secret: paths and reasons."""
    try:
        yield
    except FileNotFoundError as error:
        if key is not None:
            raise ObjectNotFound(key) from None
        raise BackendUnavailable(f"local storage: {error}") from error
    except OSError as error:
        refused = error.errno in _REFUSALS
        raise (BackendRefused if refused else BackendUnavailable)(f"local storage: {error}") from error
