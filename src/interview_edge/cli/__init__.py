"""The command line: `interview-edge serve | smoke | send | demo | doctor`."""

from interview_edge.cli.app import main, run

__all__ = ["main", "run"]
