"""Make docs/images/demo.svg from a real run of the demo: `uv run python docs/make_demo_picture.py`.

Takes a second. The picture shows what the run printed, whatever it was; a run that fails leaves the old one.
"""

from __future__ import annotations

import re
from io import StringIO
from pathlib import Path

import trio
from rich.console import CONSOLE_SVG_FORMAT, Console
from rich.terminal_theme import MONOKAI

from interview_edge.cli.demo import run_demo
from interview_edge.logs import configure_logs
from interview_edge.settings import Settings

PICTURE = Path(__file__).parent / "images" / "demo.svg"
COMMAND = "uv run interview-edge demo"
WIDTH = 84  # characters: the paths fit on one line

# Without rich's web font: a picture in a README may not load anything, and nobody should be asked to.
_FORMAT = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)


def main() -> None:
    """Run the demo and write the picture. Raises what the demo raises."""
    configure_logs(Settings(log_level="warning"))
    console = Console(
        record=True, width=WIDTH, file=StringIO(), force_terminal=True, color_system="truecolor"
    )
    console.print(f"[bold green]$[/] {COMMAND}", highlight=False)
    trio.run(run_demo, console)
    svg = console.export_svg(title="interview-edge", theme=MONOKAI, code_format=_FORMAT, unique_id="demo")
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(svg, encoding="utf-8")
    print(f"wrote {PICTURE}")


if __name__ == "__main__":
    main()
