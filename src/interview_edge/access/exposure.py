"""Until there is a key, the server speaks to this machine only."""

from __future__ import annotations

import ipaddress

from interview_edge.settings import Settings, SettingsError

MAKE_A_KEY = "interview-edge keys create"


def is_loopback_name(host: str) -> bool:
    """Whether a host, as somebody writes it (an IPv6 address without brackets), is this machine whatever a
    resolver says.
    """
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name may resolve to anything, tomorrow to something else
        return False


def refuse_exposure(settings: Settings, *, guarded: bool) -> None:
    """Raise `SettingsError` for a host that other machines could reach, where nobody would be asked who they
    are. `guarded`: there is a key, or JWTs are taken.
    """
    if guarded or settings.insecure or is_loopback_name(settings.host):
        return
    raise SettingsError(
        f"host (EDGE_HOST) {settings.host!r} is refused: there is no API key yet, so whoever reaches the "
        f"port could read and write every interview. Make one first: {MAKE_A_KEY}. Or use 127.0.0.1 (the "
        "default) or ::1, where only this machine is served. A private network that asks for passwords "
        "itself may be served with insecure (EDGE_INSECURE=1, --insecure)."
    )
