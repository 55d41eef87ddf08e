"""`check_transcriber`: the contract of `Transcriber`, promise by promise, for whoever implements it."""

from __future__ import annotations

import gc
import math
import re
import unicodedata
import weakref
from collections.abc import Awaitable, Callable, Collection
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

import attrs
import trio

from interview_edge.core.pcm import CHUNK_BYTES, SAMPLE_BYTES
from interview_edge.speech.transcriber import (
    MAX_SECONDS,
    Failure,
    Transcriber,
    Transcript,
    TranscriptionFailed,
)
from interview_edge.testing.promises import (
    all_at_once,
    end_when_cancelled,
    hold,
    keep_promises,
    leave_loop_free,
)
from interview_edge.testing.voices import recorded_voice

OpenTranscriber = Callable[[], AbstractAsyncContextManager[Transcriber]]

MAX_TEXT = 64 * 1024  # characters: half a minute has a tenth of a hundredth of them
PROMPT = "Anna Weiß, 李明 and Zoë 🎙 spoke before: “yes”, he said.\nThen"
MAX_PROMPT = 2_000  # characters: the longest that a client may give (docs/reference/browser-socket.md)
CALLS_AT_ONCE = 2  # of speech, and as many of silence

_LANGUAGE = re.compile(r"[a-z]{2,3}")  # of three letters where ISO 639-1 has none: Cantonese, Hawaiian
_RELEASE_SECONDS = 1.0  # for a thread to let go of what it worked on


@attrs.frozen
class _Subject:
    """The transcriber, and words that its text of the recording must have."""

    transcriber: Transcriber
    words: Collection[str]

    async def outcome(
        self, pcm: bytes, *, language: str | None = None, prompt: str | None = None
    ) -> Transcript | TranscriptionFailed:
        """What one call comes to; AssertionError where that is neither."""
        try:
            found = await self.transcriber.transcribe(pcm, language=language, prompt=prompt)
        except TranscriptionFailed as error:
            _hold_failure(error)
            return error
        except Exception as error:  # whichever it is, it is none that may come out
            raise AssertionError(
                f"a call gives a Transcript or raises TranscriptionFailed (it raised {error!r})"
            ) from error
        _hold_transcript(found)
        return found

    async def heard(self, pcm: bytes, *, language: str | None = "en", prompt: str | None = None) -> None:
        """Recorded speech must come out as text."""
        found = await self.outcome(pcm, language=language, prompt=prompt)
        hints = f"language {language!r}, a prompt of {len(prompt or '')} characters"
        _hold_heard(found, self.words if language == "en" else (), hints)


def _hold_heard(found: Transcript | Exception, words: Collection[str], when: str) -> None:
    if isinstance(found, Exception):
        raise AssertionError(f"recorded speech becomes text ({when}: it raised {found!r})") from found
    hold(bool(found.text), f"recorded speech becomes text ({when}: it is empty)")
    spoken = set(re.findall(r"\w+", found.text.lower()))
    lacking = sorted({word.lower() for word in words} - spoken)
    hold(not lacking, f"the text has the words that were said ({when}: no {lacking} in {found.text!r})")


