"""Until there are API keys, the server speaks to this machine only."""

from __future__ import annotations

import ipaddress

from interview_edge.settings import Settings, SettingsError


def require_loopback(settings: Settings) -> None:
    """Raise `SettingsError` for a host that other machines could reach."""
    if settings.host == "localhost":
        return
    try:
        loopback = ipaddress.ip_address(settings.host).is_loopback
    except ValueError:
        loopback = False  # a name may resolve to anything, tomorrow to something else
    if not loopback:
        raise SettingsError(
            f"host (EDGE_HOST) {settings.host!r} is refused: there are no API keys yet, so whoever reaches "
            "the port could read and write every interview. Use 127.0.0.1 (the default) or ::1, and let a "
            "reverse proxy on this machine, which asks for a password, face the network."
        )
