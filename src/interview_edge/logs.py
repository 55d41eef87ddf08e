"""Log lines: one structlog pipeline for ours, Hypercorn's and every other library's; JSON or console.

Lines go to stderr, so that stdout stays what a command prints. Values under secret-looking keys are replaced
before anything renders them; pass secrets as values, never inside the message. What looks like one of our
own credentials or a provider's is replaced in the finished line, too, wherever it came from: a library's
message, the text of an exception.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, WrappedLogger

from interview_edge.settings import Settings

REDACTED = "[redacted]"

# Whole words of a key in snake, kebab or header case: `api_key`, `x-api-key`; not `keyboard`, `result_key`.
_SECRET = re.compile(
    r"(^|[_-])(api[_-]?key|secret([_-]?key)?|access[_-]?key|password|passwd|token|ticket|authorization|cookie"
    r"|credentials?)($|[_-])",
    re.IGNORECASE,
)


# What stays of a credential tells which one it was: an API key's id, the kind of any other.
_CREDENTIAL = re.compile(
    r"(?P<kept>ie_[0-9a-f]{16}_|ie\.ticket\.|ie_login=|\bek_|\bsk-|\b[Bb]earer )[\w.~+/=-]{8,}"
    r"|\beyJ[\w-]+\.[\w-]+\.[\w-]*",
    re.ASCII,
)


def configure_logs(settings: Settings, stream: TextIO | None = None) -> None:
    """Send every log line of this process through one pipeline to `stream` (default: stderr).

    `log_format` auto means console on a terminal, JSON elsewhere; `debug` shows all that the archive and the
    backends say, whatever the level. May be called again: the last call stands.
    """
    out = sys.stderr if stream is None else stream
    as_json = settings.log_format == "json" or (settings.log_format == "auto" and not out.isatty())
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        redact,
    ]
    # structlog's defaults show local variables with a traceback: secrets and audio among them.
    traces = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    plain = structlog.dev.plain_traceback
    render: list[structlog.typing.Processor] = (
        [structlog.processors.ExceptionRenderer(traces), structlog.processors.JSONRenderer(), scrub]
        if as_json
        else [structlog.dev.ConsoleRenderer(colors=out.isatty(), exception_formatter=plain), scrub]
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,  # so that a second call reaches the loggers that exist
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for room in ("interview_edge.archive", "interview_edge.backends"):
        logging.getLogger(room).setLevel(logging.DEBUG if settings.debug else logging.NOTSET)
    # httpx tells every request at INFO, with a URL that may carry a presigned signature.
    logging.getLogger("httpx").setLevel(max(level, logging.WARNING))
    logging.getLogger("httpcore").setLevel(max(level, logging.WARNING))
    # faster-whisper tells two things of every call at INFO.
    quiet = logging.NOTSET if level <= logging.DEBUG else max(level, logging.WARNING)
    logging.getLogger("faster_whisper").setLevel(quiet)


def scrub(_: WrappedLogger, __: str, line: Any) -> str:
    """A structlog processor for the finished line: replace what looks like a credential."""
    return _CREDENTIAL.sub(lambda found: (found["kept"] or "") + REDACTED, str(line))


def redact(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """A structlog processor: replace the values of secret-looking keys, in nested mappings and lists too."""
    return {key: _redacted(key, value) for key, value in event.items()}


def _redacted(key: str, value: object) -> object:
    if _SECRET.search(key):
        return REDACTED
    if isinstance(value, Mapping):
        return {inner: _redacted(str(inner), item) for inner, item in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted("", item) for item in value]
    return value
