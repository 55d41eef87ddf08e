"""Any interleaving of appends, repeats, trims, plans, drops and restarts leaves what a simple model says."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import apsw
import attrs
import trio
import trio.lowlevel
from hypothesis import given, settings
from hypothesis import strategies as st

from interview_edge.core.models import Chunk, Layout, StreamKey
from interview_edge.core.pcm import identify
from interview_edge.journal import Append, Journal, JournalConflict, ObjectPlan, open_journal

KEYS = (StreamKey("a"), StreamKey("a", "teacher"), StreamKey("b"))
LIMITS: dict[str, Any] = {
    "max_bytes": 10**9,
    "min_free_bytes": 0,
    "queue_bytes": 10**8,
    "retry_interval": 0.01,
}

keys = st.sampled_from(KEYS)
seqs = st.integers(1, 12)
spans = st.tuples(seqs, seqs).map(lambda pair: (min(pair), max(pair)))
steps = st.one_of(
    st.tuples(st.just("append"), keys, seqs, st.integers(0, 1)),
    st.tuples(st.just("repeat"), keys, seqs),
    st.tuples(st.just("trim"), keys, spans, st.integers(0, 3)),
    st.tuples(st.just("plan"), keys, spans),
    st.tuples(st.just("drop"), st.sampled_from(["a", "b"])),
    st.tuples(st.just("settle")),
)


@attrs.define
class Model:
    """What the journal should hold, and the outcome that each append should have had."""

    chunks: dict[StreamKey, dict[int, bytes]] = attrs.field(factory=lambda: {key: {} for key in KEYS})
    repeats: dict[StreamKey, int] = attrs.field(factory=lambda: dict.fromkeys(KEYS, 0))
    plans: dict[StreamKey, set[tuple[int, int]]] = attrs.field(factory=lambda: {key: set() for key in KEYS})
    wanted: list[type[Exception] | None] = attrs.field(factory=list)

    def append(self, key: StreamKey, chunk: Chunk) -> None:
        stands = self.chunks[key].setdefault(chunk.seq, chunk.pcm)
        self.wanted.append(None if stands == chunk.pcm else JournalConflict)

    def trim(self, key: StreamKey, first: int, last: int, repeats: int) -> None:
        self.chunks[key] = {n: pcm for n, pcm in self.chunks[key].items() if not first <= n <= last}
        self.plans[key] = {span for span in self.plans[key] if not (first <= span[0] and span[1] <= last)}
        self.repeats[key] = max(self.repeats[key] - repeats, 0)

    def drop(self, session_id: str) -> None:
        for key in KEYS:
            if key.session_id == session_id:
                self.chunks[key], self.plans[key], self.repeats[key] = {}, set(), 0


def chunk(seq: int, mark: int = 0) -> Chunk:
    pcm = bytes([seq, mark]) * (seq * 700)
    sha256, identity = identify(pcm, final=False)
    return Chunk(seq, seq, False, pcm, sha256, identity)


async def settle(outcomes: list[Any], count: int) -> None:
    with trio.fail_after(5):
        while len(outcomes) < count:
            await trio.lowlevel.checkpoint()


async def take(journal: Journal, step: tuple[Any, ...], model: Model, outcomes: list[Any]) -> None:
    match step:
        case ("append", key, seq, mark):
            model.append(key, chunk(seq, mark))
            journal.append(Append(key, chunk(seq, mark), seq, outcomes.append))
        case ("repeat", key, seq):
            model.repeats[key] += 1
            model.wanted.append(None)
            journal.append(Append(key, chunk(seq), seq, outcomes.append, repeat=True))
        case ("trim", key, (first, last), repeats):
            await settle(outcomes, len(model.wanted))  # the archive trims only what it has read
            model.trim(key, first, last, repeats)
            await journal.trim(key, [(first, last)], repeats)
        case ("plan", key, (first, last)):
            await settle(outcomes, len(model.wanted))
            model.plans[key].add((first, last))
            await journal.record_plans([ObjectPlan(key, first, last, Layout.CHUNKS, "pcm")])
        case ("drop", session_id):
            await settle(outcomes, len(model.wanted))
            model.drop(session_id)
            await journal.drop_session(session_id)
        case ("settle",):
            await settle(outcomes, len(model.wanted))


def audio_of_chunks(connection: apsw.Connection) -> list[Any]:
    return connection.execute("SELECT audio, id FROM chunks ORDER BY audio").fetchall()


def audio(connection: apsw.Connection) -> list[Any]:
    return connection.execute("SELECT no, id FROM audio").fetchall()


async def compare(journal: Journal, model: Model) -> None:
    for key in KEYS:
        held = model.chunks[key]
        assert dict(await journal.read(key, 1, 100)) == held
        assert [row.seq for row in await journal.rows(key)] == sorted(held)
        assert [(p.first, p.last) for p in await journal.plans(key)] == sorted(model.plans[key])
    streams = {s.key: (s.rows, s.bytes, s.oldest_at, s.duplicates) for s in await journal.streams()}
    assert streams == {
        key: (len(held), sum(map(len, held.values())), min(held, default=None), model.repeats[key])
        for key, held in model.chunks.items()
        if held or model.plans[key] or model.repeats[key]
    }
    assert await journal._reader.run(audio_of_chunks) == sorted(await journal._reader.run(audio))
    rows = [pcm for held in model.chunks.values() for pcm in held.values()]
    assert (journal.stats.rows, journal.stats.bytes) == (len(rows), sum(map(len, rows)))


async def live(path: Path, lives: Sequence[Sequence[tuple[Any, ...]]]) -> None:
    model = Model()
    outcomes: list[Any] = []
    for steps_of_life in lives:
        async with open_journal(path, **LIMITS) as journal:
            await compare(journal, model)
            for step in steps_of_life:
                await take(journal, step, model, outcomes)
        assert [None if error is None else type(error) for error in outcomes] == model.wanted
    async with open_journal(path, **LIMITS) as journal:
        await compare(journal, model)


@given(st.lists(st.lists(steps, max_size=25), min_size=1, max_size=3))
@settings(max_examples=40)
def test_any_interleaving_is_as_the_model_says(lives: list[list[tuple[Any, ...]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        trio.run(partial(live, Path(folder) / "journal.db", lives))
