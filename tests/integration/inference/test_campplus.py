"""CAM++ with its real weights: recorded voices told apart, and what becomes of files that are damaged."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interview_edge.speech.campplus import DIMENSIONS, CamPlus, load_campplus
from interview_edge.speech.model_files import ModelError, folder_of
from interview_edge.speech.models import CAMPPLUS
from interview_edge.speech.speaker_operations import SpeakerOperations
from interview_edge.wire.speaker_requests import EnrollSpeaker, ResolveSpeaker, decode_request
from local_models import model_folder
from voices import RATE, audio, jfk

pytestmark = pytest.mark.process  # where the extra `local` is installed

LIBRARIES = ("kaldi_native_fbank", "onnx", "onnxruntime")
DEEPER = {"sample_rate": 11_025}


@pytest.fixture(scope="module")
def weights() -> Path:
    return folder_of(CAMPPLUS, model_folder(CAMPPLUS, *LIBRARIES)) / CAMPPLUS.files[0].name


@pytest.fixture(scope="module")
def root(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of the tests' own."""
    root = tmp_path_factory.mktemp("models")
    folder_of(CAMPPLUS, root).mkdir()
    os.symlink(weights, folder_of(CAMPPLUS, root) / weights.name)
    return root


@pytest.fixture(scope="module")
def model(root: Path) -> CamPlus:
    return load_campplus(root)


def request(kind: Any, **fields: Any) -> Any:
    return decode_request(json.dumps({"session_id": "s"} | fields).encode(), kind)


def test_a_voice_is_near_itself_and_far_from_another(model: CamPlus) -> None:
    one, same = model.embed(jfk(4.0)), model.embed(jfk(4.0, 6.0))
    other = model.embed(np.interp(np.arange(4 * RATE) / 1.45, np.arange(4 * RATE), jfk(4.0)).astype("f4"))
    assert one.shape == (DIMENSIONS,)
    assert np.linalg.norm(one) == pytest.approx(1.0, abs=1e-5)
    assert one @ same > 0.55
    assert one @ other < 0.45
    assert model.embed(jfk(4.0)) == pytest.approx(one, abs=1e-6)  # nothing random in it


def test_the_graph_is_built_apart(model: CamPlus) -> None:
    assert "onnxruntime" in sys.modules
    assert "onnx" not in sys.modules  # it would stop a server's loop for a second


def test_the_operations_on_real_embeddings(model: CamPlus) -> None:
    operations = SpeakerOperations(model)
    sample = request(EnrollSpeaker, participant_name="Jack", audio=audio(jfk(4.0)))
    state = operations.enroll(sample)["updated_state"]
    jack = operations.resolve(request(ResolveSpeaker, audio=audio(jfk(5.0, 4.0)), state=state))
    assert (jack["cluster_id"], jack["speaker_name"]) == ("c1", "Jack")
    deeper = audio(jfk(4.0), **DEEPER)
    other = operations.resolve(request(ResolveSpeaker, audio=deeper, state=jack["updated_state"]))
    assert (other["cluster_id"], other["speaker_name"], other["decision"]) == ("c2", None, "unknown")


@pytest.mark.parametrize("samples", [4_000, 4_001, 16_000, 30 * RATE])
def test_any_length_from_a_quarter_of_a_second_on(model: CamPlus, samples: int) -> None:
    heard = np.resize(jfk(), samples)
    assert np.isfinite(model.embed(heard)).all()


def test_less_is_refused(model: CamPlus) -> None:
    with pytest.raises(ValueError, match="3999 samples are too few"):
        model.embed(jfk()[:3_999])


def test_a_damaged_cache_of_the_graph_is_built_anew(model: CamPlus, root: Path) -> None:
    (graph,) = folder_of(CAMPPLUS, root).glob("*.graph")
    whole = graph.read_bytes()
    graph.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert load_campplus(root).embed(jfk(2.0)) == pytest.approx(model.embed(jfk(2.0)), abs=1e-6)
    assert graph.read_bytes() == whole
    assert not list(graph.parent.glob(".building-*"))


def test_a_folder_that_can_not_be_written_will_do(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (graph,) = folder_of(CAMPPLUS, root).glob("*.graph")
    graph.unlink()

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr("interview_edge.speech.campplus.tempfile.NamedTemporaryFile", refuse)
    assert load_campplus(root).embed(jfk(2.0)).shape == (DIMENSIONS,)
    assert not graph.exists()


def test_a_missing_or_damaged_file_says_how_to_fetch_it(tmp_path: Path, weights: Path) -> None:
    with pytest.raises(ModelError, match="is missing: run `interview-edge models fetch campplus`"):
        load_campplus(tmp_path)
    copy = folder_of(CAMPPLUS, tmp_path) / weights.name
    copy.parent.mkdir()
    shutil.copyfile(weights, copy)
    with copy.open("r+b") as stream:
        stream.seek(1_000_000)
        stream.write(b"\0\1\2\3")
    with pytest.raises(ModelError, match="is damaged: run `interview-edge models fetch campplus`"):
        load_campplus(tmp_path)
