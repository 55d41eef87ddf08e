"""Python's full garbage collections, made rare while live audio is served."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

# Collections of the middle generation between two full ones (Python's own default is 10). A full one looks
# at every object of every live session: 130 ms at 500 sessions, in which no ack goes out; with 10 it came
# every few seconds and was the p99 of acks (55 ms; 14 without). What sessions leave in cycles,
# freed_memory.py collects.
BETWEEN_FULL = 500


@contextmanager
def rare_full_collections() -> Iterator[None]:
    """For the block. It is the interpreter's setting: only for a process that is all ours."""
    young, middle, full = gc.get_threshold()
    gc.collect()
    gc.freeze()  # what start-up made stays: no collection has to look at it again
    gc.set_threshold(young, middle, BETWEEN_FULL)
    try:
        yield
    finally:
        gc.set_threshold(young, middle, full)
        gc.unfreeze()
