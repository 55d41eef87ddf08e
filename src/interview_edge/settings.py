"""Every setting, as frozen attrs classes: names, defaults, units, rules. Loading them is cli/'s work.

Durations are seconds unless the name ends in `_ms` or `_days`; sizes are bytes unless it ends in `_mb`
(10^6 bytes). A broken rule raises `SettingsError`, which names the setting, its variable and the limit.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs

from interview_edge.core.models import AckLevel, Layout, SegmentFormat
from interview_edge.core.pcm import CHUNK_BYTES

MAX_STREAMS = 4


class SettingsError(ValueError):
    """A setting breaks a rule. The text is for the person who set it."""


def _between(low: float, high: float) -> Callable[[Any, attrs.Attribute[Any], Any], None]:
    """A validator: low ≤ value ≤ high, named as the operator knows the setting."""

    def check(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        if not low <= value <= high:
            raise SettingsError(
                f"{attribute.name} ({variable(attribute)}) must be {low:g}..{high:g}, got {value!r}"
            )

    return check


def _matching(rule: str, holds: Callable[[Any], bool]) -> Callable[[Any, attrs.Attribute[Any], Any], None]:
    """A validator: `holds(value)`, where there is a value; `rule` says it in words.

    The value isn't shown: these are settings that may hold a password.
    """

    def check(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        if value is not None and not holds(value):
            raise SettingsError(f"{attribute.name} ({variable(attribute)}) must be {rule}")

    return check


def _each(rule: str, holds: Callable[[str], bool]) -> Callable[[Any, attrs.Attribute[Any], Any], None]:
    """A validator of a list: `holds(item)` for each; `rule` says it in words."""

    def check(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        for item in value:
            if not holds(item):
                raise SettingsError(
                    f"{attribute.name} ({variable(attribute)}) must hold {rule}, got {item!r}"
                )

    return check


def _is_network(value: str) -> bool:
    try:
        ipaddress.ip_network(value)
    except ValueError:
        return False
    return True


def _is_origin(value: str) -> bool:
    parts = urlsplit(value)
    return _is_http_url(value) and f"{parts.scheme}://{parts.netloc}" == value and value == value.lower()


def _is_http_url(value: str) -> bool:
    try:
        parts = urlsplit(value)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets without an IPv6 address, a port that is no number
        return False


def _is_language(value: str) -> bool:
    return len(value) == 2 and value.isascii() and value.isalpha() and value.islower()


def variable(attribute: attrs.Attribute[Any]) -> str:
    """The environment variable of a setting: the contract's name where it gives one, else `EDGE_<NAME>`."""
    return str(attribute.metadata.get("env", f"EDGE_{attribute.name.upper()}"))


def _env(name: str) -> dict[str, str]:
    return {"env": name}


