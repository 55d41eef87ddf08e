"""`interview-edge inference serve`: logs set up, the API served, and what keeps it from starting said in one
line.
"""

from __future__ import annotations

import signal
from collections.abc import Callable

import structlog
import trio

from interview_edge.app import bare_errors
from interview_edge.logs import configure_logs
from interview_edge.settings import Settings
from interview_edge.speech.model_files import ModelError
from interview_edge.web.inference_server import open_inference_server

log = structlog.get_logger(__name__)


async def serve_inference(settings: Settings, host: str, port: int, complain: Callable[[str], None]) -> int:
    """Serve until SIGTERM or SIGINT; answers the exit status. Raises SettingsError."""
    configure_logs(settings)
    try:
        with bare_errors(), trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async with open_inference_server(settings, host=host, port=port) as urls:
                for url in urls:
                    print(f"interview-edge inference listens on {url}", flush=True)
                async for number in signals:
                    log.info("ending", signal=signal.Signals(number).name)
                    break
    except ModelError as error:
        complain(str(error))
        return 1
    except OSError as error:
        complain(str(error))
        return 1
    return 0
