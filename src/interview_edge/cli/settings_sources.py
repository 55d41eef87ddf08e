"""Where settings come from: flag > `EDGE_<NAME>` > the contract's variable > TOML file > default.

`load_settings` is pure: the caller hands in the flags, the environment and the TOML text. Every error names
the source that brought the bad value (`--port`, `EDGE_PORT`, `edge.toml: port`), so that the reader knows
what to edit. Written by hand over attrs: a command line framework's own environment lookup would also feed
command arguments (`EDGE_CHUNKS` would reach `smoke --chunks`).
"""

from __future__ import annotations

import enum
import tomllib
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs

from interview_edge.core.near_names import suggest
from interview_edge.settings import Settings, SettingsError

PREFIX = "EDGE_"
FILE_SUFFIX = "_FILE"
CONFIG_VARIABLE = "EDGE_CONFIG"
KEY_VARIABLE = "EDGE_API_KEY"  # of `send` and `smoke`; the server has no use for one

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


@attrs.frozen
class TomlSource:
    """The text of a configuration file and the name that errors call it by."""

    name: str
    text: str


@attrs.frozen
class _Given:
    """One value, as its source wrote it. `text` tells a string that stands for a value from a typed one."""

    value: Any = attrs.field(repr=False)
    source: str
    text: bool


def load_settings(
    flags: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    toml: TomlSource | None = None,
    *,
    read_file: Callable[[Path], str] = Path.read_text,
) -> Settings:
    """Merge the sources into checked `Settings`.

    `flags` maps setting names to values (None: not given). `read_file` serves `EDGE_<NAME>_FILE` variables.
    An empty variable counts as unset, which is what compose files make of a value they don't have.
    Raises `SettingsError` for unknown names (with a suggestion), values of the wrong type and broken rules;
    the message never shows a secret's value.
    """
    attributes = {attribute.name: attribute for attribute in attrs.fields(Settings)}
    hints = typing.get_type_hints(Settings)
    given = _from_toml(toml, attributes) if toml else {}
    given |= _from_environment(environ or {}, attributes, read_file)
    given |= {
        name: _Given(value, f"--{name.replace('_', '-')}", isinstance(value, str))
        for name, value in (flags or {}).items()
        if value is not None
    }
    values = {name: _convert(attributes[name], hints[name], item) for name, item in given.items()}
    try:
        return Settings(**values)
    except SettingsError as error:
        raise SettingsError(_with_sources(str(error), given)) from None


def read_api_key(environ: Mapping[str, str], read_file: Callable[[Path], str] = Path.read_text) -> str | None:
    """The key that client commands send: `EDGE_API_KEY`, or what is in the file of `EDGE_API_KEY_FILE`.

    Never a flag: other users of a machine can read those. Raises `SettingsError` for a file that can't be
    read.
    """
    by_file = KEY_VARIABLE + FILE_SUFFIX
    if path := environ.get(by_file):
        return _read(by_file, path, read_file)
    return environ.get(KEY_VARIABLE) or None


