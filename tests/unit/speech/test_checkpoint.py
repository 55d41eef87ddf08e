"""Checkpoints of tensors: read without torch, and nothing that a pickle names is ever called."""

from __future__ import annotations

import collections
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interview_edge.speech.checkpoint import CheckpointError, read_checkpoint


class Global:
    """Pickles as a name, as torch's functions and storage kinds do."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


class TorchPickler(pickle._Pickler):
    """Writes `Global`s by their names, storages as persistent ids, calls as they are given."""

    def persistent_id(self, obj: Any) -> Any:
        return obj.pid if isinstance(obj, Storage) else None

    def save(self, obj: Any, save_persistent_id: bool = True) -> Any:
        if isinstance(obj, Global):
            self.write(b"c" + f"{obj.module}\n{obj.name}\n".encode())
            return None
        if isinstance(obj, Call):
            self.save(obj.function)
            self.save(obj.arguments)
            self.write(b"R")
            return None
        return super().save(obj, save_persistent_id)


class Storage:
    def __init__(self, kind: Global, member: str, length: int) -> None:
        self.pid = ("storage", kind, member, "cpu", length)


class Call:
    def __init__(self, function: Global, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments


FLOATS = Global("torch", "FloatStorage")
REBUILD = Global("torch._utils", "_rebuild_tensor_v2")


def write(path: Path, content: Any, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        with archive.open("model/data.pkl", "w") as stream:
            TorchPickler(stream, protocol=2).dump(content)
        for name, data in members.items():
            archive.writestr(f"model/data/{name}", data)
    return path


def tensor(offset: int, shape: tuple[int, ...], stride: tuple[int, ...], kind: Global = FLOATS) -> Call:
    return Call(REBUILD, Storage(kind, "0", 6), offset, shape, stride, False, collections.OrderedDict())


SIX = np.arange(6, dtype="<f4").tobytes()


def test_tensors_are_read_with_their_strides(tmp_path: Path) -> None:
    content = {
        "all": tensor(0, (2, 3), (3, 1)),
        "turned": tensor(0, (3, 2), (1, 3)),
        "one": tensor(5, (), ()),
    }
    found = read_checkpoint(write(tmp_path / "a.pt", content, {"0": SIX}))
    assert found["all"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert found["turned"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert found["one"] == 5.0


CALLED: list[str] = []


def touch(*_: object) -> None:
    CALLED.append("called")


@pytest.mark.parametrize(
    "content",
    [
        Call(Global("os", "system"), "true"),
        Call(Global("builtins", "eval"), "1"),
        Call(Global(__name__, "touch")),
        {"a": tensor(0, (7,), (1,))},
        {"a": tensor(1, (2, 3), (3, 1))},
        {"a": tensor(-1, (1,), (1,))},
        {"a": tensor(3, (2,), (-1,))},
        {"a": tensor(0, (1,), (1,), Global("torch", "QuantisedStorage"))},
        {"a": Call(REBUILD, Storage(FLOATS, "none", 6), 0, (1,), (1,))},
        {"a": "text"},
        [1, 2],
    ],
    ids=lambda content: type(content).__name__,
)
def test_anything_else_is_refused_and_nothing_runs(tmp_path: Path, content: Any) -> None:
    with pytest.raises(CheckpointError, match=r"a\.pt"):
        read_checkpoint(write(tmp_path / "a.pt", content, {"0": SIX}))
    assert CALLED == []


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"not a zip at all"])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"a\.pt"):
        read_checkpoint(tmp_path / "a.pt")


def test_an_archive_without_a_table_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        archive.writestr("model/version", "3")
    with pytest.raises(CheckpointError, match=r"no data\.pkl"):
        read_checkpoint(tmp_path / "a.pt")