def _hold_transcript(found: Any) -> None:
    hold(isinstance(found, Transcript), f"a call answers a Transcript (it answered {found!r})")
    hold(isinstance(found.text, str), "a text is a str")
    hold(len(found.text) <= MAX_TEXT, f"a text has at most {MAX_TEXT} characters")
    unfit = {c for c in found.text if unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t"}
    hold(not unfit, f"a text has no control characters and no surrogates (it has {unfit})")
    hold(not found.text or not found.text.isspace(), "a text is empty where nothing was said, not blank")
    hold(
        found.language is None or (isinstance(found.language, str) and _is_code(found.language)),
        f"a language is an ISO 639-1 code or None (it is {found.language!r})",
    )
    hold(
        _is_number(found.fetch_ms) and found.fetch_ms >= 0,
        f"fetch_ms is a finite number from 0 on (it is {found.fetch_ms!r})",
    )


def _hold_failure(error: TranscriptionFailed) -> None:
    hold(isinstance(error.failure, Failure), f"a failure is one of Failure (it is {error.failure!r})")
    hold(bool(error.detail) and isinstance(error.detail, str), "a failure has a detail for people")
    hold(
        error.retry_after is None or (_is_number(error.retry_after) and error.retry_after >= 0),
        f"retry_after is None or a finite number from 0 on (it is {error.retry_after!r})",
    )


def _is_code(language: str) -> bool:
    return _LANGUAGE.fullmatch(language) is not None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


async def check_transcriber(
    open_transcriber: OpenTranscriber, *, words: Collection[str] = (), timeout: float = 60.0
) -> None:
    """Hold a transcriber to the text of `Transcriber`.

    `open_transcriber()` opens it, as an async context manager; it is opened twice, one after the other. It
    hears some forty times up to 30 s of recorded speech (English, which the package ships), silence and
    scraps. `words` are some that its text of the recording must have, in any case: ("country", "americans")
    for a real one. Opening, each promise and closing may take `timeout` seconds.

    Raises AssertionError, which says the promise that is broken.
    """
    names: list[str] = []

    def subject(transcriber: Transcriber) -> _Subject:
        names.append(transcriber.provider)
        return _Subject(transcriber, words)

    await keep_promises(open_transcriber, subject, PROMISES, timeout)
    await keep_promises(open_transcriber, subject, (_has_a_name,), timeout)
    hold(len(set(names)) == 1, f"its name stays the same when it is opened again (it was {set(names)})")


# -- the promises


async def _has_a_name(subject: _Subject) -> None:
    """`provider` is a name that people can read, and stays the same."""
    name = subject.transcriber.provider
    hold(isinstance(name, str) and bool(name.strip()), f"provider is a name (it is {name!r})")
    hold(name.isprintable(), f"provider is printable (it is {name!r})")
    await subject.outcome(recorded_voice())
    hold(subject.transcriber.provider == name, "provider stays the same")


async def _writes_what_was_said(subject: _Subject) -> None:
    """Recorded speech becomes text, with and without a language."""
    await subject.heard(recorded_voice())
    await subject.heard(recorded_voice(), language=None)


async def _bears_any_audio(subject: _Subject) -> None:
    """Whatever the audio is, from one sample to exactly 30 s, a call gives a Transcript or
    TranscriptionFailed.
    """
    speech, longest = recorded_voice(), MAX_SECONDS * CHUNK_BYTES
    loudest = (32_767).to_bytes(2, "little") + (-32_768).to_bytes(2, "little", signed=True)
    for pcm in (
        bytes(CHUNK_BYTES),  # silence
        bytes(SAMPLE_BYTES),  # one sample
        speech[: CHUNK_BYTES // 10],  # 100 ms
        loudest * (CHUNK_BYTES // 4),
        (speech * -(-longest // len(speech)))[:longest],
    ):
        await subject.outcome(pcm)


async def _takes_hints(subject: _Subject) -> None:
    """`language` and `prompt` are hints: speech becomes text with any of them."""
    for prompt in ("", "Fellow Americans", PROMPT, (PROMPT * MAX_PROMPT)[:MAX_PROMPT]):
        await subject.heard(recorded_voice(), prompt=prompt)
    await subject.heard(recorded_voice(), language="zh", prompt=PROMPT)


async def _serves_many(subject: _Subject) -> None:
    """Any number of calls at once, and each gets its own answer."""
    speech = [partial(subject.outcome, recorded_voice(), language="en")] * CALLS_AT_ONCE
    silence = [partial(subject.outcome, bytes(CHUNK_BYTES // 10))] * CALLS_AT_ONCE
    # In both orders: an answer may be taken for that of the call before, or of the one after.
    for outcomes in (
        (await all_at_once([*speech, *silence]))[:CALLS_AT_ONCE],
        (await all_at_once([*silence, *speech]))[CALLS_AT_ONCE:],
    ):
        for found in outcomes:
            if isinstance(found, AssertionError):
                raise found
            # A provider that is asked too much may say so.
            if not isinstance(found, TranscriptionFailed) or not found.passing:
                _hold_heard(found, subject.words, f"{2 * CALLS_AT_ONCE} calls at once")


async def _leaves_the_loop_free(subject: _Subject) -> None:
    """A call never blocks the event loop: other sessions' audio goes on meanwhile."""
    await leave_loop_free(partial(subject.outcome, recorded_voice(), language="en"))


async def _is_cancelled_at_once(subject: _Subject) -> None:
    """A cancelled call ends at once, and the next one is served."""
    call: Callable[[], Awaitable[object]] = partial(subject.outcome, recorded_voice(), language="en")
    for delays in ((0.0,), (0.001,), (0.02,), (0.1,), (0.0, 0.001, 0.005, 0.01, 0.02, 0.05)):
        await end_when_cancelled(call, delays)
    await subject.heard(recorded_voice())


async def _lets_go_of_audio(subject: _Subject) -> None:
    """The audio isn't kept once the call has ended."""
    gone = trio.Event()
    token = trio.lowlevel.current_trio_token()  # it may go in a thread
    watch = await _lend(subject, lambda: token.run_sync_soon(gone.set))
    gc.collect()  # what goes round in circles is gone with it
    with trio.move_on_after(_RELEASE_SECONDS):
        await gone.wait()
    hold(watch() is None, "the audio isn't kept once the call has ended")


class _Lent(bytes):
    """Audio that shows when it is gone: `bytes` can't be referred to weakly, an attribute can."""

    tag: _Tag


class _Tag:
    pass


async def _lend(subject: _Subject, when_gone: Callable[[], None]) -> weakref.ref[_Tag]:
    lent = _Lent(recorded_voice())
    lent.tag = _Tag()
    watch = weakref.ref(lent.tag, lambda _: when_gone())
    await subject.outcome(lent)
    return watch


PROMISES: tuple[Callable[[_Subject], Awaitable[None]], ...] = (
    _has_a_name,
    _writes_what_was_said,
    _bears_any_audio,
    _takes_hints,
    _serves_many,
    _leaves_the_loop_free,
    _is_cancelled_at_once,
    _lets_go_of_audio,
)
