"""`interview-edge serve`: logs set up, the server run, and what keeps it from starting said in one line."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from interview_edge.backends import BackendError
from interview_edge.catalog.protocol import CatalogUnavailable
from interview_edge.journal import JournalError
from interview_edge.logs import configure_logs
from interview_edge.serving import run_server
from interview_edge.settings import Settings


async def serve_until_stopped(settings: Settings, complain: Callable[[str], None]) -> int:
    """Serve until a signal ends it; answers the exit status. Raises SettingsError."""
    configure_logs(settings)

    def show(urls: Sequence[str]) -> None:
        for url in urls:
            print(f"interview-edge listens on {url}", flush=True)

    try:
        await run_server(settings, on_started=show)
    except BackendError as error:
        complain(f"storage (EDGE_STORAGE): {error}")
        return 1
    except (CatalogUnavailable, JournalError) as error:
        complain(str(error))
        return 1
    except OSError as error:
        complain(f"{error} (interview-edge doctor says more)")
        return 1
    return 0
