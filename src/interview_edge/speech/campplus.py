"""CAM++ speaker embeddings on this machine, by onnxruntime: 192 numbers a voice, no account, no network.

The extra `local` brings the libraries, `interview-edge models fetch` the weights. The graph is built from
them once (1 to 3 s) and kept beside them. 10-20 ms a second of speech on one core, without the GIL.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from interview_edge.core.pcm import SAMPLE_RATE
from interview_edge.speech import campplus_graph
from interview_edge.speech.campplus_graph import GRAPH_VERSION, INPUT, MEL_BINS
from interview_edge.speech.clips import Samples
from interview_edge.speech.model_files import FileState, ModelError, folder_of, verify
from interview_edge.speech.models import CAMPPLUS

MODEL_ID = CAMPPLUS.name
MODEL_REVISION = CAMPPLUS.files[0].sha256[:12]
DIMENSIONS = 192
MIN_SAMPLES = SAMPLE_RATE // 4  # under it there are too few frames for statistics
_PIECE = SAMPLE_RATE // 2  # given to the filter bank at once: it holds the GIL, 1.5 ms each
_DIGEST_BYTES = 32
BUILD_TIMEOUT = 60.0  # seconds, on a machine that is busy with other things
_NOT_INSTALLED = "the extra `local` isn't installed: pip install 'interview-edge[local]'"

Embedding = npt.NDArray[np.float32]


class CamPlus:
    """See `SpeakerEmbedder`. The model, loaded."""

    model_id = MODEL_ID
    model_revision = MODEL_REVISION

    def __init__(self, session: Any) -> None:
        self._session = session

    def embed(self, samples: Samples) -> Embedding:
        """The voice in 16 kHz mono samples (-1 to 1, at least a quarter of a second), as a unit vector.

        Raises ValueError for less, ModelError where onnxruntime fails.
        """
        if len(samples) < MIN_SAMPLES:
            raise ValueError(f"{len(samples)} samples are too few to tell a voice by")
        try:
            (found,) = self._session.run(None, {INPUT: _features(samples)[np.newaxis]})
        except Exception as error:  # onnxruntime's own classes have no common base but this
            raise ModelError(f"{MODEL_ID} failed: {type(error).__name__}") from error
        embedding: Embedding = found[0]
        length = float(np.linalg.norm(embedding))
        if not 0 < length < float("inf"):
            raise ModelError(f"{MODEL_ID} gave no embedding")
        return embedding / np.float32(length)


def load_campplus(root: Path, *, threads: int = 1) -> CamPlus:
    """The model from the model folder; 0.2 s, or some more where the graph must be built. Blocks.

    Raises ModelError: a file missing or damaged, the extra `local` not installed.
    """
    for found in verify(CAMPPLUS, root):
        if found.state is not FileState.OK:
            raise ModelError(
                f"{found.path} is {found.state.value}: run `interview-edge models fetch {CAMPPLUS.name}`"
            )
    folder = folder_of(CAMPPLUS, root)
    try:
        import onnxruntime
    except ImportError as error:
        raise ModelError(_NOT_INSTALLED) from error
    graph = _graph(folder)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # It never gives back what the longest clip took: 140 MB after 30 s, against a tenth of the time.
    options.enable_cpu_mem_arena = False
    # Its threads spin while they wait for work, which would burn a core between requests.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own, of no common kind
        raise ModelError(f"{MODEL_ID} can't be loaded: {type(error).__name__}") from error
    return CamPlus(session)


# -- the graph and its cache


def _graph(folder: Path) -> bytes:
    """From the cache beside the weights, else built and put there; a cache that is damaged is built anew."""
    cache = folder / f"{MODEL_ID}-{GRAPH_VERSION}-{MODEL_REVISION}.graph"
    kept = _read_cache(cache)
    if kept is not None:
        return kept
    graph = _build_apart(folder / CAMPPLUS.files[0].name)
    _write_cache(cache, graph)
    return graph


def _build_apart(weights: Path) -> bytes:
    """In a process of its own, so that this one never imports `onnx` (see campplus_graph.py)."""
    if importlib.util.find_spec("onnx") is None:
        raise ModelError(_NOT_INSTALLED)
    command = [sys.executable, "-m", campplus_graph.__name__, str(weights)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=BUILD_TIMEOUT, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        raise ModelError(f"the graph of {MODEL_ID} wasn't built within {BUILD_TIMEOUT:g} s") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise ModelError(f"the graph of {MODEL_ID} can't be built: {said[-1] if said else done.returncode}")
    return done.stdout


def _read_cache(cache: Path) -> bytes | None:
    """The graph, where the file holds its SHA-256 and then just that."""
    try:
        kept = cache.read_bytes()
    except OSError:
        return None
    digest, graph = kept[:_DIGEST_BYTES], kept[_DIGEST_BYTES:]
    return graph if hashlib.sha256(graph).digest() == digest else None


def _write_cache(cache: Path, graph: bytes) -> None:
    """Whole or not at all. A folder that can't be written costs the next start its second again."""
    try:
        with tempfile.NamedTemporaryFile(dir=cache.parent, prefix=".building-", delete=False) as scratch:
            try:
                scratch.write(hashlib.sha256(graph).digest())
                scratch.write(graph)
                scratch.flush()
                os.fsync(scratch.fileno())
                os.replace(scratch.name, cache)
            except BaseException:  # whatever ends it, no half of a file stays
                os.unlink(scratch.name)
                raise
    except OSError:
        return


# -- features


def _features(samples: Samples) -> npt.NDArray[np.float32]:
    """Log mel filter bank, shape (frames, 80), a frame each 10 ms, less its mean over the clip: what the
    model was trained on (3D-Speaker's recipe).
    """
    import kaldi_native_fbank

    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.samp_freq = SAMPLE_RATE
    options.frame_opts.dither = 0.0  # the same clip gives the same embedding
    options.mel_opts.num_bins = MEL_BINS
    bank = kaldi_native_fbank.OnlineFbank(options)
    for start in range(0, len(samples), _PIECE):
        bank.accept_waveform(SAMPLE_RATE, samples[start : start + _PIECE].tolist())
    bank.input_finished()
    frames = np.stack([bank.get_frame(index) for index in range(bank.num_frames_ready)])
    centred: npt.NDArray[np.float32] = (frames - frames.mean(axis=0)).astype(np.float32)
    return centred
