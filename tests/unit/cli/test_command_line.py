from __future__ import annotations

from pathlib import Path

import pytest

from interview_edge.cli import run
from interview_edge.cli.app import StartFlags, load
from interview_edge.core.models import AckLevel
from interview_edge.settings import Settings, SettingsError


def exit_status(*arguments: str) -> int:
    """The status of one command line, whoever ends it."""
    try:
        return run(arguments)
    except SystemExit as stopped:
        return int(stopped.code or 0)


@pytest.fixture(autouse=True)
def _no_settings_around(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("EDGE_CONFIG", "EDGE_HOST", "EDGE_PORT", "EDGE_PROT"):
        monkeypatch.delenv(name, raising=False)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_status("--version") == 0
    assert capsys.readouterr().out.count(".") == 2


@pytest.mark.parametrize("command", ["serve", "doctor", "fsck", "smoke", "send", "demo"])
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_status("--help") == 0
    assert f" {command} " in capsys.readouterr().out
    assert exit_status(command, "--help") == 0
    assert f"interview-edge {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ("serve", "--prot", "1"),
        ("serve", "--port", "eighty"),
        ("serve", "--port", "70000"),
        ("serve", "--ack", "disk"),
        ("serve", "--host", "0.0.0.0"),  # noqa: S104  # refused, which is the point
        ("serve", "--config", "gone.toml"),
        ("doctor", "--inference-api-key", "secret"),
        ("smoke", "--chunks", "0"),
        ("smoke", "--chunks", "many"),
        ("send",),
        ("send", "a.wav", "--speed", "fast"),
        ("send", "a.wav", "--speed", "-1"),
        ("send", "a.wav", "--speed", "nan"),
        ("send", "a.wav", "--raw"),
        ("nonsense",),
    ],
    ids=" ".join,
)
def test_a_wrong_command_line_is_status_2_and_explained(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_status(*arguments) == 2
    assert capsys.readouterr().err


def test_unknown_variables_stop_the_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGE_PROT", "1")
    assert exit_status("serve") == 2
    assert "did you mean 'EDGE_PORT'" in capsys.readouterr().err


def test_the_configuration_file_is_named_by_flag_or_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    one, two = tmp_path / "one.toml", tmp_path / "two.toml"
    one.write_text("port = 1\nack = 'memory'")
    two.write_text("port = 2")
    assert load(None).port == Settings().port
    monkeypatch.setenv("EDGE_CONFIG", str(one))
    assert (load(None).port, load(None).ack) == (1, AckLevel.MEMORY)
    assert load(StartFlags(config=two)).port == 2
    assert load(StartFlags(port=3)).port == 3


def test_a_missing_configuration_file_names_its_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_CONFIG", "gone.toml")
    with pytest.raises(SettingsError, match=r"^EDGE_CONFIG: can't read gone.toml"):
        load(None)
    with pytest.raises(SettingsError, match=r"^--config: can't read other.toml"):
        load(StartFlags(config=Path("other.toml")))


def test_each_flag_reaches_its_setting() -> None:
    settings = load(
        StartFlags(
            host="::1",
            port=0,
            data_dir=Path("d"),
            storage="memory://",
            catalog="sqlite:///c.db",
            ack="memory",
        )
    )
    expected = Settings(
        host="::1",
        port=0,
        data_dir=Path("d"),
        storage="memory://",
        catalog="sqlite:///c.db",
        ack=AckLevel.MEMORY,
    )
    assert settings == expected
