from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from interview_edge.cli.settings_sources import TomlSource, load_settings
from interview_edge.core.models import AckLevel, Layout
from interview_edge.settings import Settings, SettingsError


def toml(text: str) -> TomlSource:
    return TomlSource("edge.toml", text)


def no_files(path: Path) -> str:
    raise FileNotFoundError(2, "No such file or directory", str(path))


def test_no_source_gives_the_defaults() -> None:
    assert load_settings() == Settings()


def test_precedence_is_flag_own_variable_contract_variable_toml_default() -> None:
    file = toml("max_age_days = 1")
    assert load_settings({}, {}, file).max_age_days == 1
    contract = {"AUDIO_STORAGE_MAX_AGE_DAYS": "2"}
    assert load_settings({}, contract, file).max_age_days == 2
    both = contract | {"EDGE_MAX_AGE_DAYS": "3"}
    assert load_settings({}, both, file).max_age_days == 3
    assert load_settings({"max_age_days": 4}, both, file).max_age_days == 4
    assert load_settings({"max_age_days": None}, both, file).max_age_days == 3


def test_each_type_is_read_from_text_and_from_toml() -> None:
    expected = Settings(
        port=0,
        data_dir=Path("there"),
        ack=AckLevel.MEMORY,
        auto_cleanup=True,
        send_timeout=2.0,
        storage="memory://",
        memory_budget_mb=512,
        layout=Layout.SEGMENTS,
    )
    text = {
        "EDGE_PORT": "0",
        "EDGE_DATA_DIR": "there",
        "EDGE_ACK": "memory",
        "AUDIO_STORAGE_AUTO_CLEANUP": "Yes",
        "EDGE_SEND_TIMEOUT": "2",
        "EDGE_STORAGE": "memory://",
        "EDGE_MEMORY_BUDGET_MB": "512",
        "EDGE_LAYOUT": "segments",
    }
    assert load_settings(environ=text) == expected
    typed = """
    port = 0
    data_dir = "there"
    ack = "memory"
    auto_cleanup = true
    send_timeout = 2
    storage = "memory://"
    memory_budget_mb = 512
    layout = "segments"
    """
    assert load_settings(toml=toml(typed)) == expected


