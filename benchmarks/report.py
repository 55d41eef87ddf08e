"""What every benchmark hands out: tables for the reader, and the same rows as JSON."""

from __future__ import annotations

import json
import math
import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import attrs
from rich.console import Console
from rich.table import Table

OUT = Path(__file__).parent / "out"

Cell = str | int | float
Row = Mapping[str, Cell]

_MEASURED_WITH = ("trio", "hypercorn", "wsproto", "quart", "quart-trio", "apsw", "numpy", "msgspec")


@attrs.frozen
class Section:
    """One table: rows of named cells, all with the same names."""

    title: str
    rows: Sequence[Row]


def publish(name: str, options: Mapping[str, object], sections: Sequence[Section], out: Path) -> Path:
    """Print the sections and write `<out>/<name>.json`; answers its path."""
    console = Console()
    for section in sections:
        console.print(_table(section))
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{name}.json"
    record = {
        "benchmark": name,
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": _machine(),
        "options": {key: str(value) for key, value in options.items()},
        "sections": [attrs.asdict(section) for section in sections],
    }
    path.write_text(json.dumps(record, indent=2) + "\n")
    console.print(f"written: {path}")
    return path


def tell(text: str) -> None:
    """Progress, for a reader who waits for minutes."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of them don't exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _table(section: Section) -> Table:
    table = Table(title=section.title, title_justify="left")
    for column in section.rows[0] if section.rows else ():
        table.add_column(column, justify="left" if isinstance(section.rows[0][column], str) else "right")
    for row in section.rows:
        table.add_row(*(_shown(cell) for cell in row.values()))
    return table


def _shown(cell: Cell) -> str:
    if isinstance(cell, float):
        return f"{cell:,.2f}" if abs(cell) < 100 else f"{cell:,.0f}"
    return f"{cell:,}" if isinstance(cell, int) else cell


def _machine() -> dict[str, object]:
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg(),
        "versions": {name: version(name) for name in _MEASURED_WITH},
    }
