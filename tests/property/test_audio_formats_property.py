"""PCM through WAV and FLAC and back, sample for sample; and the identity of a chunk."""

from __future__ import annotations

import hashlib

from hypothesis import given, settings
from hypothesis import strategies as st

from interview_edge.core.flac import decode_flac, encode_flac
from interview_edge.core.pcm import IDENTITY_BYTES, identify
from interview_edge.core.wav import HEADER_BYTES, decode_wav, encode_wav

SAMPLES = st.binary(max_size=2_000).map(lambda raw: raw[: len(raw) // 2 * 2])


@settings(max_examples=100)
@given(pcm=SAMPLES)
def test_wav_round_trip(pcm: bytes) -> None:
    wav = encode_wav(pcm)
    assert len(wav) == HEADER_BYTES + len(pcm)
    assert decode_wav(wav) == pcm


@settings(max_examples=50)
@given(pcm=SAMPLES.filter(bool))
def test_flac_round_trip(pcm: bytes) -> None:
    assert decode_flac(encode_flac(pcm)) == pcm


@settings(max_examples=100)
@given(one=SAMPLES, other=SAMPLES, finals=st.tuples(st.booleans(), st.booleans()))
def test_identity_tells_bytes_and_final_flag_apart(
    one: bytes, other: bytes, finals: tuple[bool, bool]
) -> None:
    (sha256, identity), (_, other_identity) = (
        identify(pcm, final=final) for pcm, final in zip((one, other), finals, strict=True)
    )
    assert sha256 == hashlib.sha256(one).digest()
    assert len(identity) == IDENTITY_BYTES
    assert (identity == other_identity) == (one == other and finals[0] == finals[1])