def test_every_setting_can_be_given_by_its_variable() -> None:
    """A setting of a type that the loader doesn't know would show here."""
    texts = {
        f"EDGE_{attribute.name.upper()}": (
            ", ".join(value) if isinstance(value, tuple) else str(getattr(value, "value", value))
        )
        for attribute in attrs.fields(Settings)
        if (value := getattr(Settings(), attribute.name)) is not None
    }
    assert load_settings(environ=texts) == Settings()


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"EDGE_PROT": "1"}, "unknown environment variable EDGE_PROT; did you mean 'EDGE_PORT'?"),
        ({"EDGE_ZZZZZZ": "1"}, "unknown environment variable EDGE_ZZZZZZ"),
        ({"EDGE_PORT": "eighty"}, "EDGE_PORT: must be a whole number, got 'eighty'"),
        ({"EDGE_PORT": "70000"}, "EDGE_PORT: port (EDGE_PORT) must be 0..65535, got 70000"),
        ({"EDGE_SEND_TIMEOUT": "soon"}, "EDGE_SEND_TIMEOUT: must be a number, got 'soon'"),
        ({"EDGE_DEBUG": "maybe"}, "EDGE_DEBUG: must be true or false, got 'maybe'"),
        ({"EDGE_ACK": "disk"}, "EDGE_ACK: must be journal or backend or memory, got 'disk'"),
        (
            {"AUDIO_STORAGE_MAX_AGE_DAYS": "0"},
            "AUDIO_STORAGE_MAX_AGE_DAYS: max_age_days (AUDIO_STORAGE_MAX_AGE_DAYS) must be 1..365, got 0",
        ),
        (
            {"EDGE_MEMORY_BUDGET_MB": "0"},
            "EDGE_MEMORY_BUDGET_MB: memory_budget_mb (EDGE_MEMORY_BUDGET_MB) must be 1..",
        ),
        (
            {"INFERENCE_BASE_URL": "host"},
            "INFERENCE_BASE_URL: inference_base_url (INFERENCE_BASE_URL) must be http://host or https://host",
        ),
        ({"INFERENCE_BASE_URL": "http://["}, "INFERENCE_BASE_URL: "),
        ({"INFERENCE_BASE_URL": "http://host:port"}, "INFERENCE_BASE_URL: "),
        (
            {"INFERENCE_RESOLVE_PATH": "speaker"},
            "INFERENCE_RESOLVE_PATH: inference_resolve_path (INFERENCE_RESOLVE_PATH) must be a path that",
        ),
        ({"EDGE_DATA_DIR_FILE": "/gone"}, "EDGE_DATA_DIR_FILE: can't read /gone: [Errno 2]"),
        ({"EDGE_STORAGE": "a", "EDGE_STORAGE_FILE": "b"}, "EDGE_STORAGE and EDGE_STORAGE_FILE are both set"),
    ],
)
def test_a_bad_variable_is_named(environ: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(environ=environ, read_file=no_files)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prot = 1", "edge.toml: unknown setting 'prot'; did you mean 'port'?"),
        ("data-dir = 'x'", "edge.toml: unknown setting 'data-dir'; did you mean 'data_dir'?"),
        ("[server]\nport = 1", "edge.toml: unknown setting 'server'"),
        ("port = ", "edge.toml is not valid TOML: "),
        ("port = true", "edge.toml: port: must be a whole number, got True"),
        ("port = '8080'", "edge.toml: port: must be a whole number, got '8080'"),
        ("storage = 1", "edge.toml: storage: must be text, got 1"),
        ("data_dir = 1", "edge.toml: data_dir: must be a path, got 1"),
        ("debug = 1", "edge.toml: debug: must be true or false, got 1"),
        ("log_format = 'xml'", "edge.toml: log_format: "),
    ],
)
def test_a_bad_toml_key_is_named(text: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(toml=toml(text))
    assert str(caught.value).startswith(message)


def test_the_shortest_window_and_interval_are_what_the_rule_says() -> None:
    shortest = {"EDGE_WINDOW_MS": "1", "AUDIO_STORAGE_UPLOAD_INTERVAL_MS": "1"}
    assert load_settings(environ=shortest).window_ms == 1
    with pytest.raises(SettingsError, match=r"window_ms \(EDGE_WINDOW_MS\) must be 1\.\.600000, got 0$"):
        load_settings(environ=shortest | {"EDGE_WINDOW_MS": "0"})


def test_a_flag_is_named_as_it_is_typed() -> None:
    with pytest.raises(SettingsError, match=r"^--port: port \(EDGE_PORT\) must be 0..65535, got 70000$"):
        load_settings({"port": 70_000})


def test_a_rule_between_settings_names_the_sources() -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(environ={"EDGE_WINDOW_MS": "120000"}, toml=toml("upload_interval_ms = 130000"))
    message = str(caught.value)
    assert "upload_interval_ms from edge.toml: upload_interval_ms" in message
    assert "window_ms from EDGE_WINDOW_MS" in message


def test_a_secret_comes_from_a_file_without_its_last_newline() -> None:
    settings = load_settings(
        environ={"EDGE_INFERENCE_API_KEY_FILE": "/run/secrets/key", "INFERENCE_API_KEY": "from-environment"},
        read_file=lambda path: {"/run/secrets/key": "from-file\n"}[str(path)],
    )
    assert settings.inference_api_key == "from-file"


def test_an_empty_secret_file_is_refused() -> None:
    with pytest.raises(SettingsError, match="EDGE_INFERENCE_API_KEY_FILE: k is empty"):
        load_settings(environ={"EDGE_INFERENCE_API_KEY_FILE": "k"}, read_file=lambda _: "\n")


def test_a_secret_is_never_quoted() -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(toml=toml("inference_api_key = 12345678"))
    assert "12345678" not in str(caught.value)
    assert "inference_api_key" in str(caught.value)


@pytest.mark.parametrize("key", ["two\nlines", "clé"])
def test_a_secret_that_no_header_can_carry_is_refused_unquoted(key: str) -> None:
    with pytest.raises(SettingsError, match=r"INFERENCE_API_KEY\) must be visible ASCII$"):
        load_settings(environ={"INFERENCE_API_KEY": key})


def test_an_empty_variable_counts_as_unset() -> None:
    assert load_settings(environ={"EDGE_PORT": "", "EDGE_STORAGE": ""}) == Settings()


def test_other_programs_variables_are_ignored() -> None:
    assert load_settings(environ={"PATH": "/bin", "INTERVIEW_EDGE_PORT": "tcp://10.0.0.1:80"}) == Settings()
