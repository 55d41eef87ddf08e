"""Where objects are kept: the `StorageBackend` protocol, its implementations, and how a URL finds one."""

from interview_edge.backends.discovery import open_backend
from interview_edge.backends.keys import normal_metadata, validate_key
from interview_edge.backends.protocol import (
    BackendError,
    BackendFactory,
    BackendRefused,
    BackendUnavailable,
    GroupPutter,
    ObjectInfo,
    ObjectNotFound,
    ObjectPut,
    ObjectWriter,
    Presigner,
    StorageBackend,
    WriterOpener,
)
from interview_edge.backends.urls import BackendURLError

__all__ = [
    "BackendError",
    "BackendFactory",
    "BackendRefused",
    "BackendURLError",
    "BackendUnavailable",
    "GroupPutter",
    "ObjectInfo",
    "ObjectNotFound",
    "ObjectPut",
    "ObjectWriter",
    "Presigner",
    "StorageBackend",
    "WriterOpener",
    "normal_metadata",
    "open_backend",
    "validate_key",
]
