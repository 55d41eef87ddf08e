"""Memory over time as a picture, by matplotlib (dependency group `bench`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import attrs


@attrs.frozen
class Sample:
    """The server's memory in bytes, `at` seconds into the run."""

    at: float
    memory: int


@attrs.frozen
class Mark:
    """What began `at` seconds into the run."""

    at: float
    name: str


def plot(samples: Sequence[Sample], marks: Sequence[Mark], path: Path) -> None:
    """Write the picture; `path`'s suffix says whether SVG or PNG."""
    # Here, not above: a second to import, for one benchmark in four.
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(11, 4.5), layout="constrained")
    axes.plot([sample.at for sample in samples], [sample.memory / 2**20 for sample in samples], linewidth=1.2)
    for mark in marks:
        axes.axvline(mark.at, color="0.8", linewidth=0.8, zorder=0)
        axes.annotate(
            mark.name,
            (mark.at, 1),
            xycoords=("data", "axes fraction"),
            xytext=(2, -4),
            textcoords="offset points",
            rotation=90,
            va="top",
            fontsize=7,
            color="0.35",
        )
    axes.set(xlabel="seconds", ylabel="memory of the server (PSS), MiB", ylim=(0, None))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    pyplot.close(figure)
