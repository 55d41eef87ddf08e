"""Hypercorn 0.18 with what it needs mended for peers that we can't trust, one module a mend.

- `inbox`: what is received and not yet taken is bounded in bytes; a disconnect never waits behind it
- `frames`, `masking`: whole frames, fast; an oversize one is refused from its header
- `websocket`: no permessage-deflate; close codes that say why (1002, 1007, 1009, 1011, 1012)
- `sends`: each write has a deadline, after which the peer is reset
- `silence`: pings, and an end for peers that don't answer them
- `faults`: what an application or a connection raises ends one request, logged
- `capacity`: at most so many connections
- `body_limit`: request bodies: a limit each, a limit for their sum, a least pace
- `server`, `connection`, `http1`: where those classes are put in place of Hypercorn's; `shape` says of which
  version
"""

from __future__ import annotations

from .body_limit import BodyBudget, BodyLimit
from .extension import EXTENSION, Frames, PeerGoneError
from .frames import Frame
from .limits import ServerLimits
from .server import serve
from .shape import UnsupportedHypercornError

__all__ = [
    "EXTENSION",
    "BodyBudget",
    "BodyLimit",
    "Frame",
    "Frames",
    "PeerGoneError",
    "ServerLimits",
    "UnsupportedHypercornError",
    "serve",
]
