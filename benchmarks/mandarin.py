"""A sentence of recorded Mandarin, and what is said in it: VoxCPM's example of a reference speaker, 12.8 s.

Its text was written down by ear.
"""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np

from benchmarks.source_archives import SourceArchive, member, read
from interview_edge.speech.clips import Clip, decode_clip

ARCHIVE = SourceArchive(
    "voxcpm==2.0.3",
    "voxcpm-2.0.3.tar.gz",
    "db11caa8b24eb91ba94190f3707b06dbca82bb6b6911c04eccd12bde5b59086f",
)
SAID = (
    "喂喂喂，说你呢？要是再不把桌子上的冰淇淋吃掉，我可就要没收了哦。别以为我不知道你昨天晚上又熬夜打游戏了。"
    "下次再这样，我真的要生气了。"
)


def mandarin_pcm(folder: Path, packages: Path | None = None) -> bytes:
    """The recording, s16le mono 16 kHz; its archive comes as `source_archives.read` says. Raises
    ModelError.
    """
    with tarfile.open(fileobj=io.BytesIO(read(ARCHIVE, folder, packages))) as archive:
        wav = member(archive, "voxcpm-2.0.3/examples/reference_speaker.wav")
    samples = decode_clip(Clip(wav, "wav"))
    return (np.clip(samples, -1, 1) * 32_767).astype("<i2").tobytes()
