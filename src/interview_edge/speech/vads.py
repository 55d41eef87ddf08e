"""Which VAD a node has, by its settings: webrtc, silero or a plugin's; and its threads."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeVar

import trio

from interview_edge.settings import Settings, SettingsError
from interview_edge.speech.pipeline import StreamVad
from interview_edge.speech.plugins import PluginSetting, open_plugin
from interview_edge.speech.silero import open_silero
from interview_edge.speech.vad import VadProvider, WebRtcVads

PLUGIN = PluginSetting(
    "vad", "interview_edge.vads", built_in=("webrtc", "silero"), needs=("provider", "workers", "open")
)
# For a worker and its work together, which is one second of audio. A VAD that takes longer has hung, or a
# thousand streams wait for it.
JUDGE_TIMEOUT = 30.0

Answer = TypeVar("Answer")


class NodeVad:
    """The VAD of a node: gives each stream its own, and runs those that block in a bounded number of
    threads. `inline`: it is called without a thread; a `StreamVad` then hears by itself.
    """

    def __init__(self, source: VadProvider) -> None:
        self._source = source
        self.inline = not source.workers
        self._limiter = None if self.inline else trio.CapacityLimiter(source.workers)

    @property
    def provider(self) -> str:
        return self._source.provider

    async def open(self) -> StreamVad:
        """A fresh ear for a stream. No checkpoint where it is inline. Raises ValueError for frames that break
        the contract, and as `run` does.
        """
        vad = self._source.open() if self.inline else await self.run(self._source.open)
        return StreamVad(vad)

    async def run(self, work: Callable[[], Answer]) -> Answer:
        """Work that blocks, in a thread once one is free. Raises trio.TooSlowError after JUDGE_TIMEOUT.

        Cancelled, the caller goes on at once and the thread ends its work, keeping its place until then: what
        it works on must not be used any more.
        """
        with trio.fail_after(JUDGE_TIMEOUT):
            return await trio.to_thread.run_sync(work, limiter=self._limiter, abandon_on_cancel=True)


@asynccontextmanager
async def open_vad(settings: Settings) -> AsyncIterator[NodeVad]:
    """The node's VAD, tried once. Raises SettingsError for a name that is none, and for one that can't work
    here.
    """
    async with _open(settings) as source:
        try:
            vad = NodeVad(source)
            await vad.open()
        except Exception as error:  # whatever a plugin raises: it can't hear here
            raise SettingsError(f"vad (EDGE_VAD) {settings.vad!r} can't be used: {error!r}") from error
        yield vad


def _open(settings: Settings) -> AbstractAsyncContextManager[VadProvider]:
    if settings.vad == "webrtc":
        return _open_webrtc(settings)
    if settings.vad == "silero":
        return open_silero(settings.vad_threshold)
    return open_plugin(PLUGIN, settings.vad, settings)


@asynccontextmanager
async def _open_webrtc(settings: Settings) -> AsyncIterator[VadProvider]:
    yield WebRtcVads(settings.vad_mode, settings.vad_frame_ms)
