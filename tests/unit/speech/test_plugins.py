"""A setting that names a plugin: what is opened, and what is said of one that is broken."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio

from interview_edge.settings import Settings, SettingsError
from interview_edge.speech.plugins import PluginSetting, open_plugin

SETTING = PluginSetting("transcriber", "interview_edge.testing_only", ("off", "local"), ("provider", "hear"))
PLUGIN = """
from contextlib import asynccontextmanager
import trio
from interview_edge.settings import SettingsError

closed = []

class Ears:
    provider = "ears"
    def __init__(self, settings):
        self.settings = settings
    async def hear(self): ...

@asynccontextmanager
async def opened(settings):
    try:
        yield Ears(settings)
    finally:
        closed.append(True)

def no_context(settings):
    return Ears(settings)

def no_settings():
    return None

def raises(settings):
    raise OSError("no such device")

@asynccontextmanager
async def raises_late(settings):
    async with trio.open_nursery():
        raise OSError("no such device")
    yield

@asynccontextmanager
async def of_its_own(settings):
    raise SettingsError("EARS_DEVICE is not set")
    yield

@asynccontextmanager
async def opens_nothing(settings):
    yield None

@asynccontextmanager
async def opens_deaf(settings):
    yield object()
"""
NAMES = [
    "opened",
    "no_context",
    "no_settings",
    "raises",
    "raises_late",
    "of_its_own",
    "opens_nothing",
    "opens_deaf",
    "absent",
]

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Lays a package there as an installer does: its code, and what it says of its entry points."""
    before = set(sys.modules)

    def lay(package: str, module: str, text: str = PLUGIN) -> None:
        info = tmp_path / package / f"{package}-1.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1\n")
        points = "".join(f"{name} = {module}:{name}\n" for name in NAMES)
        (info / "entry_points.txt").write_text(f"[{SETTING.group}]\n{points}")
        (info.parent / f"{module}.py").write_text(text)
        monkeypatch.syspath_prepend(info.parent)

    yield lay
    for module in set(sys.modules) - before:
        del sys.modules[module]


async def test_it_is_opened_with_the_settings_and_closed(install: Install) -> None:
    install("ears-plugin", "ears_plugin")
    settings = Settings()
    async with open_plugin(SETTING, "opened", settings) as ears:
        assert ears.settings is settings
        assert sys.modules["ears_plugin"].closed == []
    assert sys.modules["ears_plugin"].closed == [True]


async def test_what_happens_in_its_block_is_not_its_fault(install: Install) -> None:
    install("ears-plugin", "ears_plugin")
    with pytest.raises(OSError, match="the disk is full"):
        async with open_plugin(SETTING, "opened", Settings()):
            raise OSError("the disk is full")
    assert sys.modules["ears_plugin"].closed == [True]
    with trio.move_on_after(0.01) as scope:
        async with open_plugin(SETTING, "opened", Settings()):
            await trio.sleep_forever()
    assert scope.cancelled_caught


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("no_context", "must answer an async context manager, it answered an object of class Ears"),
        ("no_settings", "can't be opened: TypeError: no_settings() takes 0 positional arguments"),
        ("raises", "can't be opened: OSError: no such device"),
        ("raises_late", "can't be opened: OSError: no such device"),
        ("opens_nothing", "opened None, which has no provider and no hear"),
        ("opens_deaf", "opened an object of class object, which has no provider and no hear"),
        ("absent", "can't be imported: AttributeError: module 'ears_plugin' has no attribute 'absent'"),
    ],
)
async def test_a_broken_one_is_told_with_its_package_and_why(install: Install, name: str, told: str) -> None:
    install("ears-plugin", "ears_plugin")
    with pytest.raises(SettingsError) as caught:
        async with open_plugin(SETTING, name, Settings()):
            pytest.fail("it opened")
    whose = f"transcriber (EDGE_TRANSCRIBER) '{name}' (ears_plugin:{name} of ears-plugin) "
    assert str(caught.value).startswith(whose + told)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("import no_such_library", "ModuleNotFoundError: No module named 'no_such_library'"),
        ("opened = (", "SyntaxError: "),
        ("raise RuntimeError('no GPU')", "RuntimeError: no GPU"),
    ],
)
async def test_one_that_does_not_import_says_why(install: Install, text: str, told: str) -> None:
    install("ears-plugin", "ears_plugin", text)
    with pytest.raises(SettingsError) as caught:
        async with open_plugin(SETTING, "opened", Settings()):
            pytest.fail("it opened")
    assert f"of ears-plugin) can't be imported: {told}" in str(caught.value)


async def test_its_own_words_about_settings_stand(install: Install) -> None:
    install("ears-plugin", "ears_plugin")
    with pytest.raises(SettingsError, match=r"^EARS_DEVICE is not set$"):
        async with open_plugin(SETTING, "of_its_own", Settings()):
            pytest.fail("it opened")


async def test_two_packages_are_a_guess_that_is_not_made(install: Install) -> None:
    install("ears-plugin", "ears_plugin")
    install("other-ears", "other_ears")
    with pytest.raises(SettingsError) as caught:
        async with open_plugin(SETTING, "opened", Settings()):
            pytest.fail("it opened")
    assert "'opened' is ambiguous: ears-plugin and other-ears bring it; remove one" in str(caught.value)


async def test_the_same_package_on_two_path_entries_is_one(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("ears-plugin", "ears_plugin")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "again")])
    shutil.copytree(tmp_path / "ears-plugin", tmp_path / "again")
    async with open_plugin(SETTING, "opened", Settings()) as ears:
        assert ears.provider == "ears"


async def test_an_unknown_name_is_told_what_there_is(install: Install) -> None:
    install("ears-plugin", "ears_plugin")
    known = ", ".join(["off", "local", *sorted(NAMES)])
    with pytest.raises(SettingsError) as caught:
        async with open_plugin(SETTING, "opend", Settings()):
            pytest.fail("it opened")
    assert str(caught.value) == f"transcriber (EDGE_TRANSCRIBER) must be one of {known}, got 'opend'"
