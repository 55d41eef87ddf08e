"""`interview-edge keys`: on the catalog, beside a node that runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio

from api_keys import bearer
from asgi_calls import call
from interview_edge.cli import run
from interview_edge.cli.settings_sources import read_api_key
from interview_edge.settings import SettingsError
from nodes import nodes_in


@pytest.fixture(autouse=True)
def _a_folder_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def create(capsys: pytest.CaptureFixture[str], *more: str) -> str:
    assert run(["keys", "create", "--name", "laptop", "--scopes", "ingest, sessions", *more]) == 0
    shown = capsys.readouterr()
    # A node beside it, in this process, logs to the same place.
    (key,) = [line for line in shown.out.splitlines() if line.startswith("ie_")]
    assert key not in shown.err
    return key


def test_a_key_is_made_listed_and_revoked(capsys: pytest.CaptureFixture[str]) -> None:
    key = create(capsys, "--owner", "bob", "--expires-days", "2", "--quota", "chunks=7")
    assert run(["keys", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert (listed["owner"], listed["scopes"], listed["quotas"]) == (
        "bob",
        ["ingest", "sessions"],
        {"chunks": 7},
    )
    assert listed["state"].startswith("valid to ")
    assert run(["keys", "revoke", listed["key_id"]]) == 0
    assert run(["keys", "list"]) == 0
    shown = capsys.readouterr().out
    assert "revoked" in shown
    assert key.split("_", 2)[2] not in shown


def test_the_list_shows_brackets_as_they_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    create(capsys, "--owner", "bob [local]")
    assert run(["keys", "list"]) == 0
    assert "bob [local]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["--scopes", "love"], "--scopes"),
        (["--scopes", ","], "--scopes"),
        (["--scopes", "ingest", "--owner", ""], "--owner"),
        (["--scopes", "ingest", "--expires-days", "0"], "--expires-days"),
        (["--scopes", "ingest", "--quota", "chunks"], "--quota"),
        (["--scopes", "ingest", "--quota", "love=1"], "--quota"),
    ],
)
def test_a_wrong_flag_is_named(arguments: list[str], names: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["keys", "create", "--name", "n", *arguments]) == 2
    assert names in capsys.readouterr().err


@pytest.mark.parametrize("command", [["list"], ["list", "--json"], ["revoke", "0000"]])
def test_a_mistyped_folder_is_said_and_not_made(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: list[str]
) -> None:
    assert run(["keys", *command, "--data-dir", "typo"]) == 2
    assert f"there is no catalog {tmp_path}/typo/catalog.db" in capsys.readouterr().err
    assert not (tmp_path / "typo").exists()


def test_the_first_key_makes_the_catalog_and_says_so(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    told = f"there was no catalog yet: made {tmp_path}/new/catalog.db"
    for first in (True, False):
        arguments = ["keys", "create", "--name", "n", "--scopes", "ingest", "--data-dir", "new"]
        assert run(arguments) == 0
        assert (told in capsys.readouterr().err) is first


def test_an_unknown_key_can_not_be_revoked(capsys: pytest.CaptureFixture[str]) -> None:
    create(capsys)
    assert run(["keys", "revoke", "0000"]) == 1
    assert "key not found" in capsys.readouterr().err


def test_a_running_node_takes_a_key_that_was_made_beside_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    async def use() -> int:
        async with nodes_in(tmp_path)(key_poll_interval=0.01) as edge:
            key = await trio.to_thread.run_sync(create, capsys)
            with trio.fail_after(10):
                while edge.access.ring.empty:
                    await trio.sleep(0.01)
            return (await call(edge.asgi_app, "GET", "/auth/me", headers=bearer(key))).status

    assert trio.run(use) == 200


def test_the_key_of_a_client_comes_from_a_variable_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("ie_1\n")
    assert read_api_key({"EDGE_API_KEY": "ie_2"}) == "ie_2"
    assert read_api_key({"EDGE_API_KEY": "ie_2", "EDGE_API_KEY_FILE": str(file)}) == "ie_1"
    assert read_api_key({"EDGE_API_KEY": ""}) is None
    with pytest.raises(SettingsError, match="EDGE_API_KEY_FILE"):
        read_api_key({"EDGE_API_KEY_FILE": str(tmp_path / "gone")})