def _from_toml(toml: TomlSource, attributes: Mapping[str, attrs.Attribute[Any]]) -> dict[str, _Given]:
    try:
        table = tomllib.loads(toml.text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{toml.name} is not valid TOML: {error}") from None
    for key in table:
        if key not in attributes:
            raise SettingsError(f"{toml.name}: unknown setting {key!r}{suggest(key, attributes)}")
    return {key: _Given(value, f"{toml.name}: {key}", text=False) for key, value in table.items()}


def _from_environment(
    environ: Mapping[str, str],
    attributes: Mapping[str, attrs.Attribute[Any]],
    read_file: Callable[[Path], str],
) -> dict[str, _Given]:
    given: dict[str, _Given] = {}
    known = {CONFIG_VARIABLE, KEY_VARIABLE, KEY_VARIABLE + FILE_SUFFIX}
    for name, attribute in attributes.items():
        own = PREFIX + name.upper()
        by_file = own + FILE_SUFFIX
        known |= {own, by_file}
        if environ.get(own) and environ.get(by_file):
            raise SettingsError(f"{own} and {by_file} are both set; keep one")
        contract = attribute.metadata.get("env")
        if environ.get(own):
            given[name] = _Given(environ[own], own, text=True)
        elif environ.get(by_file):
            given[name] = _Given(_read(by_file, environ[by_file], read_file), by_file, text=True)
        elif contract and environ.get(contract):
            given[name] = _Given(environ[contract], contract, text=True)
    for variable in environ:
        if variable.startswith(PREFIX) and variable not in known:
            raise SettingsError(f"unknown environment variable {variable}{suggest(variable, known)}")
    return given


def _read(variable: str, path: str, read_file: Callable[[Path], str]) -> str:
    try:
        # Editors end a file with a newline that is no part of the secret.
        text = read_file(Path(path)).rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{variable}: can't read {path}: {error}") from None
    if not text:
        raise SettingsError(f"{variable}: {path} is empty")
    return text


def _convert(attribute: attrs.Attribute[Any], hint: Any, given: _Given) -> Any:
    """The value as the setting's type, its own rule checked. Raises `SettingsError` that names the source."""
    wanted = _plain_type(hint)
    shown = "the value" if attribute.metadata.get("secret") else repr(given.value)
    try:
        value = _parse(wanted, given.value) if given.text else _match(wanted, given.value)
    except ValueError as error:
        raise SettingsError(f"{given.source}: {error}, got {shown}") from None
    try:
        if attribute.validator is not None:
            attribute.validator(None, attribute, value)
    except ValueError as error:
        # attrs' own validators put their whole context into args; the first is the message.
        raise SettingsError(f"{given.source}: {error.args[0]}") from None
    return value


def _plain_type(hint: Any) -> type:
    """The type without its `| None`."""
    if isinstance(hint, types.UnionType):
        (hint,) = (part for part in typing.get_args(hint) if part is not types.NoneType)
    return typing.cast(type, typing.get_origin(hint) or hint)  # tuple[str, ...] is a tuple


def _parse(wanted: type, text: str) -> Any:
    """A string from a flag or the environment, as `wanted`. Raises ValueError: "must be ..."."""
    if wanted is bool:
        word = text.strip().lower()
        if word in _TRUE | _FALSE:
            return word in _TRUE
        raise ValueError("must be true or false")
    if wanted in (int, float):
        try:
            return wanted(text)
        except ValueError:
            raise ValueError(_expectation(wanted)) from None
    if wanted is tuple:
        return tuple(part for part in (part.strip() for part in text.split(",")) if part)
    return _match(wanted, text)


def _match(wanted: type, value: Any) -> Any:
    """A typed value (TOML, a parsed flag), as `wanted`. Raises ValueError: "must be ..."."""
    if issubclass(wanted, enum.Enum):
        if isinstance(value, wanted):
            return value
        choices = [str(member.value) for member in wanted]
        if value not in choices:
            raise ValueError(f"must be {' or '.join(choices)}")
        return wanted(value)
    if wanted is Path and isinstance(value, str | Path):
        return Path(value)
    if wanted is tuple and isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    if wanted is float and type(value) is int:
        return float(value)
    if type(value) is not wanted:  # not isinstance: a bool is an int to Python, but not to an operator
        raise ValueError(_expectation(wanted))
    return value


def _expectation(wanted: type) -> str:
    names = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "text",
        Path: "a path",
        tuple: "a list of texts",
    }
    return f"must be {names[wanted]}"


def _with_sources(message: str, given: Mapping[str, _Given]) -> str:
    """A rule between settings, followed by where those that it names came from."""
    origins = [f"{name} from {item.source}" for name, item in given.items() if name in message.split()]
    return f"{message} ({'; '.join(origins)})" if origins else message
