from __future__ import annotations

import io
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import numpy as np
import pytest
import soundfile
import trio

from interview_edge.cli.audio_source import open_file, open_raw
from interview_edge.cli.send import OtherAudio, in_words, parse_speed, send_file, send_source
from interview_edge.client import EdgeHttp, EdgeRequestError, IngestClosed, open_ingest

SAMPLES = np.random.default_rng(3).integers(-20_000, 20_000, 40_000, dtype=np.int16)
PCM = SAMPLES.astype("<i2").tobytes()

Server = AbstractAsyncContextManager[str]


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    path = tmp_path / "speech.wav"
    soundfile.write(path, SAMPLES, 16_000)
    return path


async def kept(url: str, session_id: str, folder: Path) -> bytes:
    """The session's audio, as the server gives it back."""
    async with EdgeHttp(url) as http:
        await http.save_audio(session_id, folder / "kept.wav")
    samples, _ = soundfile.read(folder / "kept.wav", dtype="int16")
    data: bytes = samples.astype("<i2").tobytes()
    return data


async def test_a_file_arrives_sample_for_sample(
    server: Server, wav: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    complaints: list[str] = []
    async with server as url:
        status = await send_file(
            str(wav),
            url=url,
            session_id="s1",
            stream="mixed",
            speed=None,
            raw=False,
            finalize=True,
            complain=complaints.append,
        )
        assert (status, complaints) == (0, [])
        assert await kept(url, "s1", tmp_path) == PCM
    printed = capsys.readouterr().out
    assert "session s1" in printed
    assert "2.5 s sent and acknowledged" in printed
    assert "result.json, complete" in printed


async def test_a_result_with_gaps_in_any_stream_names_them(
    server: Server, wav: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with server as url:
        for stream, seqs in (("students", (2, 5, 6)), ("mixed", (2,))):
            async with open_ingest(url, "s1", stream) as ingest:
                for seq in seqs:
                    await ingest.send(bytes(32_000), seq=seq)
        status = await send_file(
            str(wav),
            url=url,
            session_id="s1",
            stream="teacher",
            speed=None,
            raw=False,
            finalize=True,
            complain=pytest.fail,
        )
    assert status == 0
    said = capsys.readouterr().out.splitlines()[-1]
    expected = "missing seconds 1 of stream mixed; 1, 3-4 of stream students"
    assert said == f"sessions/s1/result.json, {expected}"


async def test_a_file_goes_on_where_an_interrupted_one_ended(
    server: Server, wav: Path, tmp_path: Path
) -> None:
    async with server as url:
        async with open_ingest(url, "s1") as first:
            await first.send(PCM[:32_000])
            await first.send(PCM[32_000:64_000])
        async with open_ingest(url, "s1") as second:
            sent = await send_source(second, open_file(wav), speed=None, resume=True)
        assert (sent.seconds, sent.held_before) == (0.5, 2)
        assert await kept(url, "s1", tmp_path) == PCM


async def test_a_file_sent_whole_is_not_sent_again(server: Server, wav: Path, tmp_path: Path) -> None:
    async with server as url:
        for held in (0, 3):
            async with open_ingest(url, "s1") as ingest:
                sent = await send_source(ingest, open_file(wav), speed=None, resume=True)
            assert sent.held_before == held
        assert sent.seconds == 0
        assert await kept(url, "s1", tmp_path) == PCM


async def test_a_session_of_other_audio_is_left_alone(server: Server, wav: Path, tmp_path: Path) -> None:
    async with server as url:
        async with open_ingest(url, "s1") as first:
            await first.send(bytes(32_000))
        async with open_ingest(url, "s1") as second:
            with pytest.raises(OtherAudio, match="other audio at second 1"):
                await send_source(second, open_file(wav), speed=None, resume=True)
        assert await kept(url, "s1", tmp_path) == bytes(32_000)


async def test_a_session_longer_than_the_file_is_left_alone(server: Server, wav: Path) -> None:
    async with server as url:
        async with open_ingest(url, "s1") as first:
            for _ in range(4):
                await first.send(bytes(32_000))
        async with open_ingest(url, "s1") as second:
            with pytest.raises(OtherAudio, match="more than this file"):
                await send_source(second, open_file(wav), speed=None, resume=True)


async def test_a_pipe_goes_on_after_what_is_held(server: Server, tmp_path: Path) -> None:
    async with server as url:
        async with open_ingest(url, "s1") as first:
            await first.send(bytes(32_000))
        async with open_ingest(url, "s1") as second:
            await send_source(second, open_raw(io.BytesIO(PCM)), speed=None, resume=False)
        assert await kept(url, "s1", tmp_path) == bytes(32_000) + PCM


async def test_speed_sets_the_pace(server: Server, wav: Path) -> None:
    async with server as url, open_ingest(url, "s1") as ingest:
        started = trio.current_time()
        await send_source(ingest, open_file(wav), speed=20, resume=True)
        assert trio.current_time() - started >= 2 / 20


async def test_what_goes_wrong_is_said_in_one_line(server: Server, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    async with server as url:
        for file, words in (("notes.txt", "can't read"), ("gone.wav", "No such file")):
            complaints: list[str] = []
            status = await send_file(
                str(tmp_path / file),
                url=url,
                session_id="s1",
                stream="mixed",
                speed=None,
                raw=False,
                finalize=False,
                complain=complaints.append,
            )
            assert status == 1
            assert words in complaints[0]


async def test_a_session_that_was_deleted_is_said_in_words(server: Server, wav: Path) -> None:
    complaints: list[str] = []
    async with server as url:
        async with open_ingest(url, "s1") as ingest:
            await ingest.send(bytes(32_000))
        async with EdgeHttp(url) as http:
            await http.delete("s1")
        status = await send_file(
            str(wav),
            url=url,
            session_id="s1",
            stream="mixed",
            speed=None,
            raw=False,
            finalize=False,
            complain=complaints.append,
        )
    assert status == 1
    assert "choose another --session-id" in complaints[0]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (EdgeRequestError(401, "invalid_key", "Authentication required"), "EDGE_API_KEY"),
        (EdgeRequestError(401, "missing_auth", "Authentication required"), "EDGE_API_KEY"),
        (IngestClosed(4410, "session_deleted"), "choose another --session-id"),
        (EdgeRequestError(429, "quota_exceeded", "the day's quota of chunks is used up"), "quota of chunks"),
        (OtherAudio("other audio"), "other audio"),
    ],
)
def test_what_a_person_can_mend_is_said_in_words(error: Exception, words: str) -> None:
    assert words in in_words(error)


@pytest.mark.parametrize(("text", "speed"), [("1", 1.0), ("2.5", 2.5), ("max", None)])
def test_speeds(text: str, speed: float | None) -> None:
    assert parse_speed(text) == speed
