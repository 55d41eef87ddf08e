"""Seqs as people read them, in what the commands say."""

from __future__ import annotations

from interview_edge.core.models import SeqRanges

RANGES_SHOWN = 20


def seqs_in_words(seqs: SeqRanges) -> str:
    """`3-4, 7`, and of more than 20 ranges how many are left out."""
    shown = ", ".join(
        str(first) if first == last else f"{first}-{last}" for first, last in seqs[:RANGES_SHOWN]
    )
    return shown if len(seqs) <= RANGES_SHOWN else f"{shown} and {len(seqs) - RANGES_SHOWN} ranges more"
