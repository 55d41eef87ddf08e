"""`check_vad`: the contract of `Vad` and `VadProvider`, sentence by sentence, for whoever implements them."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from importlib.resources import files

import soundfile
import trio

from interview_edge.core.pcm import CHUNK_BYTES, CHUNK_SAMPLES, SAMPLE_BYTES, SAMPLE_RATE
from interview_edge.core.utterances import SpeechEnded, SpeechEvent
from interview_edge.speech.pipeline import StreamVad
from interview_edge.speech.vad import Vad, VadProvider

OpenVads = Callable[[], AbstractAsyncContextManager[VadProvider]]
Check = Callable[[VadProvider, bytes], None]

SECOND = bytes(CHUNK_BYTES)
CUTS = (CHUNK_BYTES, 2 * 319, 2 * 4_801)  # bytes; the first is how a node hears, the others fit no frame
WARM_UP_SECONDS = 2  # as a node warms up
TOLERANCE = SAMPLE_RATE  # of an utterance's edge: pre-roll, post-roll, and what a VAD takes to be sure
AGREEING = 0.8  # of the flags, after a warm-up


async def check_vad(open_vads: OpenVads, *, speech: bytes | None = None, timeout: float = 60.0) -> None:
    """Hold a voice activity detector to the text of `Vad` and `VadProvider`.

    `open_vads()` opens the provider, as an async context manager: what a plugin's entry point gives for its
    settings. `speech`: six seconds or more of one person who speaks, s16le mono 16 kHz; by default the demo's
    recording. Each check runs in a thread and may take `timeout` seconds.

    Raises AssertionError, which says the sentence that doesn't hold, or the error that the VAD raised
    instead, with a note that names the check.
    """
    spoken = demo_speech() if speech is None else speech
    if len(spoken) < 6 * CHUNK_BYTES or len(spoken) % SAMPLE_BYTES:
        raise ValueError("speech must be six seconds or more, in whole samples")
    async with open_vads() as vads:
        for check in CHECKS:
            try:
                with trio.fail_after(timeout):
                    await trio.to_thread.run_sync(partial(check, vads, spoken), abandon_on_cancel=True)
            except Exception as error:  # any: the note is added and it goes on
                error.add_note(f"while checking: {(check.__doc__ or check.__name__).strip()}")
                raise


def demo_speech() -> bytes:
    """The recording that the package ships, as PCM: eleven seconds of one speaker, with pauses."""
    flac = files("interview_edge") / "cli" / "demo_audio" / "jfk.flac"
    samples, _ = soundfile.read(io.BytesIO(flac.read_bytes()), dtype="int16")
    return bytes(samples.astype("<i2").tobytes())


def _hold(condition: bool, sentence: str) -> None:
    if not condition:
        raise AssertionError(sentence)


def _pieces(pcm: bytes, size: int) -> list[bytes]:
    return [pcm[at : at + size] for at in range(0, len(pcm), size)]


def _judged(vad: Vad, pcm: bytes, size: int = CHUNK_BYTES) -> bytes:
    return b"".join(vad.judge(piece) for piece in _pieces(pcm, size))


def _heard(ear: StreamVad, seconds: Sequence[bytes]) -> list[SpeechEvent]:
    return [event for second in seconds for event in ear.hear(second)]


# -- the checks: each gets the provider and the speech


def _describes_itself(vads: VadProvider, speech: bytes) -> None:
    """A provider has a name and a number of workers; frames are 10 to 100 whole milliseconds, always."""
    _hold(isinstance(vads.provider, str) and bool(vads.provider), "provider is a name")
    workers = vads.workers
    _hold(type(workers) is int and workers >= 0, "workers is a number, 0 for a VAD that is called inline")
    vad = vads.open()
    samples = vad.frame_samples
    _hold(type(samples) is int, "frame_samples is a number")
    ms, rest = divmod(samples, SAMPLE_RATE // 1000)
    _hold(rest == 0 and 10 <= ms <= 100, f"a frame is 10 to 100 whole milliseconds, not {samples} samples")
    vad.judge(speech[:CHUNK_BYTES])
    _hold(vad.frame_samples == samples, "frame_samples never changes")
    _hold(vads.open().frame_samples == samples, "frame_samples is the same for every stream")


def _flags_each_frame(vads: VadProvider, speech: bytes) -> None:
    """judge answers a byte for each frame that is whole, 0 or 1, and carries the rest."""
    vad = vads.open()
    _hold(vad.carried_samples == 0, "a fresh VAD carries no samples")
    _hold(vad.judge(b"") == b"", "judge answers no flags for no audio")
    heard = flagged = 0
    for piece in _pieces(speech[: 2 * CHUNK_BYTES], 2 * 1_501):
        flags = vad.judge(piece)
        _hold(isinstance(flags, bytes), "judge answers bytes")
        _hold(set(flags) <= {0, 1}, "a flag is 0 or 1")
        heard += len(piece) // SAMPLE_BYTES
        flagged += len(flags)
        _hold(flagged == heard // vad.frame_samples, "judge answers a flag for each frame that is whole")
        carried = heard - flagged * vad.frame_samples
        _hold(vad.carried_samples == carried, "carried_samples are those of the frame that has begun")


def _cuts_make_no_difference(vads: VadProvider, speech: bytes) -> None:
    """The same audio gives the same flags however it is cut."""
    spoken = speech[: 6 * CHUNK_BYTES]
    whole = vads.open().judge(spoken)
    for size in CUTS:
        _hold(
            _judged(vads.open(), spoken, size) == whole,
            f"the same audio gives the same flags, whole and in pieces of {size // SAMPLE_BYTES} samples",
        )
    begin = spoken[CHUNK_BYTES : CHUNK_BYTES + CHUNK_BYTES // 8]
    _hold(
        _judged(vads.open(), begin, SAMPLE_BYTES) == vads.open().judge(begin),
        "the same audio gives the same flags, whole and sample by sample",
    )


def _finds_speech(vads: VadProvider, speech: bytes) -> None:
    """Speech between silences is found where it is."""
    before = 2
    ear = StreamVad(vads.open())
    events = _heard(ear, [SECOND] * before + _pieces(speech, CHUNK_BYTES) + [SECOND] * 3) + ear.flush()
    found = [event for event in events if isinstance(event, SpeechEnded)]
    _hold(bool(found), "speech is found")
    begin, end = before * CHUNK_SAMPLES, before * CHUNK_SAMPLES + len(speech) // SAMPLE_BYTES
    spoken = sum(event.end_sample - event.start_sample for event in found)
    _hold(spoken * 2 >= end - begin, f"of speech at least half is found, not {spoken / (end - begin):.0%}")
    _hold(
        begin - TOLERANCE <= found[0].start_sample and found[-1].end_sample <= end + TOLERANCE,
        "no speech is found a second before it begins or after it ends",
    )


def _hears_silence(vads: VadProvider, speech: bytes) -> None:
    """After one second of zeros each further frame of zeros is unvoiced: at the start, and after speech."""
    for what, begun in {"nothing": b"", "speech": speech, "a part of it": speech[: 3 * CHUNK_BYTES]}.items():
        vad = vads.open()
        _judged(vad, begun)
        vad.judge(SECOND)
        flags = _judged(vad, SECOND * 4)
        _hold(1 not in flags, f"a second of zeros after {what}, each further frame of zeros is unvoiced")


def _knows_only_its_stream(vads: VadProvider, speech: bytes) -> None:
    """Instances know nothing of each other."""
    others = _pieces(SECOND * 2 + speech, CHUNK_BYTES)
    alone = _judged(vads.open(), speech)
    one, other = vads.open(), vads.open()
    flags = b""
    for piece, others_piece in zip(_pieces(speech, CHUNK_BYTES), others, strict=False):
        flags += one.judge(piece)
        other.judge(others_piece)
    _hold(flags == alone, "a stream's flags don't depend on what another stream says")


def _warms_up(vads: VadProvider, speech: bytes) -> None:
    """warm_up judges nothing and drops what is carried; the next frame begins where its audio ends."""
    before, after = speech[: 3 * CHUNK_BYTES], speech[3 * CHUNK_BYTES : 6 * CHUNK_BYTES]
    through = vads.open()
    through.warm_up(before)
    frame = through.frame_samples * SAMPLE_BYTES
    whole = through.judge(after)
    for size in (SAMPLE_BYTES, frame - SAMPLE_BYTES, frame + SAMPLE_BYTES):
        vad = vads.open()
        vad.judge(before[:size])
        vad.warm_up(before)
        _hold(vad.carried_samples == 0, "after warm_up nothing is carried")
        _hold(
            len(vad.judge(after[:frame])) == 1 and vad.carried_samples == 0,
            "after warm_up the next frame begins where its audio ended",
        )
    again = vads.open()
    again.warm_up(before)
    _hold(_judged(again, after, CUTS[1]) == whole, "after warm_up, too, cuts make no difference")
    cold = vads.open()
    cold.judge(before[: len(before) // frame * frame])
    continued = cold.judge(after)
    same = sum(a == b for a, b in zip(continued, whole, strict=True)) / len(whole)
    _hold(same >= AGREEING, f"after warm_up flags are mostly as if it had judged that audio, not {same:.0%}")


def _goes_on_after_a_restart(vads: VadProvider, speech: bytes) -> None:
    """A stream that goes on after a restart, warmed up, loses and doubles no event."""
    seconds = [SECOND] * 2 + _pieces(speech, CHUNK_BYTES) + [SECOND] * 2
    for stop in range(1, len(seconds), 5):
        before = StreamVad(vads.open())
        events = _heard(before, seconds[:stop])
        position = before.position()
        after = StreamVad(vads.open())
        after.resume(position)
        resume_at = position.sample // CHUNK_SAMPLES
        after.warm_up(b"".join(seconds[max(0, resume_at - WARM_UP_SECONDS) : resume_at]))
        events += _heard(after, seconds[resume_at:]) + after.flush()
        numbers = [event.utterance_no for event in events]
        kinds = [isinstance(event, SpeechEnded) for event in events]
        _hold(
            kinds == [False, True] * (len(events) // 2)
            and numbers == [no for no in range(1, len(events) // 2 + 1) for _ in range(2)],
            f"over a restart after {stop} s starts and ends of speech take turns and none is missing",
        )
        end = sum(len(second) for second in seconds) // SAMPLE_BYTES
        frame = vads.open().frame_samples
        _hold(
            after.position().sample == end - (end - position.sample) % frame,
            f"over a restart after {stop} s every frame is judged once",
        )


CHECKS: tuple[Check, ...] = (
    _describes_itself,
    _flags_each_frame,
    _cuts_make_no_difference,
    _finds_speech,
    _hears_silence,
    _knows_only_its_stream,
    _warms_up,
    _goes_on_after_a_restart,
)
