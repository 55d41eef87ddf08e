"""`interview-edge models`: the files of the models that a node can run by itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from interview_edge.speech.model_files import (
    FileState,
    Finding,
    ModelError,
    fetch,
    from_folder,
    verify,
)
from interview_edge.speech.models import MODELS, Model

Say = Callable[[str], None]


def chosen(names: Sequence[str]) -> list[Model]:
    """The models of these names, all without any. Raises ValueError for a name that is none."""
    unknown = [name for name in names if name not in MODELS]
    if unknown:
        raise ValueError(f"{unknown[0]} is no model; there are {', '.join(MODELS)}")
    return [MODELS[name] for name in names] or list(MODELS.values())


def fetch_models(models: Sequence[Model], root: Path, wheels: Path | None, say: Say, warn: Say) -> int:
    """Bring the files of these models into the model folder; answers the exit status."""
    root.mkdir(parents=True, exist_ok=True)
    download = None if wheels is None else from_folder(wheels)
    for model in models:
        try:
            fetch(model, root, download=download, told=warn)
        except ModelError as error:
            warn(f"{model.name}: {error}")
            return 1
        say(f"{model.name}: {len(model.files)} files, {model.size / 10**6:.0f} MB, in {root / model.name}")
    return 0


def show_models(root: Path, *, as_json: bool, say: Say, console: Console) -> int:
    """What models there are, and which of them are here, by the sizes of their files."""
    rows = [(model, verify(model, root, deep=False)) for model in MODELS.values()]
    if as_json:
        for model, found in rows:
            say(json.dumps({"model": model.name, "bytes": model.size, "state": _state(found)}))
        return 0
    table = Table(title=escape(f"Models in {root}"))
    for column in ("model", "for", "MB", "state", "origin", "license"):
        table.add_column(column, overflow="fold")
    for model, found in rows:
        size = f"{model.size / 10**6:.0f}"
        table.add_row(model.name, model.purpose, size, _state(found), model.origin, model.license)
    console.print(table)
    return 0


def verify_models(models: Sequence[Model], root: Path, say: Say) -> int:
    """Look at every byte; 1 where a file is missing or damaged."""
    status = 0
    for model in models:
        for found in verify(model, root):
            say(f"{found.state}: {found.path}")
            status |= found.state is not FileState.OK
    return status


def _state(found: Sequence[Finding]) -> str:
    """The worst of its files."""
    states = {each.state for each in found}
    return next(
        str(state) for state in (FileState.DAMAGED, FileState.MISSING, FileState.OK) if state in states
    )
