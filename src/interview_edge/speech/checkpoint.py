"""PyTorch's checkpoint files without PyTorch, and without running what is in them.

A `.pt` is a ZIP: `data.pkl`, a pickle of the tensors' names, shapes and strides, and one member a storage
with the raw numbers. A pickle may name any function to call; here it may name three, all of them ours.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_DTYPES = {"FloatStorage": "<f4", "HalfStorage": "<f2", "LongStorage": "<i8", "IntStorage": "<i4"}
_PICKLE = "data.pkl"


class CheckpointError(ValueError):
    """The file is no checkpoint of plain tensors. The text says what stands in the way."""


def read_checkpoint(path: Path) -> Mapping[str, Array]:
    """The tensors of a state dictionary, by name. Raises CheckpointError, OSError."""
    try:
        with zipfile.ZipFile(path) as archive:
            root = _root_of(archive)
            found = _TensorUnpickler(archive, root).load()
    except (zipfile.BadZipFile, pickle.UnpicklingError, KeyError, EOFError, IndexError, TypeError) as error:
        raise CheckpointError(f"{path.name}: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(tensor, np.ndarray) for tensor in found.values()):
        raise CheckpointError(f"{path.name}: holds something else than named tensors")
    return found


def _root_of(archive: zipfile.ZipFile) -> str:
    """The one folder inside the archive; its name is whatever the file was called when it was written."""
    for name in archive.namelist():
        root, _, file = name.rpartition("/")
        if file == _PICKLE:
            return root
    raise CheckpointError(f"holds no {_PICKLE}")


@attrs.frozen
class _Dtype:
    """What a pickle's `torch.FloatStorage` becomes: the numbers' kind, and nothing to call."""

    name: str


class _TensorUnpickler(pickle.Unpickler):
    def __init__(self, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(io.BytesIO(archive.read(f"{root}/{_PICKLE}")))
        self._archive = archive
        self._root = root

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if module == "torch" and name in _DTYPES:
            return _Dtype(_DTYPES[name])
        raise pickle.UnpicklingError(f"names {module}.{name}, which no table of weights needs")

    def persistent_load(self, pid: Any) -> Array:
        """A storage: `("storage", kind, member, device, length)`."""
        match pid:
            case ("storage", _Dtype(name=dtype), str(member), _, int()):
                return np.frombuffer(self._archive.read(f"{self._root}/data/{member}"), dtype=dtype)
        raise pickle.UnpicklingError("a storage of an unknown kind")


def _tensor(storage: Array, offset: int, shape: Sequence[int], stride: Sequence[int], *_: Any) -> Array:
    """A tensor's own copy of its part of a storage. Its last element must lie inside."""
    reach = offset + sum((size - 1) * step for size, step in zip(shape, stride, strict=True)) + 1
    if min((offset, *shape, *stride)) < 0 or reach > len(storage):
        raise pickle.UnpicklingError("a tensor reaches beyond its storage")
    steps = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, steps, writeable=False).copy()
