"""The socket that shows its credential in its first frame, for clients that can set no header: accepted
without one, and nothing of it is opened or read before the door said yes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol
from urllib.parse import parse_qs

import trio
from msgspec import UNSET

from interview_edge.access.credentials import Bearer, Credential, LoginCookie, Ticket, find_credential
from interview_edge.access.principal import Principal
from interview_edge.errors import AUTH_TIMEOUT, DRAINING, MISSING_AUTH, EdgeError
from interview_edge.web.context import WebContext
from interview_edge.web.peers import AsgiPeer
from interview_edge.wire import auth_frame, browser_dialect, chunk_dialect
from interview_edge.wire.browser_frames import AuthError
from interview_edge.wire.frames import Auth, AuthOk, ErrorFrame

FIRST_FRAME = "first-frame"
TRY_AGAIN_LATER = 1013
POLICY_VIOLATION = 1008

Admit = Callable[[Credential | None], Awaitable[Principal]]


class Admission(Protocol):
    """How a dialect has somebody show who it is."""

    def is_awaited(self, scope: Mapping[str, Any]) -> bool:
        """Whether a handshake says that the credential comes in the first frame."""
        ...

    def read(self, data: bytes, *, text: bool) -> Credential | None:
        """The credential of the first frame; None where what the handshake shows is to count. Raises
        EdgeError(missing_auth).
        """
        ...

    @property
    def welcome(self) -> bytes | None:
        """What is said to whoever was let in, before the dialect begins."""
        ...

    def refusal(self, error: EdgeError) -> tuple[bytes, int]:
        """What is said to anybody else, and the code of the close after it."""
        ...


class ChunkAdmission:
    """That of the chunk dialect: asked for by `?auth=first-frame`; the headers' credentials don't count
    then.
    """

    def is_awaited(self, scope: Mapping[str, Any]) -> bool:
        query = scope.get("query_string", b"").decode("latin-1")
        return parse_qs(query).get("auth") == [FIRST_FRAME]

    def read(self, data: bytes, *, text: bool) -> Credential | None:
        match auth_frame.decode_auth(data, text=text):
            case Auth(ticket=str(shown)):
                return Ticket(shown)
            case Auth(key=str(shown)) | Auth(token=str(shown)):
                return Bearer(shown)
        raise EdgeError(MISSING_AUTH)

    @property
    def welcome(self) -> bytes | None:
        return chunk_dialect.encode_utf8(AuthOk())

    def refusal(self, error: EdgeError) -> tuple[bytes, int]:
        lasting = POLICY_VIOLATION if error.kind.status < 500 else TRY_AGAIN_LATER
        return chunk_dialect.encode_utf8(ErrorFrame.of(error)), error.kind.close or lasting


class BrowserAdmission:
    """That of the browser dialect (contract stream.md, Connect): awaited unless the handshake shows a key, a
    JWT or a ticket. A page's cookie comes with every handshake, whether it is meant or not: it counts where
    `auth` comes without a ticket.
    """

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms

    def is_awaited(self, scope: Mapping[str, Any]) -> bool:
        shown = find_credential(scope["headers"])
        return shown is None or isinstance(shown, LoginCookie)

    def read(self, data: bytes, *, text: bool) -> Credential | None:
        ticket = browser_dialect.decode_auth(data, text=text).ticket
        return None if ticket is UNSET else Ticket(ticket)

    @property
    def welcome(self) -> bytes | None:
        return None  # the socket greets, also those who were let in by the handshake

    def refusal(self, error: EdgeError) -> tuple[bytes, int]:
        """1008 for whoever may not come in (contract); who may later is told so."""
        told = browser_dialect.encode_utf8(AuthError(error.detail, self._now_ms()))
        lasting = error.kind.status < 500 and error.kind.status != 429
        return told, POLICY_VIOLATION if lasting else error.kind.close or TRY_AGAIN_LATER


async def admit_by_first_frame(
    peer: AsgiPeer,
    admission: Admission,
    context: WebContext,
    admit: Admit,
    known: Callable[[Exception], EdgeError],
) -> Principal | None:
    """Whose the accepted socket is; None where it is closed by now: by itself, or refused with a frame that
    says why and a close. `admit` is the door, `known` what an error of it is to the client.
    """
    try:
        first = await _read_first(peer, context)
        if first is None:
            return None
        principal = await admit(admission.read(first[1], text=first[0]))
    except Exception as error:  # the boundary: what it is to the client, refusals.py says
        refusal = known(error)
        told, code = admission.refusal(refusal)
        await peer.send([told])
        await peer.close(code, refusal.kind.code)
        return None
    if admission.welcome is not None:
        await peer.send([admission.welcome])
    return principal


async def _read_first(peer: AsgiPeer, context: WebContext) -> tuple[bool, bytes] | None:
    """The first message; None where the peer is gone. Raises EdgeError: auth_timeout, draining."""
    with context.sockets.until_leaving() as waiting:
        waiting.deadline = trio.current_time() + context.parts.settings.auth_timeout
        first = await peer.receive_first()
    if waiting.cancelled_caught:
        raise EdgeError(DRAINING if context.registry.draining else AUTH_TIMEOUT)
    return first
