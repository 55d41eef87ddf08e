"""A provider that another package brings: found by entry point, called with the settings, opened."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import attrs

from interview_edge.settings import Settings, SettingsError


@attrs.frozen
class PluginSetting:
    """A setting that may name a plugin: an entry point of `group`, beside the names that are `built_in`.

    `needs` are the attributes without which what the plugin opens is no provider.
    """

    name: str
    group: str
    built_in: Sequence[str]
    needs: Sequence[str]

    def __str__(self) -> str:
        return f"{self.name} (EDGE_{self.name.upper()})"


@asynccontextmanager
async def open_plugin(setting: PluginSetting, name: str, settings: Settings) -> AsyncIterator[Any]:
    """The provider of the plugin `name`, closed at the end of the block.

    The entry point names a callable that takes the settings and answers an async context manager. Raises
    SettingsError, for the person who chose the plugin: no such name, two packages that both have it, one
    that can't be imported or opened or opens something else. A SettingsError of the plugin's own passes as
    it is. What is raised in the block, and on closing, passes, too.
    """
    entry = _find(setting, name)
    whose = f"{setting} {name!r} ({entry.value} of {_package(entry)})"
    try:
        factory = entry.load()
    except Exception as error:  # whatever its import raises, the operator must hear whose it is
        raise SettingsError(f"{whose} can't be imported: {_told(error)}") from error
    async with AsyncExitStack() as stack:
        try:
            opened = factory(settings)
            if not isinstance(opened, AbstractAsyncContextManager):
                raise SettingsError(f"{whose} must answer an async context manager, it answered {_a(opened)}")
            provider = await stack.enter_async_context(opened)
        except SettingsError:
            raise
        except Exception as error:  # whatever it raises, here too
            raise SettingsError(f"{whose} can't be opened: {_told(error)}") from error
        lacking = [each for each in setting.needs if not hasattr(provider, each)]
        if lacking:
            raise SettingsError(f"{whose} opened {_a(provider)}, which has no {' and no '.join(lacking)}")
        yield provider


def _find(setting: PluginSetting, name: str) -> EntryPoint:
    points = entry_points(group=setting.group)
    found = [each for each in points if each.name == name]
    if not found:
        known = ", ".join([*setting.built_in, *sorted({each.name for each in points})])
        raise SettingsError(f"{setting} must be one of {known}, got {name!r}")
    # The same package found twice (on two path entries) is one; two packages are a guess we don't make.
    packages = sorted({_package(each) for each in found})
    if len({each.value for each in found}) > 1 or len(packages) > 1:
        raise SettingsError(f"{setting} {name!r} is ambiguous: {' and '.join(packages)} bring it; remove one")
    return found[0]


def _package(entry: EntryPoint) -> str:
    return "an unnamed package" if entry.dist is None else entry.dist.name


def _told(error: Exception) -> str:
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]  # of a plugin with a nursery
    return f"{type(error).__name__}: {error}"


def _a(thing: object) -> str:
    return "None" if thing is None else f"an object of class {type(thing).__name__}"