@attrs.frozen(kw_only=True)
class Settings:
    """All settings of one node. The defaults are the embedded server: SQLite, local disk, loopback."""

    # -- where
    host: str = "127.0.0.1"
    port: int = attrs.field(default=8080, validator=_between(0, 65535))
    data_dir: Path = attrs.field(default=Path("data"), converter=Path)
    storage: str | None = None  # default: file://{data_dir}/objects
    catalog: str | None = None  # default: sqlite:///{data_dir}/catalog.db
    ack: AckLevel = AckLevel.JOURNAL

    # -- sockets (contract ingest.md, Pace and limits)
    max_in_flight: int = attrs.field(default=32, validator=_between(1, 1024))
    in_flight_timeout: float = attrs.field(default=10.0, validator=_between(0.001, 600))
    max_frame_bytes: int = attrs.field(default=256 * 1024, validator=_between(64 * 1024, 16 * 1024 * 1024))
    silent_peer_timeout: float = attrs.field(default=60.0, validator=_between(0.01, 3600))
    send_timeout: float = attrs.field(default=10.0, validator=_between(0.001, 600))
    storage_timeout: float = attrs.field(default=10.0, validator=_between(0.001, 600))
    max_connections: int = attrs.field(default=4096, validator=_between(1, 1_000_000))
    max_connections_per_ip: int = attrs.field(default=2000, validator=_between(1, 1_000_000))
    backlog: int = attrs.field(default=1024, validator=_between(1, 65535))

    # -- sessions (contract storage.md)
    max_sessions: int = attrs.field(default=2000, validator=_between(1, 1_000_000))
    session_idle_timeout: float = attrs.field(default=300.0, validator=_between(0.01, 86_400))
    window_ms: int = attrs.field(default=120_000, validator=_between(1, 600_000))
    max_memory_mb: float = attrs.field(
        default=10, validator=_between(0.001, 50), metadata=_env("AUDIO_STORAGE_MAX_MEMORY_MB")
    )
    # Of the whole node; default: 80% of the machine's or cgroup's memory.
    memory_budget_mb: int | None = attrs.field(
        default=None, validator=attrs.validators.optional(_between(1, 10**9))
    )
    memory_check_interval: float = attrs.field(default=1.0, validator=_between(0.001, 60))
    vad: str = "webrtc"  # webrtc, silero, or the name of a plugin's entry point
    vad_threshold: float = attrs.field(default=0.15, validator=_between(0.01, 0.99))
    vad_mode: int = attrs.field(default=2, validator=_between(0, 3))
    vad_frame_ms: int = attrs.field(default=30, validator=attrs.validators.in_((20, 30)))
    vad_gap_wait: float = attrs.field(default=5.0, validator=_between(0, 600))
    event_flush_interval: float = attrs.field(default=0.25, validator=_between(0, 60))

    # -- archive (contract storage.md)
    layout: Layout = Layout.CHUNKS
    segment_format: SegmentFormat = SegmentFormat.FLAC
    upload_interval_ms: int = attrs.field(
        default=60_000, validator=_between(1, 600_000), metadata=_env("AUDIO_STORAGE_UPLOAD_INTERVAL_MS")
    )
    upload_concurrency: int = attrs.field(default=8, validator=_between(1, 256))
    upload_timeout: float = attrs.field(default=60.0, validator=_between(0.01, 3600))
    retry_initial: float = attrs.field(default=0.5, validator=_between(0.001, 60))
    retry_max: float = attrs.field(default=30.0, validator=_between(0.001, 3600))
    max_age_days: int = attrs.field(
        default=30, validator=_between(1, 365), metadata=_env("AUDIO_STORAGE_MAX_AGE_DAYS")
    )
    auto_cleanup: bool = attrs.field(default=False, metadata=_env("AUDIO_STORAGE_AUTO_CLEANUP"))
    sweep_delay: float = attrs.field(default=60.0, validator=_between(0.001, 86_400))
    sweep_interval: float = attrs.field(default=86_400.0, validator=_between(0.001, 604_800))
    debug: bool = attrs.field(default=False, metadata=_env("AUDIO_STORAGE_DEBUG"))

    # -- journal
    journal_max_bytes: int = attrs.field(default=20 * 10**9, validator=_between(10**6, 10**15))
    journal_min_free_bytes: int = attrs.field(default=512 * 10**6, validator=_between(0, 10**15))
    journal_queue_bytes: int = attrs.field(default=128 * 10**6, validator=_between(10**6, 10**12))
    journal_retry_interval: float = attrs.field(default=0.25, validator=_between(0.001, 60))
    accept_damaged_journal: bool = False

    # -- finalize, drain
    finalize_timeout: float = attrs.field(default=30.0, validator=_between(0.01, 3600))
    close_timeout: float = attrs.field(default=5.0, validator=_between(0.01, 600))
    drain_timeout: float = attrs.field(default=10.0, validator=_between(0.01, 600))

    # -- resolve (contract ingest.md)
    inference_base_url: str | None = attrs.field(
        default=None,
        validator=_matching("http://host or https://host", _is_http_url),
        metadata=_env("INFERENCE_BASE_URL"),
    )
    inference_resolve_path: str = attrs.field(
        default="/speaker/resolve",
        validator=_matching("a path that starts with /", lambda path: path.startswith("/")),
        metadata=_env("INFERENCE_RESOLVE_PATH"),
    )
    inference_api_key: str | None = attrs.field(
        default=None,
        repr=False,
        # What a header's value can carry (RFC 9110, 5.5), and no client would quietly cut.
        validator=_matching("visible ASCII", lambda key: key.isascii() and key.isprintable()),
        metadata={"env": "INFERENCE_API_KEY", "secret": True},
    )
    inference_timeout_ms: int = attrs.field(
        default=15_000, validator=_between(1, 600_000), metadata=_env("INFERENCE_TIMEOUT_MS")
    )
    auto_resolve: bool = False  # who speaks, for each utterance that was transcribed
    speakers: str = "auto"  # auto, off, http, local, or the name of a plugin's entry point
    # Of the model of this machine (docs/how-to/speakers.md).
    speaker_low: float = attrs.field(default=0.45, validator=_between(0, 1))
    speaker_high: float = attrs.field(default=0.70, validator=_between(0, 1))
    speaker_margin: float = attrs.field(default=0.10, validator=_between(0, 1))
    speaker_workers: int = attrs.field(default=1, validator=_between(1, 64))
    max_resolves_waiting: int = attrs.field(default=16, validator=_between(1, 1024))
    idempotency_hours: float = attrs.field(default=24, validator=_between(0.001, 8760))

    # -- transcription (contract stream.md, Transcription provider)
    transcriber: str = "auto"  # auto, off, http, local, or the name of a plugin's entry point
    transcription_base_url: str | None = attrs.field(
        default=None, validator=_matching("http://host or https://host", _is_http_url)
    )
    transcription_model: str = "whisper-1"
    transcription_api_key: str | None = attrs.field(
        default=None,
        repr=False,
        validator=_matching("visible ASCII", lambda key: key.isascii() and key.isprintable()),
        metadata={"secret": True},
    )
    transcription_language: str | None = attrs.field(
        default=None, validator=_matching("a code of two letters, as en", lambda code: _is_language(code))
    )
    transcription_timeout: float = attrs.field(default=30.0, validator=_between(0.001, 600))
    transcription_concurrency: int = attrs.field(default=4, validator=_between(1, 64))
    transcription_late_after: float = attrs.field(default=10.0, validator=_between(0.001, 3600))
    transcription_defer_after: float = attrs.field(default=60.0, validator=_between(0.001, 86_400))
    transcription_partials: float = attrs.field(default=2.5, validator=_between(0, 60))  # seconds; 0: none
    transcription_wait: float = attrs.field(default=10.0, validator=_between(0, 600))
    model_dir: Path | None = attrs.field(default=None, converter=attrs.converters.optional(Path))
    local_workers: int = attrs.field(default=2, validator=_between(1, 64))
    local_threads: int | None = attrs.field(
        default=None, validator=attrs.validators.optional(_between(1, 256))
    )

    # -- who may do what (contract gateway.md, Auth)
    insecure: bool = False  # whoever reaches the port may do everything
    key_poll_interval: float = attrs.field(default=2.0, validator=_between(0.01, 5))
    ticket_seconds: float = attrs.field(default=60.0, validator=_between(1, 3600))
    auth_timeout: float = attrs.field(default=5.0, validator=_between(0.001, 60))
    login_hours: float = attrs.field(default=12.0, validator=_between(0.001, 720))
    jwt_secret: str | None = attrs.field(
        default=None,
        repr=False,
        # RFC 7518, 3.2: a key as long as the hash's output, at least.
        validator=_matching("at least 32 bytes", lambda secret: len(secret.encode()) >= 32),
        metadata={"secret": True},
    )
    jwt_jwks_url: str | None = attrs.field(
        default=None, validator=_matching("http://host or https://host", _is_http_url)
    )
    jwt_audience: str | None = None
    jwt_issuer: str | None = None
    public_metrics: bool = False  # /metrics and the whole of /health without a key

    # -- how much
    key_rate: float = attrs.field(default=100.0, validator=_between(0, 10**6))  # a second; 0: no limit
    key_burst: int = attrs.field(default=500, validator=_between(1, 10**6))
    ip_rate: float = attrs.field(default=100.0, validator=_between(0, 10**6))
    ip_burst: int = attrs.field(default=1000, validator=_between(1, 10**6))
    max_failed_auth: int = attrs.field(default=30, validator=_between(1, 10**6))  # a minute and client
    max_sockets_per_key: int = attrs.field(default=1000, validator=_between(1, 10**6))
    max_sockets_per_ip: int = attrs.field(default=1000, validator=_between(1, 10**6))
    quota_audio_seconds: int | None = attrs.field(
        default=None, validator=attrs.validators.optional(_between(0, 10**12))
    )
    quota_stored_bytes: int | None = attrs.field(
        default=None, validator=attrs.validators.optional(_between(0, 10**18))
    )

    # -- in front of it
    trusted_proxies: tuple[str, ...] = attrs.field(
        default=(), validator=_each("addresses or networks, as 10.0.0.0/8", _is_network)
    )
    cors_origins: tuple[str, ...] = attrs.field(
        default=(), validator=_each("origins, as https://console.example.com", _is_origin)
    )

    # -- other people's models (contract gateway.md, Realtime token)
    services: tuple[str, ...] = attrs.field(
        default=("ingest", "auth", "realtime"),
        validator=_each("ingest, auth or realtime", lambda name: name in ("ingest", "auth", "realtime")),
    )
    openai_base_url: str = attrs.field(
        default="https://api.openai.com",
        validator=_matching("http://host or https://host", _is_http_url),
        metadata=_env("OPENAI_BASE_URL"),
    )
    openai_api_key: str | None = attrs.field(
        default=None,
        repr=False,
        validator=_matching("visible ASCII", lambda key: key.isascii() and key.isprintable()),
        metadata={"env": "OPENAI_API_KEY", "secret": True},
    )
    # Keys the HMAC that stands for a user towards the provider; default: openai_api_key.
    safety_identifier_key: str | None = attrs.field(default=None, repr=False, metadata={"secret": True})
    realtime_models: tuple[str, ...] = attrs.field(  # the first is the default
        default=("gpt-realtime", "gpt-realtime-mini"), validator=_matching("at least one name", bool)
    )
    realtime_voice: str = "marin"
    realtime_instructions: str | None = None
    realtime_ttl: int = attrs.field(default=60, validator=_between(10, 7200))
    realtime_mints_a_day: int = attrs.field(default=200, validator=_between(0, 10**6))
    realtime_timeout: float = attrs.field(default=15.0, validator=_between(0.001, 600))
    realtime_root_alias: bool = False

    # -- logs
    log_format: str = attrs.field(default="auto", validator=attrs.validators.in_(("auto", "json", "console")))
    log_level: str = attrs.field(
        default="info", validator=attrs.validators.in_(("debug", "info", "warning", "error"))
    )

    def __attrs_post_init__(self) -> None:
        """The rules between settings (contract storage.md)."""
        if self.upload_interval_ms > self.window_ms:
            raise SettingsError(
                f"upload_interval_ms (AUDIO_STORAGE_UPLOAD_INTERVAL_MS) must be at most window_ms "
                f"({self.window_ms}), got {self.upload_interval_ms}"
            )
        if self.window_bytes > self.max_memory_mb * 10**6:
            raise SettingsError(
                f"max_memory_mb (AUDIO_STORAGE_MAX_MEMORY_MB) must hold one window of "
                f"{self.window_bytes} bytes, got {self.max_memory_mb:g} MB"
            )
        if self.transcriber == "http" and self.transcription_base_url is None:
            raise SettingsError(
                "transcriber (EDGE_TRANSCRIBER) 'http' needs transcription_base_url "
                "(EDGE_TRANSCRIPTION_BASE_URL)"
            )
        if self.transcription_defer_after < self.transcription_late_after:
            raise SettingsError(
                f"transcription_defer_after (EDGE_TRANSCRIPTION_DEFER_AFTER) must be at least "
                f"transcription_late_after ({self.transcription_late_after:g}), got "
                f"{self.transcription_defer_after:g}"
            )
        if self.jwt_secret is not None and self.jwt_jwks_url is not None:
            raise SettingsError("jwt_secret (EDGE_JWT_SECRET) and jwt_jwks_url (EDGE_JWT_JWKS_URL): set one")
        if self.speakers == "http" and self.inference_base_url is None:
            raise SettingsError(
                "speakers (EDGE_SPEAKERS) 'http' needs inference_base_url (INFERENCE_BASE_URL)"
            )
        if self.speaker_low > self.speaker_high:
            raise SettingsError(
                f"speaker_low (EDGE_SPEAKER_LOW) must be at most speaker_high ({self.speaker_high:g}), "
                f"got {self.speaker_low:g}"
            )
        if self.takes_jwt and (self.jwt_audience is None or self.jwt_issuer is None):
            raise SettingsError(
                "jwt_audience (EDGE_JWT_AUDIENCE) and jwt_issuer (EDGE_JWT_ISSUER) must be set where JWTs "
                "are taken: a token made for another service would open this one"
            )
        if self.ack is AckLevel.BACKEND and self.layout is Layout.SEGMENTS:
            raise SettingsError(
                "ack (EDGE_ACK) 'backend' puts each chunk at once, so layout (EDGE_LAYOUT) must be 'chunks'"
            )
        if self.ack is AckLevel.BACKEND and self.storage_url.startswith("memory:"):
            raise SettingsError(
                "ack (EDGE_ACK) 'backend' promises what storage (EDGE_STORAGE) memory:// can't keep"
            )

    @property
    def takes_jwt(self) -> bool:
        return self.jwt_secret is not None or self.jwt_jwks_url is not None

    @property
    def storage_url(self) -> str:
        """The backend's URL, the default filled in."""
        return self.storage or (self.data_dir.absolute() / "objects").as_uri()

    @property
    def catalog_url(self) -> str:
        """The catalog's URL, the default filled in."""
        return self.catalog or f"sqlite://{(self.data_dir.absolute() / 'catalog.db').as_posix()}"

    @property
    def models_path(self) -> Path:
        """Where model files lie, the default filled in."""
        return self.model_dir or self.data_dir / "models"

    @property
    def journal_path(self) -> Path:
        return self.data_dir / "journal.db"

    @property
    def window_bytes(self) -> int:
        """Bytes of one stream's full window."""
        return self.window_ms * CHUNK_BYTES // 1000
